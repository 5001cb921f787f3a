/** ComfyUI's quantization metadata: JSON in a safetensors header, or one small tensor per layer with the same content. Layers go by their exact names in the file. */
import { counted, quoted } from '../../checkpoint/errors';
import type { Checkpoint, Range, TensorInfo } from '../../protocol';
import { find } from '../tree';
import { problem, quantized, replaceBy } from './dialect';
import type { Dialect, DialectEntry, DialectProblem } from './dialect';
import { comfyRecipe, formats, scaleOrder, tensorTraps } from './comfyTensors';
import { halfTraps } from './halves';
import { isAttentionNote } from './header';
import { isSafetensors } from './headerFile';
import type { LayerNote } from './comfyTensors';
import { named } from './field';
import type { Field } from './field';
import { Fields } from './fields';
import { names } from './offers';

const prefix = 'model.diffusion_model.';

const layerField: Field = {
  type: 'map', doc: 'How this layer is stored.',
  fields: {
    format: { type: 'text', required: true, values: Object.fromEntries(Object.entries(formats).map(([name, { weights, activations, dtypes }]) => [name, `${weights}-bit weights (${dtypes.join(', ')}), ${activations === 16 ? 'activations as they are' : `${activations}-bit activations`}`])), refusal: ['comfy/format', 'error'], doc: 'The layout of weight and scales.' },
    full_precision_matrix_mult: { type: 'flag', default: false, doc: 'Unpacks weights and multiplies in 16 bits.' }, convrot: { type: 'flag', default: false, doc: 'Inputs are rotated in groups by a Hadamard matrix (int8_tensorwise).' },
    convrot_groupsize: { type: 'number', default: 256, examples: [64, 256], doc: 'Inputs of a group: a power of four that divides them.' }, group_size: { type: 'number', examples: [16, 64], doc: 'Inputs that share a scale (asym_w4a8_int8, awq_w4a16).' }, linear_dtype: { type: 'text', values: named('int4', 'int8'), doc: 'What convrot_w4a4 multiplies in.' },
  },
};
const rootField: Field = {
  type: 'map', doc: 'What ComfyUI reads of a quantized file.', source: 'ComfyUI, comfy/quant_ops.py and comfy/utils.py (2026-08)',
  fields: {
    format_version: { type: 'text', values: named('1.0'), open: true, doc: 'Of the metadata.' },
    layers: { type: 'map', names: { takes: (entry) => ({ name }) => name === entry, offers: names }, doc: 'Layers by their whole names in the file.', each: layerField },
  },
};

export const comfy: Dialect = {
  root: () => rootField,
  id: 'comfyui', title: 'ComfyUI quantization metadata',
  file: 'JSON with `format_version` and `layers`, as in the header of a `.safetensors` under `_quantization_metadata`',
  rule: 'A key is the whole name of a layer as the file has it, prefix included.',
  unmatched: 'Passed over without a word.',
  codes: ['comfy/'],
  ofPacked: true,
  detect: ({ root }) => find(root, 'format_version') !== undefined && find(root, 'layers')?.value.kind === 'map',
  parse(file) {
    const problems: DialectProblem[] = [];
    const root = file.root?.kind === 'map' ? new Fields(file.root, 'the metadata', problems, file.document, rootField) : undefined;
    const version = root?.scalar('format_version');
    if (root && version !== '1.0') {
      root.report('comfy/version', 'warning', root.range('format_version'), `ComfyUI writes format_version "1.0" as text; what "${String(version)}" means is not known.`);
    }
    const layers = root?.map('layers');
    const notes = (layers?.node.entries ?? []).flatMap(({ key, keyRange }): LayerNote[] => {
      const fields = layers?.map(key);
      fields?.mustHave('format');
      return fields ? [{ name: key, range: keyRange, fields, format: fields.text('format') }] : [];
    });
    const top = root?.keyRange('layers') ?? { start: { line: 0, character: 0 }, end: { line: 0, character: 1 } };
    // The header of a file is about that file, whatever its layers are counted on.
    const own = isSafetensors(file.name);
    const packed = new Set(notes.filter(({ format, fields }) => format === 'nvfp4' && fields.scalar('convrot') !== true).map(({ name }) => `${name}.weight`));
    return {
      entries: notes.map((note): DialectEntry => {
        const { name, range, format } = note;
        const known = formats[format ?? ''];
        return { text: name, range, treatment: quantized(format ?? 'unknown', known?.weights ?? null, known?.activations ?? null, comfyRecipe(note)), isPath: false, elsewhere: true, only: name, takes: (layer) => layer.name === name };
      }),
      otherwise: { kind: 'keep', label: 'loaded as unquantized', weightBits: 16, activationBits: 16 }, unmatched: 'ignored', problems: [...file.problems, ...problems],
      traps: (checkpoint) => (own ? [] : traps(notes, checkpoint, top)),
      trapsBeside: ({ component }) => (own && component ? traps(notes, component, top) : []),
      trapsInside: ({ component, checkpoint }) => halfTraps({ first: 'high', tool: 'ComfyUI', layerOf: ({ name }) => (packed.has(name) ? name.slice(0, -'.weight'.length) : undefined) }, component, checkpoint, top),
    };
  },
};

function traps(notes: readonly LayerNote[], { tensors, metadata }: Checkpoint, top: Range): DialectProblem[] {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const noted = new Set(notes.map(({ name }) => name));
  const orphans = tensors.filter(({ name }) => name.endsWith('.weight')).map(({ name }) => name.slice(0, -'.weight'.length)).filter((name) => !noted.has(name) && byName.has(`${name}.weight_scale`));
  const attention = tensors.filter(isAttentionNote);
  const byModelOpt = /"modelopt"/i.test(metadata['quantization_config'] ?? '');
  return [
    ...notes.flatMap((note) => ofLayer(note, byName)),
    ...notes.flatMap((note) => tensorTraps(note, byName)),
    ...scaleOrder(notes, byName, byModelOpt, top),
    ...orphans.length === 0 ? [] : [problem('comfy/no-metadata', 'error', top,
      `${orphans.length} layers have a weight_scale but no entry, such as "${orphans[0] ?? ''}": ComfyUI loads them as unquantized and fails later with "mat1 and mat2 shapes cannot be multiplied".`)],
    ...encoders(notes, metadata),
    ...kernels(notes),
    ...attention.length === 0 ? [] : [problem('comfy/attention-note', 'info', top,
      `${counted(attention.length, 'tensor')} such as ${quoted(attention[0]?.name ?? '')} ${attention.length === 1 ? 'is' : 'are'} no weight but text: the attention that ComfyUI runs in a module. They are passed over here; a loader that takes every tensor for a weight of the model stops at them.`)],
    ...tensors.some(({ name }) => name === 'scaled_fp8' || name.endsWith('.scaled_fp8')) ? [problem('comfy/scaled-fp8', 'info', top, 'The file also carries the old marker "scaled_fp8", which is rewritten when it is loaded; an input scale of exactly 1.0 is dropped then.')] : [],
  ];
}

/** Gemma, Qwen and Llama, T5, CLIP; in a file of one model or of all. */
const encoder = /^(?:text_encoders|cond_stage_model|conditioner)\.|(?:^|\.)(?:layers\.\d+\.(?:self_attn\.[qkvo]_proj|mlp\.\w+_proj)|encoder\.block\.\d+\.layer\.\d+\..+|text_model\.encoder\.layers\.\d+\..+)$/;

/** Names in the header stay as they are while those of the tensors change. */
function encoders(notes: readonly LayerNote[], metadata: Readonly<Record<string, string>>): DialectProblem[] {
  const [first] = metadata['_quantization_metadata'] === undefined ? [] : notes.filter(({ name }) => encoder.test(name));
  return first ? [problem('comfy/text-encoder', 'info', first.range, `${quoted(first.name)} is a layer of a text encoder. ComfyUI renames those while it loads them, and versions of January 2026 then found no layer for an entry of the header ` +
    '("Missing weight for layer …", issue 11764). A .comfy_quant tensor for each layer, as files of ComfyUI\'s own have it, is renamed with its weight.')] : [];
}

/** Formats that are multiplied as they are on newer GPUs alone. */
function kernels(notes: readonly LayerNote[]): DialectProblem[] {
  const [first] = notes.filter(({ format }) => format === 'nvfp4' || format === 'mxfp8');
  return first ? [problem('comfy/gpu', 'info', first.fields.range('format'), `${first.format ?? ''} is multiplied as it is on GPUs of compute capability 10.0 and above alone, with comfy-kitchen and a PyTorch for CUDA 13; ` +
    'elsewhere ComfyUI unpacks such weights and computes in 16 bits, which saves memory and no time.')] : [];
}

/** Whether the name is that of a layer of the file. */
function ofLayer({ name, range }: LayerNote, byName: ReadonlyMap<string, TensorInfo>): DialectProblem[] {
  if (byName.has(`${name}.weight`)) {
    return [];
  }
  const other = name.startsWith(prefix) ? name.slice(prefix.length) : `${prefix}${name}`;
  return [byName.has(`${other}.weight`) ? problem('comfy/prefix', 'error', range, `The file calls this layer "${other}": names count with their prefix, and ComfyUI passes over this entry without a word.`,
    replaceBy(range, other)) :
    problem('comfy/no-such-layer', 'warning', range, `The file has no layer "${name}". ComfyUI passes over the entry without a word.`)];
}

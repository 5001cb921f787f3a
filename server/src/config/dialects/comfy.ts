/** ComfyUI's quantization metadata: JSON in a safetensors header, or one small tensor per layer with the same content. Layers go by their exact names in the file. */
import type { Checkpoint, Range, TensorInfo } from '../../protocol';
import { find } from '../tree';
import { problem, quantized, replaceBy } from './dialect';
import type { Dialect, DialectEntry, DialectProblem } from './dialect';
import { Fields } from './fields';

interface Format { weights: number; activations: number; dtypes: readonly string[]; packed: boolean }
const formats: Readonly<Record<string, Format>> = {
  float8_e4m3fn: { weights: 8, activations: 8, dtypes: ['F8_E4M3'], packed: false }, float8_e5m2: { weights: 8, activations: 8, dtypes: ['F8_E5M2'], packed: false }, nvfp4: { weights: 4, activations: 4, dtypes: ['U8'], packed: true },
  mxfp8: { weights: 8, activations: 8, dtypes: ['F8_E4M3'], packed: false }, int8_tensorwise: { weights: 8, activations: 8, dtypes: ['I8'], packed: false }, convrot_w4a4: { weights: 4, activations: 4, dtypes: ['I8'], packed: true },
  asym_w4a8_int8: { weights: 4, activations: 8, dtypes: ['I8'], packed: true }, awq_w4a16: { weights: 4, activations: 16, dtypes: ['I8'], packed: true },
};
const prefix = 'model.diffusion_model.';

interface LayerNote { name: string; range: Range; format: string | undefined; fields: Fields }

export const comfy: Dialect = {
  id: 'comfyui', title: 'ComfyUI quantization metadata',
  file: 'JSON with `format_version` and `layers`, as in the header of a `.safetensors` under `_quantization_metadata`',
  rule: 'A key is the whole name of a layer as the file has it, prefix included.',
  unmatched: 'Passed over without a word.',
  codes: ['comfy/'],
  detect: ({ root }) => find(root, 'format_version') !== undefined && find(root, 'layers')?.value.kind === 'map',
  parse(file) {
    const problems: DialectProblem[] = [];
    const root = file.root?.kind === 'map' ? new Fields(file.root, 'the metadata', problems, file.document) : undefined;
    const version = root?.scalar('format_version');
    if (root && version !== '1.0') {
      root.report('comfy/version', 'warning', root.range('format_version'), `ComfyUI writes format_version "1.0" as text; what "${String(version)}" means is not known.`);
    }
    const layers = root?.map('layers');
    const notes = (layers?.node.entries ?? []).flatMap(({ key, keyRange }): LayerNote[] => {
      const fields = layers?.map(key);
      fields?.mustHave('format');
      return fields ? [{ name: key, range: keyRange, fields, format: fields.text('format', Object.keys(formats), 'comfy/format') }] : [];
    });
    return {
      entries: notes.map(({ name, range, format }): DialectEntry => {
        const known = formats[format ?? ''];
        return { text: name, range, treatment: quantized(format ?? 'unknown', known?.weights ?? null, known?.activations ?? null), isPath: false, elsewhere: true, takes: (layer) => layer.name === name };
      }),
      otherwise: { kind: 'keep', label: 'loaded as unquantized', weightBits: 16, activationBits: 16 }, unmatched: 'ignored', problems: [...file.problems, ...problems],
      traps: (checkpoint) => traps(notes, checkpoint, root?.keyRange('layers') ?? { start: { line: 0, character: 0 }, end: { line: 0, character: 1 } }),
    };
  },
};

function traps(notes: readonly LayerNote[], { tensors }: Checkpoint, top: Range): DialectProblem[] {
  const weights = new Map(tensors.filter(({ name }) => name.endsWith('.weight')).map((tensor) => [tensor.name.slice(0, -'.weight'.length), tensor]));
  const noted = new Set(notes.map(({ name }) => name));
  const orphans = [...weights.keys()].filter((name) => !noted.has(name) && tensors.some((tensor) => tensor.name === `${name}.weight_scale`));
  return [
    ...notes.flatMap((note) => ofLayer(note, weights)),
    ...orphans.length === 0 ? [] : [problem('comfy/no-metadata', 'error', top,
      `${orphans.length} layers have a weight_scale but no entry, such as "${orphans[0] ?? ''}": ComfyUI loads them as unquantized and fails later with "mat1 and mat2 shapes cannot be multiplied".`)],
    ...tensors.some(({ name }) => name === 'scaled_fp8' || name.endsWith('.scaled_fp8')) ? [problem('comfy/scaled-fp8', 'info', top, 'The file also carries the old marker "scaled_fp8", which is rewritten when it is loaded; an input scale of exactly 1.0 is dropped then.')] : [],
  ];
}

function ofLayer({ name, range, format, fields }: LayerNote, weights: ReadonlyMap<string, TensorInfo>): DialectProblem[] {
  const tensor = weights.get(name);
  if (!tensor) {
    const other = name.startsWith(prefix) ? name.slice(prefix.length) : `${prefix}${name}`;
    return [weights.has(other) ? problem('comfy/prefix', 'error', range, `The file calls this layer "${other}": names count with their prefix, and ComfyUI passes over this entry without a word.`,
      replaceBy(range, other)) :
      problem('comfy/no-such-layer', 'warning', range, `The file has no layer "${name}". ComfyUI passes over the entry without a word.`)];
  }
  const known = formats[format ?? ''];
  const quantizedOnDisk = tensor.dtype !== 'BF16' && tensor.dtype !== 'F16' && tensor.dtype !== 'F32';
  const storage = known && quantizedOnDisk && !known.dtypes.includes(tensor.dtype) ? [problem('comfy/storage', 'error', range, `${format ?? ''} is stored as ${known.dtypes.join(' or ')}, but the weight is ${tensor.dtype}.`)] : [];
  return [...storage, ...rotation(format, fields, (tensor.shape[1] ?? 0) * (known?.packed === true && quantizedOnDisk ? 2 : 1))];
}

/** ConvRot rotates groups of inputs by a power of a 4 × 4 matrix. */
function rotation(format: string | undefined, fields: Fields, inputs: number): DialectProblem[] {
  if (format !== 'convrot_w4a4' && fields.flag('convrot') !== true) {
    return [];
  }
  const group = fields.number('convrot_groupsize') ?? 256;
  const range = fields.has('convrot_groupsize') ? fields.range('convrot_groupsize') : fields.range('format');
  const isPowerOfFour = Number.isInteger(Math.log2(group) / 2);
  return isPowerOfFour && inputs % group === 0 ? [] : [problem('comfy/convrot-group', 'error', range,
    isPowerOfFour ? `ConvRot groups of ${group} do not divide ${inputs} inputs${inputs % 64 === 0 ? '; 64 does.' : '.'}` : `A ConvRot group is a power of four (16, 64, 256), not ${group}.`)];
}

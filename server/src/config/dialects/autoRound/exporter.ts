/** AutoRound's exporter, called from Python: `AutoRound("flux", scheme="W4A16", layer_config={…}, ignore_layers="…")`. Which layers get what, as its resolver decides it. */
import type { Checkpoint, Layer, Range } from '../../../protocol';
import { nearest } from '../../nearest';
import type { Entry, MapNode } from '../../tree';
import { diffusionTraps } from './diffusion';
import { blocks, entryOf, ignored, partialName, prepare } from './names';
import type { ExportEntry } from './names';
import { bitsOf, mixed, presetDocs, presets, resolve, schemeOf, treatmentOf } from './schemes';
import type { Scheme } from './schemes';
import { kept, problem, quantized } from '../dialect';
import type { Decision, Dialect, DialectFile, DialectProblem, Treatment } from '../dialect';
import { describeShare } from '../evaluate';
import { named } from '../field';
import type { Field, FieldTable } from '../field';
import { Fields } from '../fields';

const dataTypes = named('int', 'fp', 'mx_fp', 'nv_fp', 'mx_int', 'int4', 'int8', 'fp8', 'mx_fp4', 'mx_fp8', 'nv_fp4');
const schemeFields: FieldTable = {
  bits: { type: 'number', examples: [2, 3, 4, 8, 16], doc: 'Bits of the weights; 16 keeps them.' }, group_size: { type: 'any', examples: [32, 64, 128, -1], doc: 'Inputs that share a scale; -1 for whole rows, 0 for the whole tensor, two numbers for blocks of FP8.' },
  sym: { type: 'flag', doc: 'No zero points.' }, data_type: { type: 'text', values: dataTypes, open: true, doc: 'Of the weights. Bits in its name win over `bits`.' },
  act_bits: { type: 'number', examples: [4, 8, 16], doc: 'Bits of the activations; 16 keeps them.' }, act_group_size: { type: 'number', examples: [32, 128, -1], doc: 'Inputs of a token that share a scale.' }, act_sym: { type: 'flag', doc: 'No zero points in activations.' },
  act_data_type: { type: 'text', values: dataTypes, open: true, doc: 'Of the activations.' }, act_dynamic: { type: 'flag', doc: 'Scales of activations are found at run time.' }, super_bits: { type: 'number', silent: true, doc: 'Of scales of scales.' },
  super_group_size: { type: 'number', silent: true, doc: 'Groups that share a scale of scales.' }, rotation_config: { type: 'any', silent: true, doc: 'A rotation before rounding.' },
};
const others = ['platform', 'dataset', 'seqlen', 'nsamples', 'gradient_accumulate_steps', 'low_gpu_mem_usage', 'device_map', 'device', 'enable_torch_compile', 'seed', 'low_cpu_mem_usage', 'alg_configs', 'algorithm', 'model_free', 'disable_model_free', 'scale_dtype', 'quant_lm_head',
  'model_dtype', 'trust_remote_code', 'amp', 'disable_deterministic_algorithms', 'enable_deterministic_algorithms', 'static_kv_dtype', 'static_attention_dtype', 'static_kv_granularity', 'static_attention_granularity', 'processor', 'image_processor', 'template', 'extra_data_dir', 'quant_nontext_module',
  'lr', 'minmax_lr', 'lr_scheduler', 'momentum', 'nblocks', 'enable_minmax_tuning', 'enable_norm_bias_tuning', 'enable_alg_ext', 'not_use_best_mse', 'dynamic_max_gap', 'enable_quanted_input', 'optimizer', 'enable_adam', 'enable_lfq', 'enable_opt_rtn', 'duo_scaling', 'n_grid'];

const root: Field = {
  type: 'map', doc: 'Quantizes a model and exports it.', source: 'auto-round (2026-08), `AutoRound.__new__` and `resolve_layer_config`',
  fields: {
    model: { type: 'any', required: true, doc: 'Of diffusion models the pipeline, or its folder.' }, tokenizer: { type: 'any', doc: 'Of language models.' },
    scheme: { type: 'any', values: presetDocs, open: true, default: 'W4A16', doc: 'A preset, whatever its case, or a mapping of the fields of one.', fields: schemeFields },
    layer_config: {
      type: 'map', names: partialName, doc: 'Layers with a scheme of their own. A part of a name wins over a whole name, a later one over an earlier.',
      each: { type: 'any', values: presetDocs, open: true, doc: 'A preset, or fields; what is missing is as in `scheme`.', fields: { scheme: { type: 'text', values: presetDocs, open: true, doc: 'A preset that the other fields change.' }, ...schemeFields, scale_dtype: { type: 'any', silent: true, doc: 'Of the scales.' } } },
    },
    ignore_layers: { type: 'text', names: { ...partialName, doc: 'Whole names of layers, or parts of names, in one text with commas. Behind a digit at the end AutoRound puts a dot.' }, doc: 'Layers to keep.' },
    to_quant_block_names: { type: 'any', doc: 'Blocks to quantize: a text with commas of expressions for `re.search`. Without it all lists of blocks.' },
    iters: { type: 'number', default: 200, doc: 'Steps in which the rounding of a block is learnt; 0 rounds to nearest.' }, disable_opt_rtn: { type: 'flag', default: false, doc: 'With `iters=0`: does not search for better scales.' },
    batch_size: { type: 'number', default: 8, doc: 'Samples at once; 1 for diffusion models.' },
    format: { type: 'text', silent: true, doc: 'As that of `quantize_and_save`.' }, num_inference_steps: { type: 'number', default: 50, doc: 'Steps of each picture that it learns from.' }, guidance_scale: { type: 'number', default: 7.5, doc: 'Of these pictures.' }, generator_seed: { type: 'number', doc: 'Of their noise.' },
    ...schemeFields, ...Object.fromEntries(others.map((key) => [key, { type: 'any', silent: true, doc: 'Says nothing about layers.' } as const])),
    fp_layers: { type: 'any', silent: true, doc: 'The former name of `ignore_layers`.' },
  },
};

export const autoRoundExporter: Dialect = {
  root: () => root,
  id: 'auto-round-exporter', title: 'AutoRound\'s exporter',
  file: 'a call of `AutoRound` in Python',
  rule: `Layers in repeated blocks are quantized, others where they are named. ${partialName.doc ?? ''} Of several that take a layer the last part of a name wins, those of \`ignore_layers\` counting last; only then whole names.`,
  unmatched: 'Passed over with a warning in its log.',
  codes: ['autoround-export/'],
  detect: ({ python }) => python?.name === 'AutoRound',
  parse(file) {
    const problems: DialectProblem[] = [];
    if (file.root?.kind !== 'map') {
      return { entries: [], otherwise: kept, unmatched: 'ignored', problems };
    }
    const fields = new Fields(file.root, 'AutoRound', problems, file.document, root);
    fields.check('warning', 'AutoRound passes over it with a line in its log.');
    if (fields.has('fp_layers')) {
      fields.report('autoround-export/fp-layers', 'error', fields.keyRange('fp_layers'), 'fp_layers is the former name of ignore_layers: passed over with a line in the log, and its layers are quantized.', 'ignore_layers');
    }
    const { scheme, open } = readScheme(fields, file.root);
    const learnt = learntOf(fields);
    const base = open === undefined ? treatmentOf(scheme, learnt) : quantized(open, null, null);
    const settings = fields.map('layer_config');
    const entries = [
      ...(settings?.node.entries ?? []).flatMap((entry) => entryOf({ value: entry.key, range: entry.keyRange }, 'settings', layerTreatment(entry, settings as Fields, scheme, learnt, file), problems)),
      ...ignored(fields, file).flatMap((name) => entryOf(name, 'ignore', kept, problems)), ...blocks(fields, base, problems),
    ];
    const byBlocks = entries.some(({ kind }) => kind === 'block');
    const decideLayer = (layer: Layer, taking: readonly ExportEntry[]): Omit<Decision, 'layer'> => decide(layer, taking, { byBlocks, base, everywhere: open !== undefined, scheme });
    const late = diffusionTraps(fields, file, scheme);
    return {
      entries, otherwise: base, unmatched: 'logged', problems: [...problems, ...late.known], prepare: (checkpoint) => prepare(entries, checkpoint), decide: (layer, taking) => decideLayer(layer, taking as readonly ExportEntry[]),
      traps: (checkpoint, decisions) => [...tooNarrow(file.part?.at ?? fields.range('scheme'), decisions, checkpoint), ...late.withModel(checkpoint)],
    };
  },
};

/** What learning leaves in the weights, which rounding here does not. */
function learntOf(fields: Fields): string[] {
  return fields.scalar('iters') !== 0 ? ['it learns the rounding; here it is to the nearest level'] : fields.scalar('disable_opt_rtn') === true ? [] : ['it searches for better scales; here they are those of the largest value'];
}

/** @returns `open` where another rule than the scheme decides, in words */
function readScheme(fields: Fields, arguments_: MapNode): { scheme: Scheme; open?: string } {
  const written = fields.value('scheme');
  const overrides = schemeOf(arguments_);
  if (written?.kind === 'map' && fields.peek('scheme')?.has('avg_bits')) {
    return { scheme: {}, open: 'as AutoScheme decides' };
  }
  if (written?.kind === 'map') {
    const inner = fields.inner(written, 'scheme', root.fields?.['scheme']);
    if (!inner.has('data_type') && !inner.has('act_data_type') && !fields.has('data_type') && !fields.source('scheme').startsWith('Quant')) {
      inner.mustHave('data_type');
    }
    return { scheme: mended({ ...schemeOf(written), ...overrides }, schemeOf(written), overrides, inner.has('bits') && !fields.has('bits') ? inner : fields) };
  }
  const text = written?.kind === 'scalar' && typeof written.value === 'string' ? written.value.replace(/^['" ]+|['" ]+$/g, '').toUpperCase() : undefined;
  if (written && text === undefined) {
    return { scheme: {}, open: 'as scheme says' };
  }
  const preset = presetOf(text ?? 'W4A16', fields, written?.range);
  if (preset?.ggml !== undefined) {
    Object.keys(overrides).forEach((key) => { fields.report('autoround-export/overridden', 'warning', fields.keyRange(key), `Beside a GGUF scheme AutoRound passes over "${key}" with a warning.`); });
  }
  const open = preset === undefined ? 'as scheme says' : mixed.includes(text ?? '') ? `as ${text ?? ''} decides` : undefined;
  return { scheme: mended({ ...preset, ...overrides }, preset ?? {}, overrides, fields), ...open === undefined ? {} : { open } };
}

/** Says where a type sets bits that are written otherwise. */
function mended(all: Scheme, base: Scheme, overrides: Scheme, at: Fields): Scheme {
  for (const [bits, type] of [['bits', 'data_type'], ['act_bits', 'act_data_type']] as const) {
    const own = bitsOf(all[type]);
    if (base.ggml === undefined && own !== undefined && own < 16 && all[bits] !== own && at.has(bits)) {
      at.report('autoround-export/bits', 'warning', at.range(bits), `"${all[type] ?? ''}" has ${own} bits: AutoRound sets ${bits} to ${own}, with no more than a warning.`);
    }
  }
  return resolve(base, overrides);
}

function presetOf(name: string, fields: Fields, range: Range | undefined): Scheme | undefined {
  const found = Object.hasOwn(presets, name.toUpperCase()) ? presets[name.toUpperCase()] : undefined;
  if (!found && range) {
    const close = nearest(name.toUpperCase(), Object.keys(presets));
    fields.report('autoround-export/scheme', 'error', range, `AutoRound has no scheme "${name}", a KeyError: ${Object.keys(presets).join(', ')}.${close ? ` Did you mean "${close}"?` : ''}`, close);
  }
  return found;
}

/** A preset, or fields over one; what is missing is as in the scheme of all. */
function layerTreatment({ key, value }: Entry, within: Fields, scheme: Scheme, learnt: readonly string[], { python }: DialectFile): Treatment {
  const unknown = quantized('as layer_config says', null, null);
  if (value.kind === 'scalar' && typeof value.value === 'string') {
    const preset = presetOf(value.value, within, value.range);
    return preset ? treatmentOf(filled(preset, scheme), learnt) : unknown;
  }
  if (value.kind !== 'map') {
    return unknown;
  }
  const inner = within.inner(value, `layer_config of "${key}"`, root.fields?.['layer_config']?.each);
  inner.check('error', 'It is a ValueError.');
  const name = inner.text('scheme');
  const preset = name === undefined ? {} : presetOf(name, inner, inner.range('scheme'));
  const isCall = /\.QuantizationScheme$/.test(python?.classes.get(value) ?? '');
  const own: Scheme = { ...isCall ? { bits: 4, group_size: 128, sym: true, data_type: 'int' } : preset, ...schemeOf(value) };
  const all = filled(own, scheme);
  if (own.bits !== undefined && own.bits > 8 && own.act_bits === undefined && (all.act_bits ?? 16) <= 8) {
    inner.report('autoround-export/activations', 'warning', inner.range('bits'), `This keeps the weights alone: activations go on as the scheme says, in ${all.act_bits ?? ''} bits. Write "BF16" in place of the mapping, or "act_bits": 16 in it.`);
  }
  return preset === undefined ? unknown : treatmentOf(all, learnt);
}

function filled(own: Scheme, scheme: Scheme): Scheme {
  const [bits, actBits] = [own.bits ?? bitsOf(own.data_type), own.act_bits ?? bitsOf(own.act_data_type)];
  const { ggml, ...rest } = scheme; // a field of one's own leaves the type of ggml
  return { ...Object.keys(own).length === 0 && ggml !== undefined ? scheme : rest, ...own, ...bits === undefined ? {} : { bits }, ...actBits === undefined ? {} : { act_bits: actBits } };
}

interface Rest { byBlocks: boolean; base: Treatment; everywhere: boolean; scheme: Scheme }

/** Parts of names come after whole names, and win; then widths; then blocks. */
function decide(layer: Layer, taking: readonly ExportEntry[], { byBlocks, base, everywhere, scheme }: Rest): Omit<Decision, 'layer'> {
  const own = taking.filter(({ kind }) => kind !== 'block');
  const by = own.filter(({ isPart }) => isPart).at(-1) ?? own.at(-1);
  const block = taking.find(({ kind }) => kind === 'block');
  const isInside = byBlocks ? block !== undefined : layer.block !== null;
  const treatment = by?.treatment ?? (isInside || everywhere ? base : { ...kept, label: 'kept: outside of the quantized blocks' });
  if (treatment.kind === 'quantize' && !everywhere && !fits(layer, scheme)) {
    return { entry: null, treatment: tooNarrowToQuantize };
  }
  return { entry: by ?? block ?? null, treatment };
}

const tooNarrowToQuantize: Treatment = { ...kept, label: 'kept: its width does not fit' };

/** By the scheme of all, whatever a layer's own is. */
function fits({ inFeatures, outFeatures }: Layer, { data_type: type, act_bits: actBits = 16, group_size: group, ggml }: Scheme): boolean {
  if (ggml !== undefined) {
    return true;
  }
  return type === 'int' && actBits >= 16 ? inFeatures % 32 === 0 && outFeatures % 32 === 0 : !/^(?:mx|nv)_fp/.test(type ?? '') || typeof group !== 'number' || group <= 0 || inFeatures % group === 0;
}

function tooNarrow(range: Range, decisions: readonly Decision[], checkpoint: Checkpoint): DialectProblem[] {
  const odd = decisions.filter(({ treatment }) => treatment === tooNarrowToQuantize).map(({ layer }) => layer);
  const [first] = odd;
  return first ? [problem('autoround-export/width', 'warning', range,
    `AutoRound keeps ${describeShare(odd, checkpoint)}, such as "${first.name}" (${first.inFeatures} to ${first.outFeatures}), with no more than a line in its log: the width does not fit the scheme.`)] : [];
}

import type { Checkpoint, Layer } from '../../protocol';
import type { Located } from '../parse';
import { kept, problem, quantized } from './dialect';
import type { Decision, DialectEntry, DialectProblem, Treatment } from './dialect';
import { describeShare } from './evaluate';
import { named } from './field';
import type { Field, FieldTable, NameRule } from './field';
import type { Fields } from './fields';
import { keptInFp32, sdnqCommonSkips, sdnqSkips, skippedByCasting } from './models';
import { globs, segments } from './offers';
import { backend } from './quantizationConfig';
import { compileRegex } from './regex';
import { RegexFault } from './regexParser';
import { readSettings, sdnqEquivalent, usesMatmul } from './sdnqRecipes';
import type { SdnqSettings } from './sdnqRecipes';
import { rankTraps } from './sizes';

/**
 * How SDNQ compares an entry with the name of a parameter, `.weight` included.
 * @param matchStart of an expression. @throws RegexFault for entries with a `*` that make no expression
 */
export function matcher(entry: string, matchStart: (expression: string) => (text: string) => boolean = pythonMatch): (parameter: string) => boolean {
  if (entry.startsWith('.')) {
    return (parameter) => parameter.startsWith(entry.slice(1));
  }
  // `.*` becomes an escaped dot and a star, then every star any run; all else is read as a Python expression, anchored at the start only.
  const wild = entry.includes('*') ? matchStart(entry.replaceAll('.*', '\\.*').replaceAll('*', '.*')) : undefined;
  return (parameter) => parameter === entry || parameter.split('.').includes(entry) || wild?.(parameter) === true;
}

function pythonMatch(expression: string): (text: string) => boolean {
  const regex = compileRegex(expression, 'python');
  return (text) => regex.match(text);
}

const names: NameRule = { takes: (entry) => { const takes = matcher(entry); return ({ name }) => takes(`${name}.weight`); }, offers: (checkpoint) => [...segments(checkpoint), ...globs('*')(checkpoint)] };
const dtypes: Field = { type: 'text', default: 'int8', open: true, values: named('int8', 'int7', 'int6', 'uint5', 'uint4', 'uint3', 'uint2', 'float8_e4m3fn', 'float7_e3m3fn', 'float6_e3m2fn', 'float5_e2m2fn', 'float4_e2m1fn', 'float3_e1m1fn', 'float2_e1m0fn'), doc: 'What weights become.' };
const flag = (fallback: boolean, doc: string): Field => ({ type: 'flag', default: fallback, doc });

/** Of the whole model, and of what `modules_quant_config` says for some layers. */
const settings: FieldTable = {
  weights_dtype: dtypes,
  group_size: { type: 'number', default: 0, examples: [0, 32, 64, -1], doc: 'Weights that share a scale: 0 lets the dtype decide, -1 is a whole row, -2 the whole tensor.' },
  use_svd: flag(false, 'A low-rank branch beside the codes (SVDQuant).'), svd_rank: { type: 'number', default: 32, examples: [32], doc: 'Columns of the low-rank branch.' }, svd_steps: { type: 'number', default: 8, examples: [8], doc: 'Iterations of its estimate.' },
  use_hadamard: flag(false, 'Rotates the inputs of every layer by a Hadamard matrix before it is quantized.'),
  hadamard_group_size: { type: 'number', default: 256, examples: [64, 128, 256], doc: 'Inputs that are rotated together; halved until it divides a layer\'s inputs.' },
  use_codebook: flag(false, 'Lloyd–Max levels for each group; unsigned integers only.'), codebook_steps: { type: 'number', default: 24, examples: [24], doc: 'Iterations of Lloyd–Max.' },
  use_quantized_matmul: flag(false, 'Multiplies in int8, float8 or float16 instead of unpacking the weights first: activations are quantized too.'),
  quantized_matmul_dtype: { type: 'text', values: named('int8', 'float8_e4m3fn', 'float16'), open: true, doc: 'What `use_quantized_matmul` multiplies in. Missing: int8 for integers, a float for floats.' },
  use_dynamic_quantization: flag(false, 'Chooses a dtype per layer, from `weights_dtype` upwards, until the loss is below `dynamic_loss_threshold`.'),
  dynamic_loss_threshold: { type: 'number', examples: [0.01], doc: 'Mean squared error to stay below; missing or negative: by the dtype.' },
  use_stochastic_rounding: flag(false, 'For training.'), dequantize_fp32: flag(true, 'Scales in float32.'),
};

const fields: FieldTable = {
  ...settings,
  modules_to_not_convert: { type: 'names', names, doc: 'Layers to keep.' },
  modules_to_not_use_matmul: { type: 'names', names, doc: 'Layers whose activations stay as they are under `use_quantized_matmul`.' },
  modules_dtype_dict: {
    type: 'map', doc: 'Layers with another dtype: a dtype, or a minimum such as `minimum_6bit`, with the list of its layers.', fields: {},
    each: { type: 'names', names, doc: 'Layers that get this dtype.' },
  },
  modules_quant_config: { type: 'map', names, doc: 'Layers with settings of their own: the key names them.', each: { type: 'map', doc: 'Settings of these layers.', fields: settings } },
  add_skip_keys: flag(true, 'Adds SDNQ\'s own list for the model class, and what the class keeps in float32, to the lists here.'),
  minimum_allowed_numel: { type: 'number', default: 16384, examples: [16384], doc: 'Layers with fewer weights are kept.' }, minimum_allowed_channel_size: { type: 'number', default: 32, examples: [32], doc: 'Layers with fewer channels are kept.' },
  quant_conv: flag(false, 'Convolutions too.'), quant_embedding: flag(false, 'Embeddings too.'), use_quantized_matmul_conv: flag(false, '`use_quantized_matmul` for convolutions.'),
  use_static_quantization: flag(true, 'For training: false keeps weights as they are and only multiplies in fewer bits.'), use_grad_ckpt: flag(true, 'For training.'), non_blocking: flag(false, 'Moves layers between devices without waiting.'),
  quantization_device: { type: 'text', open: true, values: named('cuda', 'cpu'), doc: 'Where weights are quantized.' }, return_device: { type: 'text', open: true, values: named('cuda', 'cpu'), doc: 'Where they go afterwards.' },
  ...Object.fromEntries(['sdnq_version', 'is_training', 'is_integer', 'is_unsigned'].map((key) => [key, { type: 'any', silent: true, doc: 'Written by SDNQ when it saves.' } as const])),
};

type Kind = 'skip' | 'dtype' | 'settings';
interface SdnqEntry extends DialectEntry { kind: Kind; dtypeKey?: string; settings?: SdnqSettings }

export const sdnq = backend({
  fields, source: 'SDNQ, `SDNQConfig` in quantizer.py (2026-08)',
  id: 'diffusers-sdnq', title: 'SDNQ', methods: ['sdnq', 'sdnq_training'], codes: ['sdnq/'],
  rule: 'With a leading dot the name of the parameter starts with the rest; otherwise the entry is the whole name, or one of its dotted segments, or, with a `*`, an expression for `re.match`, anchored at the start only.',
  unmatched: 'Passed over without a word.',
}, (fields, problems) => {
  const dtype = fields.text('weights_dtype') ?? 'int8';
  checkFields(fields, dtype);
  const base = format(dtype);
  const skips = entriesOf(fields.names('modules_to_not_convert', true), 'skip', kept, problems);
  const dtypes = (fields.map('modules_dtype_dict')?.node.entries ?? []).flatMap(({ key, keyRange }) => {
    const [treatment, names] = [format(minimum(key, dtype)), fields.map('modules_dtype_dict')?.names(key, true) ?? []];
    if (treatment.weightBits === null) {
      problems.push(problem('sdnq/dtype', 'error', keyRange, `"${key}" is neither a dtype of SDNQ nor a minimum such as "minimum_6bit".`));
    }
    return entriesOf(names, 'dtype', treatment, problems).map((entry) => ({ ...entry, dtypeKey: key }));
  });
  const settings = (fields.map('modules_quant_config')?.node.entries ?? []).flatMap(({ key, keyRange, value }) => {
    const inner = value.kind === 'map' ? fields.map('modules_quant_config')?.map(key) : undefined;
    return entriesOf([{ value: key, range: keyRange }], 'settings', format(inner?.text('weights_dtype') ?? dtype), problems).map((entry) => ({ ...entry, settings: readSettings(fields, inner) }));
  });
  const entries = [...skips, ...dtypes, ...settings];
  // What was saved holds the built-in names already, and loading adds none.
  const adds = fields.flag('add_skip_keys') !== false && !fields.has('sdnq_version');
  const whole = readSettings(fields);
  const unmultiplied = entriesOf(fields.names('modules_to_not_use_matmul', true), 'skip', kept, problems);
  const least = { weights: fields.number('minimum_allowed_numel') ?? 16384, width: fields.number('minimum_allowed_channel_size') ?? 32 };
  return {
    entries, otherwise: base, unmatched: 'ignored',
    builtin: (checkpoint) => (adds ? ownSkips(checkpoint, fields) : []),
    decide: (layer, taking) => described(decide(layer, taking as readonly SdnqEntry[], base, dtype, least), layer, whole, unmultiplied.some((entry) => entry.takes(layer))),
    traps: (checkpoint, decisions) => [...adds ? ownSkipTrap(checkpoint, decisions, fields) : [], ...hadamardTrap(checkpoint, decisions, fields),
      ...fields.flag('use_svd') === true ? rankTraps(fields, 'svd_rank', decisions.filter(({ treatment }) => treatment.kind === 'quantize').map(({ layer }) => layer), checkpoint) : []],
  };
});

function entriesOf(names: readonly Located<string>[], kind: Kind, treatment: Treatment, problems: DialectProblem[]): SdnqEntry[] {
  return names.flatMap(({ value, range }) => {
    try {
      const takes = matcher(value);
      const dotted = value.startsWith('.') ? 'A leading dot means: the whole name starts with what follows.' : value.includes('.') && !value.includes('*') ?
        'A path counts as the whole name of a parameter, .weight included; otherwise one dotted segment alone, a leading dot, or a pattern with * is compared.' : undefined;
      return [{ text: value, range, kind, treatment, isPath: !/^\.|\*/.test(value), takes: ({ name }: Layer) => takes(`${name}.weight`), ...(dotted ? { matchesNothing: dotted } : {}) }];
    } catch (error) {
      if (!(error instanceof RegexFault)) {
        throw error;
      }
      problems.push(problem(error.unsupported ? 'dialect/pattern-not-read' : 'dialect/pattern', 'error', range, `An entry with * is read as a Python expression, and "${value}" makes none: ${error.message}.`));
      return [];
    }
  });
}

/** With activations and recipe, which depend on the widths of a layer. */
function described(decision: Omit<Decision, 'layer'> & { settings?: SdnqSettings }, layer: Layer, whole: SdnqSettings, isUnmultiplied: boolean): Omit<Decision, 'layer'> {
  const { settings = whole, ...rest } = decision;
  const { kind, label, weightBits } = rest.treatment;
  if (kind === 'keep') {
    return rest;
  }
  const matmul = settings.matmul && !isUnmultiplied && usesMatmul(layer, label);
  return { ...rest, treatment: quantized(label, weightBits, matmul ? 8 : 16, sdnqEquivalent(label, { ...settings, matmul }, layer.inFeatures)) };
}

/** Kept names first, then what is too small, then settings of the first entry that takes it, then the first dtype. */
function decide(layer: Layer, taking: readonly SdnqEntry[], base: Treatment, dtype: string, least: { weights: number; width: number }): Omit<Decision, 'layer'> & { settings?: SdnqSettings } {
  const skip = taking.find(({ kind }) => kind === 'skip');
  if (skip) {
    return { entry: skip, treatment: kept };
  }
  if (layer.params < least.weights || layer.inFeatures < least.width) {
    return { entry: null, treatment: { ...kept, label: 'kept: smaller than minimum_allowed_numel or minimum_allowed_channel_size' } };
  }
  const settings = taking.find(({ kind }) => kind === 'settings');
  const by = taking.find(({ kind }) => kind === 'dtype');
  if (!by) {
    return { entry: settings ?? null, treatment: settings?.treatment ?? base, ...settingsOf(settings) };
  }
  const inner = settings?.treatment.label ?? dtype;
  return { entry: by, treatment: format(minimum(by.dtypeKey ?? dtype, inner)), ...settingsOf(settings) };
}

function settingsOf(entry: SdnqEntry | undefined): { settings?: SdnqSettings } { return entry?.settings ? { settings: entry.settings } : {}; }

/** A dtype that a layer gets by a key of modules_dtype_dict: the key itself, or at least as many bits as it says. */
function minimum(key: string, dtype: string): string {
  const [, unsigned, bits] = /^(?:minimum)?[-_]?(u?)(?:int)?(\d+)[-_]?(?:bits?)?$/.exec(key.toLowerCase()) ?? [];
  if (bits === undefined || !/^minimum|bits?$/.test(key.toLowerCase())) {
    return key.toLowerCase();
  }
  return (bitsOf(dtype) ?? 16) >= Number(bits) ? dtype : `${unsigned === 'u' || Number(bits) <= 4 ? 'uint' : 'int'}${bits}`;
}

/** Bits of int1–int16, float3_e1m1fn and their like, and short names; null for what is none. */
function bitsOf(dtype: string): number | null {
  const [, bits] = /^(?:u?int|float|u?fp|bf)(\d+)(?:_e\d+m\d+fnu?z?(?:_sdnq)?|_e8m0fnu|_e5m2)?$/.exec(dtype) ?? [];
  return dtype === 'bool' ? 1 : dtype === 'bfloat16' ? 16 : bits !== undefined && (Number(bits) <= 16 || bits === '32') ? Number(bits) : null;
}

function format(dtype: string): Treatment {
  return quantized(dtype, bitsOf(dtype));
}

function checkFields(fields: Fields, dtype: string): void {
  if (bitsOf(dtype) === null) {
    fields.report('sdnq/dtype', 'error', fields.range('weights_dtype'), `SDNQ has no dtype "${dtype}": int8, uint4, float8_e4m3fn and their like.`);
  }
  if (fields.flag('use_codebook') === true && !/^(?:uint|bool)/.test(dtype)) {
    fields.report('sdnq/codebook', 'error', fields.range('use_codebook'), `Codebooks go with unsigned integers only, not with "${dtype}".`);
  }
  fields.check('warning', 'It has no effect.');
}

function ownSkips(checkpoint: Checkpoint, fields: Fields): SdnqEntry[] {
  const { architecture } = checkpoint;
  const list = sdnqSkips[architecture] ?? [...sdnqCommonSkips, ...skippedByCasting[architecture] ?? []];
  return [...list, ...keptInFp32[architecture] ?? []].map((text) => {
    const takes = matcher(text);
    return { text, range: fields.keyRange('quant_method'), kind: 'skip', treatment: kept, isPath: false, takes: ({ name }) => takes(`${name}.weight`), builtin: `SDNQ's own list for ${architecture in sdnqSkips ? architecture : 'other models'}` };
  });
}

function ownSkipTrap(checkpoint: Checkpoint, decisions: readonly Decision[], fields: Fields): DialectProblem[] {
  const own = decisions.filter(({ entry }) => entry?.builtin !== undefined);
  return own.length === 0 ? [] : [problem('sdnq/builtin-skips', 'info', fields.keyRange('quant_method'),
    `SDNQ adds a list of its own unless add_skip_keys is false: it keeps ${describeShare(own.map(({ layer }) => layer), checkpoint)}, such as "${own[0]?.layer.name ?? ''}" (${own[0]?.entry?.text ?? ''}).`)];
}

/** The group is halved until it divides a layer's inputs. */
function hadamardTrap(checkpoint: Checkpoint, decisions: readonly Decision[], fields: Fields): DialectProblem[] {
  const group = fields.number('hadamard_group_size') ?? 256;
  const smaller = fields.flag('use_hadamard') === true ? decisions.filter(({ treatment, layer }) => treatment.kind === 'quantize' && layer.inFeatures % group !== 0).map(({ layer }) => layer) : [];
  return smaller.length === 0 ? [] : [problem('sdnq/hadamard', 'info', fields.keyRange(fields.has('hadamard_group_size') ? 'hadamard_group_size' : 'use_hadamard'),
    `Groups of ${group} do not divide the inputs of ${describeShare(smaller, checkpoint)}, such as "${smaller[0]?.name ?? ''}" (${smaller[0]?.inFeatures ?? 0}): there the group is halved until it does.`)];
}

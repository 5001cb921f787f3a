import type { Checkpoint, Layer } from '../../protocol';
import type { Located } from '../parse';
import { kept, problem, quantized } from './dialect';
import type { Decision, DialectEntry, DialectProblem, Treatment } from './dialect';
import { describeShare } from './evaluate';
import type { Fields } from './fields';
import { keptInFp32, sdnqCommonSkips, sdnqSkips, skippedByCasting } from './models';
import { backend } from './quantizationConfig';
import { compileRegex, RegexFault } from './regex';
import { rankTraps } from './sizes';

const known = [
  'quant_method', 'weights_dtype', 'quantized_matmul_dtype', 'hadamard_group_size', 'group_size', 'svd_rank', 'svd_steps', 'codebook_steps', 'dynamic_loss_threshold', 'use_svd', 'use_hadamard', 'use_codebook', 'use_grad_ckpt',
  'quant_conv', 'quant_embedding', 'use_quantized_matmul', 'use_quantized_matmul_conv', 'use_static_quantization', 'use_dynamic_quantization', 'use_stochastic_rounding', 'dequantize_fp32', 'non_blocking', 'add_skip_keys',
  'minimum_allowed_numel', 'minimum_allowed_channel_size', 'modules_to_not_convert', 'modules_to_not_use_matmul', 'modules_dtype_dict', 'modules_quant_config', 'quantization_device', 'return_device', 'sdnq_version', 'is_training',
  'is_integer', 'is_unsigned',
];

/** How SDNQ compares an entry with the name of a parameter, `.weight` included. @throws RegexFault for entries with a `*` that make no expression */
export function matcher(entry: string): (parameter: string) => boolean {
  if (entry.startsWith('.')) {
    return (parameter) => parameter.startsWith(entry.slice(1));
  }
  // `.*` becomes an escaped dot and a star, then every star any run; all else is read as a Python expression, anchored at the start only.
  const wild = entry.includes('*') ? compileRegex(entry.replaceAll('.*', '\\.*').replaceAll('*', '.*'), 'python') : undefined;
  return (parameter) => parameter === entry || parameter.split('.').includes(entry) || wild?.match(parameter) === true;
}

type Kind = 'skip' | 'dtype' | 'settings';
interface SdnqEntry extends DialectEntry { kind: Kind; dtypeKey?: string }

export const sdnq = backend({
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
    const inner = value.kind === 'map' ? fields.map('modules_quant_config')?.map(key)?.text('weights_dtype') : undefined;
    return entriesOf([{ value: key, range: keyRange }], 'settings', format(inner ?? dtype), problems);
  });
  const entries = [...skips, ...dtypes, ...settings];
  // What was saved holds the built-in names already, and loading adds none.
  const adds = fields.flag('add_skip_keys') !== false && !fields.has('sdnq_version');
  const least = { weights: fields.number('minimum_allowed_numel') ?? 16384, width: fields.number('minimum_allowed_channel_size') ?? 32 };
  return {
    entries, otherwise: base, unmatched: 'ignored',
    builtin: (checkpoint) => (adds ? ownSkips(checkpoint, fields) : []),
    decide: (layer, taking) => decide(layer, taking as readonly SdnqEntry[], base, dtype, least),
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

/** Kept names first, then what is too small, then settings of the first entry that takes it, then the first dtype. */
function decide(layer: Layer, taking: readonly SdnqEntry[], base: Treatment, dtype: string, least: { weights: number; width: number }): Omit<Decision, 'layer'> {
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
    return { entry: settings ?? null, treatment: settings?.treatment ?? base };
  }
  const inner = settings?.treatment.label ?? dtype;
  return { entry: by, treatment: format(minimum(by.dtypeKey ?? dtype, inner)) };
}

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
  fields.unknown(known, 'warning', 'It has no effect.');
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

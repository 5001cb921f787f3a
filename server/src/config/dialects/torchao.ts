import type { Checkpoint, Layer, Range } from '../../protocol';
import type { DialectProblem, Treatment } from './dialect';
import { kept, problem, quantized } from './dialect';
import { describeShare } from './evaluate';
import type { Fields } from './fields';
import { backend, fp32Modules, skipList } from './quantizationConfig';

/** Bits of weights and activations by class; null where a field of the config decides. */
const configs: Readonly<Record<string, readonly [label: string, weightBits: number | null, activationBits: number]>> = {
  Int4WeightOnlyConfig: ['int4 weights', 4, 16], Int8WeightOnlyConfig: ['int8 weights', 8, 16], Int8DynamicActivationInt8WeightConfig: ['int8 weights, dynamic int8 activations', 8, 8],
  Int8DynamicActivationInt4WeightConfig: ['int4 weights, dynamic int8 activations', 4, 8], Int4DynamicActivationInt4WeightConfig: ['int4 weights, dynamic int4 activations', 4, 4],
  Int8DynamicActivationIntxWeightConfig: ['intx weights, dynamic int8 activations', null, 8], Int8StaticActivationInt8WeightConfig: ['int8 weights, static int8 activations', 8, 8],
  Float8WeightOnlyConfig: ['float8 weights', 8, 16], Float8DynamicActivationFloat8WeightConfig: ['float8 weights, dynamic float8 activations', 8, 8],
  Float8DynamicActivationInt4WeightConfig: ['int4 weights, dynamic float8 activations', 4, 8], Float8DynamicActivationFloat8SemiSparseWeightConfig: ['sparse float8 weights, dynamic float8 activations', 8, 8],
  Float8StaticActivationFloat8WeightConfig: ['float8 weights, static float8 activations', 8, 8], GemliteUIntXWeightOnlyConfig: ['uintx weights', null, 16], UIntXWeightOnlyConfig: ['uintx weights', null, 16],
  FPXWeightOnlyConfig: ['small float weights', null, 16], IntxWeightOnlyConfig: ['intx weights', null, 16], NVFP4DynamicActivationNVFP4WeightConfig: ['NVFP4 weights and activations', 4, 4],
  NVFP4WeightOnlyConfig: ['NVFP4 weights', 4, 16], MXDynamicActivationMXWeightConfig: ['MX weights and activations', null, 8], FqnToConfig: ['by name', null, 16], ModuleFqnToConfig: ['by name', null, 16],
};

/** `entry.` anywhere in the name of the parameter, `.weight` included, or that name itself. */
export function takesParameter(entry: string, layer: string): boolean {
  const parameter = `${layer}.weight`;
  return parameter.includes(`${entry}.`) || parameter === entry;
}

export const torchao = backend({
  id: 'diffusers-torchao', title: 'torchao in diffusers', methods: ['torchao'], codes: ['torchao/'],
  rule: 'A layer is kept when the entry followed by a dot stands anywhere in the name of its parameter (`.weight` included), or is that name; nothing is anchored, and there are no wildcards.',
  unmatched: 'Passed over without a word.',
}, (fields) => {
  fields.unknown(['quant_method', 'quant_type', 'modules_to_not_convert'], 'warning', 'It has no effect.');
  const otherwise = quantType(fields);
  const config = fields.map('quant_type')?.map('default');
  const group = config && groupOf(config);
  const fits = ({ inFeatures, outFeatures }: Layer): boolean => (group ? inFeatures % group.size === 0 && (!group.both || outFeatures % group.size === 0) : true);
  const entries = skipList(fields.names('modules_to_not_convert', true), takesParameter, (entry) => (/[*?[]/.test(entry) ? 'torchao knows no wildcards.' : undefined));
  return {
    entries, otherwise, unmatched: 'ignored', builtin: fp32Modules(fields, takesParameter),
    decide: (layer, [first]) => (first ? { entry: first, treatment: first.treatment } : { entry: null, treatment: group?.skips && !fits(layer) ? { ...kept, label: 'kept: its width does not fit' } : otherwise }),
    traps: (checkpoint, decisions) => [
      ...checkpoint.tensors.some(({ name }) => name.endsWith('._weight_qdata')) ? [problem('torchao/safetensors', 'info', fields.keyRange('quant_method'),
        'The weights beside this file are torchao tensors in safetensors: loading them needs torchao 0.16 or later.')] : [],
      ...group ? widths(group, decisions.filter(({ entry, layer }) => entry === null && !fits(layer)).map(({ layer }) => layer), checkpoint) : [],
    ],
  };
});

/** What a config wants of a layer's width. `both`: of its outputs too. `skips`: torchao leaves a layer alone that does not fit, and says so in the log; otherwise it stops. */
interface Group { size: number; both: boolean; skips: boolean; range: Range }

function groupOf(config: Fields): Group | undefined {
  const [type, data] = [config.scalar('_type'), config.map('_data')];
  const granularity = data?.map('granularity')?.map('_data');
  const holder = [data, granularity].find((each) => each?.scalar('group_size') !== undefined);
  const size = holder?.number('group_size') ?? (type === 'Int4WeightOnlyConfig' ? 128 : undefined);
  if (type === 'Float8DynamicActivationFloat8WeightConfig') {
    return { size: 16, both: true, skips: true, range: config.range('_type') };
  }
  return size === undefined || size <= 0 ? undefined : { size, both: false, skips: type === 'Int4WeightOnlyConfig', range: holder?.range('group_size') ?? config.range('_type') };
}

function widths({ size, both, skips, range }: Group, odd: readonly Layer[], checkpoint: Checkpoint): DialectProblem[] {
  const [first] = odd;
  return !first ? [] : [problem('torchao/group-width', skips ? 'warning' : 'error', range,
    `${size} does not divide the inputs${both ? ' or outputs' : ''} of ${describeShare(odd, checkpoint)}, such as "${first.name}" (${first.inFeatures}${both ? ` to ${first.outFeatures}` : ''}): ${skips ? 'torchao leaves them as they are, with no more than a line in the log.' : 'torchao stops.'}`)];
}

function quantType(fields: Fields): Treatment {
  const none = quantized('as quant_type says', null, null);
  if (!fields.mustHave('quant_type')) {
    return none;
  }
  const short = fields.scalar('quant_type');
  if (typeof short === 'string') {
    fields.report('torchao/string-type', 'error', fields.range('quant_type'), `"${short}" was a shorthand once; current diffusers takes config objects alone, and anything else is a TypeError. ` +
      'Write {"default": {"_type": "Int8WeightOnlyConfig", "_data": {}}} or another config.');
    return none;
  }
  const type = fields.map('quant_type');
  const keys = type?.node.entries.map(({ key }) => key) ?? [];
  const inner = type?.map('default');
  if (type && (keys.length !== 1 || keys[0] !== 'default')) {
    fields.report('torchao/default-key', 'error', fields.keyRange('quant_type'), `quant_type must hold exactly one key, "default", not ${keys.length === 0 ? 'none' : keys.map((key) => `"${key}"`).join(', ')}.`);
  }
  if (/^(?:Module)?FqnToConfig$/.test(inner?.text('_type') ?? '')) {
    fields.report('torchao/fqn', 'warning', inner?.range('_type') ?? fields.range('quant_type'),
      'diffusers hands torchao one module after the other, without its name: names in an FqnToConfig take nothing here.');
  }
  return inner ? readTorchaoConfig(inner) : none;
}

/** A config object of torchao's own grammar: `_type`, `_version`, `_data`. */
export function readTorchaoConfig(object: Fields): Treatment {
  for (const key of ['_type', '_data']) {
    if (!object.has(key)) {
      object.report('torchao/grammar', 'error', object.keyRange('_type'), `A torchao object needs "${key}".`);
    }
  }
  const type = object.text('_type') ?? '';
  const data = object.map('_data');
  const known = configs[type];
  if (type.includes('.')) {
    object.report('torchao/grammar', 'error', object.range('_type'), `"_type" is a bare class name: "${type.slice(type.lastIndexOf('.') + 1)}".`, type.slice(type.lastIndexOf('.') + 1));
  } else if (type !== '' && !known) {
    object.refuse('_type', type, Object.keys(configs), 'torchao/unknown-type', 'warning');
  }
  if (type === 'IntxWeightOnlyConfig' && data?.has('dtype')) {
    object.report('torchao/intx-dtype', 'error', data.keyRange('dtype'), 'IntxWeightOnlyConfig has no field "dtype": a TypeError on current torchao. Write "weight_dtype".', 'weight_dtype');
  }
  const [label, weightBits, activationBits] = known ?? [type || 'unknown', null, null];
  const group = data?.number('group_size');
  const dtype = data?.map('weight_dtype')?.text('_data') ?? data?.map('dtype')?.text('_data');
  const bits = weightBits ?? (dtype ? Number(/\d+$/.exec(dtype)?.[0] ?? NaN) || null : null);
  return quantized(`${label}${dtype ? ` (${dtype})` : ''}${group === undefined ? '' : ` per group ${group}`}`, bits, activationBits);
}

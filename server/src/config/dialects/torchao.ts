import { TextDocument } from 'vscode-languageserver-textdocument';
import type { Checkpoint, Layer, Range, Recipe } from '../../protocol';
import type { DialectEntry, DialectProblem, Treatment } from './dialect';
import { kept, problem, quantized } from './dialect';
import { describeShare } from './evaluate';
import { named } from './field';
import type { Field, FieldTable } from './field';
import { Fields } from './fields';
import { parseJsonTree } from './jsonTree';
import { modules } from './offers';
import type { Packages } from '../../python/packages/allowed';
import { backend, byName, fp32Modules, pickledWeights, skipList } from './quantizationConfig';
import { torchaoEquivalent } from './torchaoRecipes';
import { isStoredByTorchao, safetensorsTrap, torchaoVersionTraps, unknownVersion } from './torchaoVersions';

/** Bits of weights and activations by class; null where a field of the config decides. */
const configs: Readonly<Record<string, readonly [label: string, weightBits: number | null, activationBits: number]>> = {
  Int4WeightOnlyConfig: ['int4 weights', 4, 16], Int8WeightOnlyConfig: ['int8 weights', 8, 16], Int8DynamicActivationInt8WeightConfig: ['int8 weights, dynamic int8 activations', 8, 8],
  Int8DynamicActivationInt4WeightConfig: ['int4 weights, dynamic int8 activations', 4, 8], Int4DynamicActivationInt4WeightConfig: ['int4 weights, dynamic int4 activations', 4, 4],
  Int8DynamicActivationIntxWeightConfig: ['intx weights, dynamic int8 activations', null, 8], Int8StaticActivationInt8WeightConfig: ['int8 weights, static int8 activations', 8, 8],
  Float8WeightOnlyConfig: ['float8 weights', 8, 16], Float8DynamicActivationFloat8WeightConfig: ['float8 weights, dynamic float8 activations', 8, 8],
  Float8DynamicActivationInt4WeightConfig: ['int4 weights, dynamic float8 activations', 4, 8], Float8DynamicActivationFloat8SemiSparseWeightConfig: ['sparse float8 weights, dynamic float8 activations', 8, 8],
  Float8StaticActivationFloat8WeightConfig: ['float8 weights, static float8 activations', 8, 8], GemliteUIntXWeightOnlyConfig: ['uintx weights', null, 16], UIntXWeightOnlyConfig: ['uintx weights', null, 16],
  FPXWeightOnlyConfig: ['small float weights', null, 16], IntxWeightOnlyConfig: ['intx weights', null, 16], NVFP4DynamicActivationNVFP4WeightConfig: ['NVFP4 weights and activations', 4, 4],
  NVFP4WeightOnlyConfig: ['NVFP4 weights', 4, 16], UIntxWeightOnlyConfig: ['uintx weights', null, 16], Int8DynamicActivationUIntxWeightConfig: ['uintx weights, dynamic int8 activations', null, 8], MXDynamicActivationMXWeightConfig: ['MX weights and activations', null, 8], FqnToConfig: ['by name', null, 16], ModuleFqnToConfig: ['by name', null, 16],
};

const dtype = (doc: string, ...values: string[]): Field => ({
  type: 'map', doc, fields: { _type: { type: 'text', values: named('torch.dtype'), open: true, doc: 'Of what class `_data` is.' }, _data: { type: 'text', values: named(...values), open: true, doc: 'The name of the dtype.' } },
});
const granularity: Field = {
  type: 'any', doc: 'Which weights share a scale: an object such as `{"_type": "PerGroup", "_version": 1, "_data": {"group_size": 32}}`.',
  fields: {
    _type: { type: 'text', values: { PerRow: 'one scale per row', PerTensor: 'one scale', PerGroup: 'one scale per `group_size` inputs', PerAxis: 'one scale per index of `axis`', PerBlock: '', PerToken: '' }, open: true, doc: 'The class.' },
    _version: { type: 'number', examples: [1], doc: 'Of the class.' }, _data: { type: 'map', fields: { group_size: { type: 'number', examples: [32, 64, 128], doc: 'Inputs of a group.' }, axis: { type: 'number', examples: [0], doc: 'The axis.' } }, doc: 'Its fields.' },
  },
};
const mapping: Field = { type: 'any', doc: 'Symmetric or with zero points.', fields: { _type: { type: 'text', values: named('MappingType'), doc: 'The class.' }, _data: { type: 'text', values: named('SYMMETRIC', 'ASYMMETRIC', 'SYMMETRIC_NO_CLIPPING_ERR'), doc: 'The name.' } } };

/** A config object of torchao's own grammar. */
export const torchaoConfig: Field = {
  type: 'map', doc: 'A config object as torchao writes it: `_type`, `_version`, `_data`.', source: 'torchao 0.19, `config_from_dict` and `quant_api.py`',
  fields: {
    _type: { type: 'text', values: Object.fromEntries(Object.entries(configs).map(([name, [label]]) => [name, label])), open: true, doc: 'The bare name of a config class; it must live in a module that torchao allows.' },
    _version: { type: 'number', default: 1, examples: [1, 2], doc: 'Of the class; another than the installed one only warns.' },
    _data: {
      type: 'map', doc: 'Fields of the class.',
      fields: {
        group_size: { type: 'number', default: 128, examples: [32, 64, 128], doc: 'Inputs that share a scale (`Int4WeightOnlyConfig`; of `Int8WeightOnlyConfig` version 1).' },
        granularity, weight_granularity: granularity, weight_dtype: dtype('Of the stored weights (Intx and float8 classes).', 'int1', 'int2', 'int3', 'int4', 'int5', 'int6', 'int7', 'int8', 'float8_e4m3fn', 'float8_e5m2'),
        activation_dtype: dtype('Of activations (float8 classes).', 'float8_e4m3fn', 'float8_e5m2'), mapping_type: mapping, act_mapping_type: mapping, weight_mapping_type: mapping,
        set_inductor_config: { type: 'flag', default: true, doc: 'Sets the options of torch.compile\'s inductor that suit quantized models.' },
        weight_only_decode: { type: 'flag', default: false, doc: 'Quantizes activations only where several tokens run at once (`Int8DynamicActivationInt8WeightConfig`).' },
        int4_packing_format: { type: 'any', doc: 'How int4 codes are laid out.' }, version: { type: 'number', examples: [2], doc: 'Of the tensors that the class makes.' },
      },
    },
  },
};

const fields: FieldTable = {
  quant_type: { type: 'any', required: true, doc: 'One key, `default`, with a config object of torchao. Texts such as "int8wo" are a TypeError.', fields: { default: torchaoConfig } },
  modules_to_not_convert: { type: 'names', names: byName(takesParameter, modules), doc: 'Layers to keep.' },
};

/** `entry.` anywhere in the name of the parameter, `.weight` included, or that name itself. */
export function takesParameter(entry: string, layer: string): boolean {
  const parameter = `${layer}.weight`;
  return parameter.includes(`${entry}.`) || parameter === entry;
}

export const torchao = backend({
  fields, source: 'diffusers 0.40, `TorchAoConfig`', since: '0.32',
  id: 'diffusers-torchao', title: 'torchao in diffusers', methods: ['torchao'], codes: ['torchao/'],
  rule: 'A layer is kept when the entry followed by a dot stands anywhere in the name of its parameter (`.weight` included), or is that name; nothing is anchored, and there are no wildcards.',
  unmatched: 'Passed over without a word.',
}, (fields) => {
  fields.check('warning', 'It has no effect.');
  const otherwise = quantType(fields);
  const config = fields.peek('quant_type')?.peek('default');
  const group = config && groupOf(config);
  const fits = ({ inFeatures, outFeatures }: Layer): boolean => (group ? inFeatures % group.size === 0 && (!group.both || outFeatures % group.size === 0) : true);
  const entries = skipList(fields.names('modules_to_not_convert', true), takesParameter, (entry) => (/[*?[]/.test(entry) ? 'torchao knows no wildcards.' : undefined));
  const builtin = fp32Modules(fields, takesParameter);
  return {
    entries, otherwise, unmatched: 'ignored', builtin,
    decide: (layer, [first]) => (first ? { entry: first, treatment: first.treatment } : { entry: null, treatment: group?.skips && !fits(layer) ? { ...kept, label: 'kept: its width does not fit' } : otherwise }),
    traps: (checkpoint, decisions) => (group ? widths(group, decisions.filter(({ entry, layer }) => entry === null && !fits(layer)).map(({ layer }) => layer), checkpoint) : []),
    trapsBeside: ({ component, files, packages }) => [
      ...torchaoVersionTraps(fields, config, packages),
      ...component ? stored(fields, component, [...entries, ...builtin(component)], packages) : [],
      ...pickledWeights(files).slice(0, 1).map((name) => problem('torchao/pickle', 'warning', fields.keyRange('quant_method'),
        `"${name}" is a Python pickle of torchao's tensors: only torchao reads it (from_pretrained with use_safetensors=False), and reading a pickle can run code. Save the model again with torchao 0.16 or later and save_pretrained(folder, safe_serialization=True).`)),
    ],
  };
});

/** What the weights beside the section are: as torchao saves them, or as they were. @param keeping what leaves a layer as it is */
function stored(fields: Fields, component: Checkpoint, keeping: readonly DialectEntry[], packages: Packages): DialectProblem[] {
  if (isStoredByTorchao(component)) {
    return safetensorsTrap(fields, packages);
  }
  const [plain, ...others] = component.layers.filter((layer) => !keeping.some((entry) => entry.takes(layer)));
  return plain ? [problem('torchao/not-quantized', 'warning', fields.keyRange('quant_method'),
    `With this section in config.json diffusers takes the weights beside it for quantized ones and loads them as they are: ${describeShare([plain, ...others], component)}, such as "${plain.name}" (${plain.tensor.dtype}), stay unquantized without a word. ` +
    'Take the section out and pass TorchAoConfig to from_pretrained, which a section in config.json would override; save_pretrained then writes quantized weights with it.')] : [];
}

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
  if (!fields.has('quant_type')) {
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

/** What a config object does, in our terms. */
export function torchaoRecipe(config: unknown): Recipe | undefined {
  const document = TextDocument.create('file:///config.json', 'json', 1, JSON.stringify(config));
  const { root } = parseJsonTree(document);
  return root?.kind === 'map' ? readTorchaoConfig(new Fields(root, 'a config', [], document)).recipe : undefined;
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
  unknownVersion(object);
  const [label, weightBits, activationBits] = known ?? [type || 'unknown', null, null];
  const group = data?.number('group_size');
  const dtype = data?.map('weight_dtype')?.text('_data') ?? data?.map('dtype')?.text('_data');
  const bits = weightBits ?? (dtype ? Number(/\d+$/.exec(dtype)?.[0] ?? NaN) || null : null);
  return quantized(`${label}${dtype ? ` (${dtype})` : ''}${group === undefined ? '' : ` per group ${group}`}`, bits, activationBits, torchaoEquivalent(type, data));
}

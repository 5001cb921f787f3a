/** ModelOpt as a backend of diffusers. Its own files are in modeloptRecipe.ts. */
import type { Granularity, Quantizer, Range } from '../../protocol';
import { kept, problem, quantized } from './dialect';
import type { DialectEntry, DialectProblem } from './dialect';
import type { FieldTable } from './field';
import type { Fields } from './fields';
import { compileFnmatch } from './fnmatch';
import { modules } from './offers';
import { certain } from '../../python/packages/allowed';
import type { Packages } from '../../python/packages/allowed';
import { backend, byName, fp32Modules, pickledWeights, skipList } from './quantizationConfig';
import { describeShare } from './evaluate';
import { keepOriginal } from '../../methods/method';
import { equivalent, float, int } from './recipes';
import type { Equivalent } from './recipes';
import { staticFloat } from './quantizationArgs';

const types = { FP8: 8, INT8: 8, INT4: 4, NF4: 4, NVFP4: 4 } as const;
/** Names that ModelOpt never quantizes unless a later entry says otherwise: those of its default list that can be linear layers. */
export const disabledByDefault = [
  '*block_sparse_moe.gate*', '*linear_attn.conv1d*', '*linear_attn.in_proj_a*', '*linear_attn.in_proj_b*', '*lm_head*', '*mixer.conv1d*', '*mlp.gate.*', '*mlp.shared_expert_gate.*', '*output_layer*', '*proj_out.*',
  '*router*', 'mtp.*', 'output.*', '*embed_vision*', '*vision_tower*', '*visual*', '*vision_model*', '*multi_modal_projector*',
];

/** diffusers makes the glob `*entry*` of an entry; ModelOpt compares it with the names of quantizers, which end in `.weight_quantizer`. */
export function takes(entry: string, layer: string): boolean {
  return /[*?[]/.test(entry) ? matcher(`*${entry}*`)(`${layer}.weight_quantizer`) : `${layer}.weight_quantizer`.includes(entry);
}

const compiled = new Map<string, (name: string) => boolean>();
export function matcher(glob: string): (name: string) => boolean {
  const found = compiled.get(glob) ?? compileFnmatch(glob);
  compiled.delete(glob);
  compiled.set(glob, found);
  [...compiled.keys()].slice(0, -256).forEach((oldest) => compiled.delete(oldest));
  return found;
}

const fields: FieldTable = {
  quant_type: {
    type: 'text', required: true, open: true, doc: 'Weights, or weights and activations joined by `_`. Unknown names become FP8 with a line in the log.',
    values: { FP8: 'float8 weights', INT8: 'int8 weights', INT4: 'int4 weights', NF4: '4-bit weights', NVFP4: '4-bit floats in blocks of 16', FP8_FP8: 'weights and activations', INT8_INT8: 'weights and activations', NVFP4_NVFP4: 'weights and activations' },
  },
  weight_only: { type: 'flag', default: true, doc: 'Leaves activations alone, whatever `quant_type` says of them.' },
  modules_to_not_convert: { type: 'names', names: byName(takes, modules), doc: 'Layers to keep: each entry becomes the glob `*entry*` and switches off every quantizer whose name it stands in.' },
  channel_quantize: { type: 'number', examples: [0, -1], doc: 'The axis with one scale each; with `block_quantize` the axis that is cut into blocks.' },
  block_quantize: { type: 'number', examples: [16, 32, 128], doc: 'Elements of a block along `channel_quantize`, which must be set too.' },
  scale_channel_quantize: { type: 'number', examples: [-1], doc: 'The axis along which scales are quantized themselves (NF4 and NVFP4).' },
  scale_block_quantize: { type: 'number', examples: [16], doc: 'Scales of a block along `scale_channel_quantize`.' },
  algorithm: { type: 'text', default: 'max', open: true, values: { max: 'the one that diffusers supports' }, doc: 'How ranges are found.' },
  modelopt_config: { type: 'any', doc: 'A config of ModelOpt itself, taken instead of all the fields above, with its own `quant_cfg`.' },
  disable_conv_quantization: { type: 'flag', default: false, doc: 'Leaves convolutions alone.' },
  calib_cfg: { type: 'any', silent: true, doc: 'Written by diffusers: the algorithm.' },
  forward_loop: { type: 'any', silent: true, doc: 'A Python function for calibration; has no form in JSON.' },
};

export const modelopt = backend({
  fields, source: 'diffusers 0.40, `NVIDIAModelOptConfig`', since: '0.36',
  id: 'diffusers-modelopt', title: 'ModelOpt in diffusers', methods: ['modelopt'], codes: ['modelopt/'],
  rule: 'An entry becomes the glob `*entry*`, compared by `fnmatch` with the names of quantizers, which end in `.weight_quantizer`: it takes what it stands in, anywhere.',
  unmatched: 'Passed over without a word.',
}, (fields) => {
  fields.check('info', 'It is taken as a parameter of calibration.');
  const otherwise = readType(fields);
  const fp32 = fp32Modules(fields, takes);
  return {
    entries: skipList(fields.names('modules_to_not_convert', true), takes), otherwise, unmatched: 'ignored',
    builtin: (checkpoint) => [...fp32(checkpoint), ...fields.has('modelopt_config') ? [] : ownExclusions(fields.keyRange('quant_method'))],
    traps(checkpoint, decisions) {
      const own = decisions.filter(({ entry }) => entry?.builtin === exclusionList);
      const [first] = own;
      return first ? [problem('modelopt/builtin-skips', 'info', fields.keyRange('quant_type'),
        `ModelOpt's own exclusion list keeps ${describeShare(own.map(({ layer }) => layer), checkpoint)}, such as "${first.layer.name}" (${first.entry?.text ?? ''}).`)] : [];
    },
    trapsBeside: ({ files, packages }) => [...fields.has('modelopt_config') ? [] : listConfig(fields, packages),
      ...[...files.filter((name) => name === 'modelopt_state.pth'), ...pickledWeights(files)].slice(0, 1).map((name) => problem('modelopt/pickle', 'warning', fields.keyRange('quant_method'),
        `"${name}" is a Python pickle: only ModelOpt reads these weights (enable_huggingface_checkpointing() before from_pretrained), and reading a pickle can run code. Quantize the original again, or export it with ModelOpt's export_hf_checkpoint, which writes safetensors.`))],
  };
});

/** diffusers up to 0.40 builds ModelOpt's config as a mapping, which it was before 0.44. */
function listConfig(fields: Fields, packages: Packages): DialectProblem[] {
  const since = certain(packages, 'nvidia-modelopt', { from: '0.44' });
  const without = certain(packages, 'diffusers', { before: '0.41' });
  const raises = 'diffusers up to 0.40 raises "TypeError: \'list\' object is not a mapping"';
  return certain(packages, 'nvidia-modelopt', { before: '0.44' }) ? [] : [since && without ?
    problem('modelopt/list-config', 'error', fields.keyRange('quant_method'), `With ModelOpt 0.44 or later ${raises}: here ${without} stands beside ${since}. Pin nvidia-modelopt below 0.44, or write modelopt_config.`) :
    problem('modelopt/list-config', since ? 'warning' : 'info', fields.keyRange('quant_method'), `With ModelOpt 0.44 or later${since ? ` (here ${since})` : ''} ${raises}: pin nvidia-modelopt below 0.44, or use a diffusers with pull request 14536.`)];
}

const exclusionList = 'ModelOpt\'s own exclusion list';

function ownExclusions(range: Range): DialectEntry[] {
  return disabledByDefault.map((text) => ({ text, range, treatment: kept, isPath: false, takes: ({ name }) => matcher(text)(`${name}.weight_quantizer`), builtin: exclusionList }));
}

/** `W` or `W_A`, as diffusers splits it. */
function readType(fields: Fields): ReturnType<typeof quantized> {
  const written = fields.text('quant_type');
  const [weights = 'FP8', activations, surplus] = written?.split('_') ?? [];
  const isType = (type: string): type is keyof typeof types => type in types;
  const all = Object.keys(types).join(', ');
  if (written !== undefined && (surplus !== undefined || !isType(weights))) {
    fields.report('modelopt/quant-type', 'warning', fields.range('quant_type'), `"${written}" names no weight type; diffusers takes FP8 instead and says so in the log alone. Known: ${all}.`);
  } else if (activations !== undefined && !isType(activations)) {
    fields.report('modelopt/activation-type', 'warning', fields.range('quant_type'), `"${activations}" is no activation type; diffusers drops it, and activations stay unquantized. Known: ${all}.`);
  }
  const weightType = surplus === undefined && isType(weights) ? weights : 'FP8';
  const activationType = surplus === undefined && activations !== undefined && isType(activations) ? activations : undefined;
  const weightOnly = fields.flag('weight_only') ?? true;
  if (activationType && weightOnly) {
    fields.report('modelopt/weight-only', 'warning', fields.range('quant_type'), `"${activationType}" for activations has no effect while weight_only is true, its default. Write "weight_only": false.`);
  }
  return activationType && !weightOnly ? quantized(`${weightType} weights, ${activationType} activations`, types[weightType], types[activationType], recipeOf(fields, weightType, activationType)) :
    quantized(`${weightType} weights`, types[weightType], 16, recipeOf(fields, weightType));
}

/** As diffusers builds ModelOpt's config: one scale per tensor unless channel_quantize (0: per output channel) or, with block_quantize, blocks along an axis. */
function recipeOf(fields: Fields, weights: keyof typeof types, activations?: keyof typeof types): Equivalent | undefined {
  const [axis, block, scaleAxis, scaleBlock] = ['channel_quantize', 'block_quantize', 'scale_channel_quantize', 'scale_block_quantize'].map((key) => fields.scalar(key));
  const group: Granularity = typeof axis !== 'number' ? 'tensor' : typeof block === 'number' ? block : 'row';
  const scaled = typeof scaleAxis === 'number' && typeof scaleBlock === 'number';
  const quantizer = (type: keyof typeof types, isInput: boolean): Quantizer => {
    switch (type) {
      case 'FP8': return float('fp8', group);
      case 'NVFP4': return scaled && group === 16 ? float('nvfp4') : float('fp4', group);
      default: return int(type === 'INT8' ? 8 : 4, group, isInput && group === 'tensor' ? { range: 'static' } : {});
    }
  };
  const near = [...activations && /^FP8|^NVFP4/.test(activations) && group === 'tensor' ? [staticFloat] : []];
  return fields.has('modelopt_config') ? undefined : equivalent(quantizer(weights, false), activations ? quantizer(activations, true) : keepOriginal, near);
}

/** ModelOpt as a backend of diffusers. Its own files are in modeloptRecipe.ts. */
import type { Range } from '../../protocol';
import { kept, problem, quantized } from './dialect';
import type { DialectEntry } from './dialect';
import type { Fields } from './fields';
import { compileFnmatch } from './fnmatch';
import { backend, fp32Modules, skipList } from './quantizationConfig';
import { describeShare } from './evaluate';

const types = { FP8: 8, INT8: 8, INT4: 4, NF4: 4, NVFP4: 4 } as const;
const known = [
  'quant_method', 'quant_type', 'modules_to_not_convert', 'weight_only', 'channel_quantize', 'block_quantize', 'scale_channel_quantize', 'scale_block_quantize', 'algorithm', 'calib_cfg', 'forward_loop',
  'modelopt_config', 'disable_conv_quantization',
];

/** Names that ModelOpt never quantizes unless a later entry says otherwise: those of its default list that can be linear layers. */
export const disabledByDefault = [
  '*block_sparse_moe.gate*', '*linear_attn.conv1d*', '*linear_attn.in_proj_a*', '*linear_attn.in_proj_b*', '*lm_head*', '*mixer.conv1d*', '*mlp.gate.*', '*mlp.shared_expert_gate.*', '*output_layer*', '*proj_out.*',
  '*router*', 'mtp.*', 'output.*', '*embed_vision*', '*vision_tower*', '*visual*', '*vision_model*', '*multi_modal_projector*',
];

/** diffusers makes the glob `*entry*` of an entry; ModelOpt compares it with the names of quantizers, which end in `.weight_quantizer`. */
function takes(entry: string, layer: string): boolean {
  return matcher(`*${entry}*`)(`${layer}.weight_quantizer`);
}

const compiled = new Map<string, (name: string) => boolean>();
export function matcher(glob: string): (name: string) => boolean {
  const found = compiled.get(glob) ?? compileFnmatch(glob);
  compiled.delete(glob);
  compiled.set(glob, found);
  [...compiled.keys()].slice(0, -256).forEach((oldest) => compiled.delete(oldest));
  return found;
}

export const modelopt = backend({
  id: 'diffusers-modelopt', title: 'ModelOpt in diffusers', methods: ['modelopt'], codes: ['modelopt/'],
  rule: 'An entry becomes the glob `*entry*`, compared by `fnmatch` with the names of quantizers, which end in `.weight_quantizer`: it takes what it stands in, anywhere.',
  unmatched: 'Passed over without a word.',
}, (fields) => {
  fields.unknown(known, 'info', 'It is taken as a parameter of calibration.');
  const otherwise = readType(fields);
  if (!fields.has('modelopt_config')) {
    fields.report('modelopt/list-config', 'info', fields.keyRange('quant_method'), 'With ModelOpt 0.44 or later this raises "TypeError: \'list\' object is not a mapping": pin an older one, or use a diffusers with pull request 14536.');
  }
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
  };
});

const exclusionList = 'ModelOpt\'s own exclusion list';

export function ownExclusions(range: Range): DialectEntry[] {
  return disabledByDefault.map((text) => ({ text, range, treatment: kept, isPath: false, takes: ({ name }) => matcher(text)(`${name}.weight_quantizer`), builtin: exclusionList }));
}

/** `W` or `W_A`, as diffusers splits it. */
function readType(fields: Fields): ReturnType<typeof quantized> {
  const written = fields.mustHave('quant_type') ? fields.text('quant_type') : undefined;
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
  return activationType && !weightOnly ? quantized(`${weightType} weights, ${activationType} activations`, types[weightType], types[activationType]) : quantized(`${weightType} weights`, types[weightType]);
}

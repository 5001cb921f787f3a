/** Which fields of other tools' files say something that our language does not: kernels, compute types, calibration and storage of that tool. */
import type { Lossy } from '../../protocol';
import { find } from '../tree';
import type { MapNode, TreeNode } from '../tree';
import type { DialectFile } from '../dialects/dialect';
import type { Field } from '../dialects/field';
import { quantizationConfig } from '../dialects/quantizationConfig';

/** true: taken over, or says nothing about the numbers; a text: lost, and why; a record: fields of a mapping, or of the mappings of a list, `*` for all others. */
type Said = true | string | { readonly [key: string]: Said };

const compute = 'what products are computed in is the choice of whoever runs the model';
const storage = 'how codes are stored is the choice of whoever writes the model';
const kernels = 'a setting of that tool\'s kernels';
const calibration = 'how that tool calibrates; see the "calibration" section here';
const unknown = 'not known to QuantScope';
const convolutions = 'only linear layers are quantized here';

const torchaoData: Said = {
  group_size: true, weight_dtype: true, activation_dtype: true, granularity: true, weight_granularity: true, mapping_type: true, weight_mapping_type: true, act_mapping_type: true, dtype: true, bit_width: true, block_size: true, act_quant_scale: true,
  set_inductor_config: kernels, mm_config: kernels, kernel_preference: kernels, packing_format: storage, int4_packing_format: storage, intx_packing_format: storage, packing_bitwidth: storage, layout: storage, version: true,
  int4_choose_qparams_algorithm: 'how ranges are chosen; "clip: mse" is the nearest here', intx_choose_qparams_algorithm: 'how ranges are chosen; "clip: mse" is the nearest here', '*': 'not a part of a recipe here',
};
const torchaoConfig: Said = { _type: true, _version: true, _data: torchaoData };

const args: Said = {
  num_bits: true, type: true, symmetric: true, strategy: true, group_size: true, block_structure: true, dynamic: true, scale_dtype: true, zp_dtype: 'zero points have the bits of the codes here',
  actorder: 'order of activations belongs to "solver: { kind: gptq }" here', observer: calibration, observer_kwargs: calibration,
};
const group: Said = { targets: true, weights: args, input_activations: args, output_activations: 'outputs are not quantized here', format: storage };
const modifier: Said = { targets: true, scheme: true, ignore: true, config_groups: { '*': group }, dampening_frac: true, actorder: true, block_size: kernels, kv_cache_scheme: 'there is no cache of keys and values in a diffusion transformer', '*': calibration };

const attributes: Said = {
  num_bits: true, axis: true, enable: true, rotate: true, type: true, block_sizes: { type: true, scale_bits: true, scale_block_sizes: true, four_over_six: 'which of two scales a block takes is not a choice here', '*': true },
  unsigned: 'codes without a sign belong to "symmetric: false" or "shift" here', narrow_range: 'the lowest code is not left out here', fake_quant: true, pass_through_bwd: true, calibrator: calibration, trt_high_precision_dtype: compute, '*': 'not a part of a quantizer here',
};
const recipe: Said = {
  quant_cfg: { quantizer_name: true, parent_class: true, cfg: attributes, enable: true, '*': attributes },
  algorithm: { method: true, lowrank: true, alpha: true, skip_layers: true, '*': calibration },
};

const part: Said = {
  dtype: true, group_shapes: true, scale_dtypes: true, skips: true, static: true, enable_low_rank: true,
  low_rank: { rank: true, num_iters: true, early_stop: true, '*': 'how the branch is fitted; "lowRank: { rank, iterations }" is all there is here' },
  allow_unsigned: 'codes without a sign for inputs that are never negative come with "shift" here', enable_kernel_gptq: 'a solver of its own; write "solver: { kind: gptq }" here', kernel_gptq: 'a solver of its own; write "solver: { kind: gptq }" here', '*': calibration,
};

/** By dialect. Backends of diffusers are read below `quantization_config`. */
const dialects: Readonly<Record<string, Said>> = {
  'diffusers-bitsandbytes': {
    quant_method: true, load_in_4bit: true, load_in_8bit: true, _load_in_4bit: true, _load_in_8bit: true, llm_int8_skip_modules: true, bnb_4bit_quant_type: true, bnb_4bit_compute_dtype: compute, compute_dtype: 'diffusers passes over it', bnb_4bit_quant_storage: storage,
    bnb_4bit_use_double_quant: 'scales that are quantized themselves are not a format here; packed sizes count them in FP16', llm_int8_threshold: 'outlier columns in 16 bits are not a part of a recipe here; "tail" is the nearest', llm_int8_enable_fp32_cpu_offload: kernels, llm_int8_has_fp16_weight: kernels,
  },
  'diffusers-torchao': { quant_method: true, modules_to_not_convert: true, quant_type: { default: torchaoConfig, '*': true } },
  'diffusers-quanto': { quant_method: true, weights_dtype: true, modules_to_not_convert: true },
  'diffusers-modelopt': {
    quant_method: true, quant_type: true, modules_to_not_convert: true, weight_only: true, channel_quantize: true, block_quantize: true, scale_channel_quantize: true, scale_block_quantize: true,
    algorithm: calibration, calib_cfg: calibration, forward_loop: calibration, disable_conv_quantization: convolutions, modelopt_config: 'a whole config of ModelOpt, which is not read inside of this one: import it as a file of its own',
  },
  'diffusers-gguf': { quant_method: true, compute_dtype: compute, pre_quantized: true, modules_to_not_convert: true },
  'diffusers-auto-round': { quant_method: true, bits: true, group_size: true, sym: true, backend: kernels, block_name_to_quantize: true, to_quant_block_names: true, modules_to_not_convert: true, extra_config: { '*': { bits: true, group_size: true, sym: true, '*': kernels } }, '*': 'belongs to AutoRound\'s exporter' },
  'optimum-quanto': { '*': { weights: true, activations: true, '*': unknown } },
  nunchaku: { model_class: true, header_keys: true, quantization_config: { method: true, rank: true, skip_refiners: true, weight: { dtype: true, group_size: true, scale_dtype: true }, activation: { dtype: true, group_size: true, scale_dtype: true }, '*': unknown }, '*': true },
  'diffusers-nunchaku-lite': { quant_method: true, compute_dtype: compute, pre_quantized: true, svdq_w4a4: { precision: true, group_size: true, rank: true, targets: true }, awq_w4a16: { precision: true, group_size: true, targets: true } },
  'diffusers-sdnq': {
    quant_method: true, weights_dtype: true, group_size: true, use_svd: true, svd_rank: true, svd_steps: 'how the branch is found', use_hadamard: true, hadamard_group_size: true, use_quantized_matmul: true, modules_to_not_use_matmul: true, modules_to_not_convert: true, modules_dtype_dict: true,
    modules_quant_config: { '*': { weights_dtype: true, group_size: true, use_svd: true, svd_rank: true, use_hadamard: true, hadamard_group_size: true, use_quantized_matmul: true, '*': kernels } }, add_skip_keys: true, minimum_allowed_numel: true, minimum_allowed_channel_size: true,
    sdnq_version: true, is_integer: true, is_unsigned: true, use_codebook: 'a codebook fitted to each layer is no quantizer here; "kind: codebook" is fixed', codebook_steps: 'belongs to use_codebook', quantized_matmul_dtype: 'inputs of a product have the type of its weights here',
    quant_conv: convolutions, quant_embedding: convolutions, use_quantized_matmul_conv: convolutions, use_dynamic_quantization: 'which layers get more bits is decided while it runs; "allocate" decides it beforehand here', dynamic_loss_threshold: 'belongs to use_dynamic_quantization',
    dequantize_fp32: compute, '*': kernels,
  },
  'compressed-tensors': {
    quant_method: true, format: storage, config_groups: { '*': group }, ignore: true, quantization_status: true, global_compression_ratio: true, version: true, kv_cache_scheme: 'there is no cache of keys and values in a diffusion transformer', sparsity_config: 'sparse weights are no recipe here',
    transform_config: 'rotations of compressed-tensors are not read yet; write "rotate" into the method', '*': unknown,
  },
  modelopt: { quantize: recipe, ...recipe, metadata: true, imports: 'what is imported is not read', '*': unknown },
  'modelopt-hf': { producer: true, quantization: { quant_algo: true, group_size: true, exclude_modules: true, quantized_layers: true, kv_cache_quant_algo: 'there is no cache of keys and values in a diffusion transformer', has_zero_point: 'not read', pre_quant_scale: true, '*': unknown } },
  'torchao-fqn': { _type: true, _version: true, _data: { '*': { '*': torchaoConfig } }, '*': torchaoConfig },
  'llm-compressor': { '*': { '*': modifier } },
  deepcompressor: {
    quant: { wgts: part, ipts: part, opts: 'outputs are not quantized here', enable_smooth: true, smooth: { proj: { num_grids: true, strategy: true, alpha: true, beta: true, '*': calibration }, '*': 'only the inputs of linear layers are smoothed here' }, enable_rotation: 'write "rotate" into the method', rotation: 'write "rotate" into the method',
      enable_extra_wgts: true, extra_wgts: { dtype: true, group_shapes: true, scale_dtypes: true, includes: true, '*': calibration }, calib: calibration, develop_dtype: compute, '*': calibration },
    pipeline: { shift_activations: true, name: true, dtype: compute, '*': 'belongs to that tool\'s runs' }, '*': 'belongs to that tool\'s runs',
  },
  'vidit-q': {
    quant: { weight: { quantizer: { n_bits: true, per_group: true, sym: true, '*': calibration }, '*': calibration }, activation: { quantizer: { n_bits: true, per_group: true, sym: true, dynamic: true, smooth_quant: { enable: true, alpha: true, '*': calibration }, '*': calibration }, '*': calibration }, '*': calibration },
    weight: { n_bits: true, sym: true, '*': calibration }, act: { n_bits: true, sym: true, '*': calibration }, remain_fp_regex: true, mixed_precision: { weight: { layer_name_regex: true }, act: { layer_name_regex: true }, '*': 'widths to choose from: "allocate --options" here' },
    smooth_quant: { layer_name_regex: true, alpha: true, '*': calibration }, quarot: { layer_name_regex: true, '*': calibration }, viditq: { layer_name_regex: true, alpha: true, '*': calibration }, part_fp_list: 'a text file of names, which is not read', model: true, calib_data: calibration, '*': 'belongs to that tool\'s runs',
  },
  comfyui: { format_version: true, layers: { '*': { format: true, convrot: true, convrot_groupsize: true, group_size: true, full_precision_matrix_mult: compute, linear_dtype: compute, '*': unknown } } },
  'convert-to-quant': { '*': { format: true, skip: true, block_size: 'the size of square blocks; groups lie within a row here', scaling_mode: 'how scales are shared', full_precision_matrix_mult: compute, '*': 'belongs to that tool\'s conversion' } },
};

/** Fields of a file that are lost, one for each place; those that say nothing (null, false, empty) are not. */
export function lostFields(id: string, file: DialectFile): Lossy[] {
  const root = id.startsWith('diffusers-') || id === 'compressed-tensors' ? quantizationConfig(file) : file.root;
  const said = dialects[id];
  return said === undefined || !root ? [] : walk(root, id === 'vidit-q' && !find(root, 'quant') && !find(root, 'remain_fp_regex') && !find(root, 'weight') ? true : id === 'llm-compressor' ? modifiersOf(root) : said, file.name);
}

/** Fields that a dialect's own table has and this one does not, as paths. Stages of recipes nest to any depth, hence the bound. */
export function forgottenFields(id: string, field: Field, said: Said | undefined = dialects[id], path = '', depth = 0): string[] {
  if (said === undefined || typeof said !== 'object' || depth > 8) {
    return [];
  }
  const named = Object.entries(field.fields ?? {}).flatMap(([key, each]) => {
    const inner = Object.hasOwn(said, key) ? said[key] : said['*'];
    return inner === undefined || inner === unknown ? [`${path}/${key}`] : forgottenFields(id, each, inner, `${path}/${key}`, depth + 1);
  });
  return [...named, ...field.each ? forgottenFields(id, field.each, said['*'], `${path}/*`, depth + 1) : [], ...field.items ? forgottenFields(id, field.items, said, path, depth + 1) : []];
}

function walk(node: TreeNode, said: Said, file: string): Lossy[] {
  if (said === true || typeof said === 'string' || node.kind === 'scalar') {
    return [];
  }
  if (node.kind === 'list') {
    return node.items.flatMap((item) => walk(item, said, file));
  }
  return node.entries.flatMap(({ key, keyRange, value }) => {
    const inner = Object.hasOwn(said, key) ? said[key] : said['*'];
    const lost = inner === undefined ? unknown : inner;
    return typeof lost === 'string' ? isNothing(value) || key.startsWith('_') ? [] : [{ place: `${file}:${keyRange.start.line + 1}`, what: key, why: lost }] : walk(value, lost, file);
  });
}

function isNothing(node: TreeNode): boolean {
  return node.kind === 'scalar' ? node.value === null || node.value === false : node.kind === 'list' ? node.items.length === 0 : node.entries.length === 0;
}

/** Stages and groups may have any name and nest to any depth; a modifier is known by its own. */
function modifiersOf(root: TreeNode): Said {
  const inside = (node: TreeNode, depth: number): Said => (depth > 4 || node.kind === 'scalar' ? true : node.kind === 'list' ? Object.assign({}, ...node.items.map((item) => inside(item, depth + 1)).filter((each) => typeof each === 'object')) as Said :
    Object.fromEntries((node as MapNode).entries.map(({ key, value }) => [key, /^(?:Quantization|GPTQ|AutoRound|AWQ)Modifier$/.test(key) ? modifier : /Modifier$/.test(key) ? 'a modifier of its own: what it does to weights and inputs is not read' : inside(value, depth + 1)])));
  return inside(root, 0);
}

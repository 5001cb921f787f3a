import assert from 'node:assert/strict';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { forgottenFields } from '../../../../server/src/config/convert/fields';
import { ConversionError } from '../../../../server/src/config/convert/lossy';
import { detectDialect, readDialectFile } from '../../../../server/src/config/dialects';
import { codeBits } from '../../../../server/src/config/packedSize';
import type { Checkpoint, Recipe } from '../../../../server/src/protocol';
import { checkpointOf } from '../../../fixtures/checkpoints';
import { firstBlocks, imported, planOf, recipesOf } from './support';

const config = (value: unknown): string => JSON.stringify({ _class_name: 'FluxTransformer2DModel', quantization_config: value }, null, 1);
const torchao = (type: string, data: unknown = {}): unknown => ({ _type: type, _version: 1, _data: data });

/** A file of every dialect as people have them, and what gets lost of its fields. */
const files: Readonly<Record<string, [text: string, lost: string[], name?: string]>> = {
  'diffusers-bitsandbytes': [config({ quant_method: 'bitsandbytes', load_in_4bit: true, bnb_4bit_quant_type: 'nf4', bnb_4bit_compute_dtype: 'bfloat16', bnb_4bit_use_double_quant: true, llm_int8_skip_modules: ['norm_out', 'proj_out'] }), ['bnb_4bit_compute_dtype', 'bnb_4bit_use_double_quant']],
  'diffusers-torchao': [config({ quant_method: 'torchao', quant_type: { default: torchao('Int4WeightOnlyConfig', { group_size: 64, set_inductor_config: true, int4_packing_format: 'plain' }) }, modules_to_not_convert: ['proj_out'] }), ['set_inductor_config', 'int4_packing_format']],
  'diffusers-quanto': [config({ quant_method: 'quanto', weights_dtype: 'int4', modules_to_not_convert: ['proj_out'] }), []],
  'diffusers-modelopt': [config({ quant_method: 'modelopt', quant_type: 'FP8_FP8', weight_only: false, algorithm: 'max', disable_conv_quantization: true }), ['algorithm', 'disable_conv_quantization']],
  'diffusers-gguf': [config({ quant_method: 'gguf', compute_dtype: 'bfloat16' }), ['compute_dtype']],
  'diffusers-auto-round': [config({ quant_method: 'auto-round', bits: 4, group_size: 64, sym: true, backend: 'marlin' }), ['backend']],
  'optimum-quanto': [JSON.stringify({ 'transformer_blocks.0.attn.to_q': { weights: 'qint4', activations: 'none' }, proj_out: { weights: 'qfloat8', activations: 'qfloat8' } }, null, 1), [], 'quanto_qmap.json'],
  nunchaku: [JSON.stringify({ model_class: 'NunchakuFluxTransformer2dModel', header_keys: ['config', 'comfy_config'], quantization_config: { method: 'svdquant', rank: 32, weight: { dtype: 'int4', scale_dtype: null, group_size: 64 }, activation: { dtype: 'int4', group_size: 64 } } }, null, 1), [], 'header.json'],
  'diffusers-nunchaku-lite': [config({ quant_method: 'nunchaku_lite', compute_dtype: 'bfloat16', svdq_w4a4: { precision: 'int4', group_size: 64, rank: 32, targets: ['transformer_blocks.0.attn.to_q'] }, awq_w4a16: { precision: 'int4', group_size: 64, targets: ['transformer_blocks.0.norm1.linear'] } }), ['compute_dtype']],
  'diffusers-sdnq': [config({ quant_method: 'sdnq', weights_dtype: 'uint4', group_size: 0, use_hadamard: true, use_svd: true, svd_rank: 16, use_quantized_matmul: true, quant_conv: true, modules_dtype_dict: { int8: ['proj_mlp'] } }), ['quant_conv']],
  'compressed-tensors': [config({ quant_method: 'compressed-tensors', format: 'pack-quantized', config_groups: { g: { targets: ['re:.*attn'], weights: { num_bits: 4, type: 'int', strategy: 'group', group_size: 64, symmetric: false, observer: 'mse' } }, NVFP4: ['re:.*ff'] }, ignore: ['re:.*norm.*linear'] }), ['format', 'observer']],
  'llm-compressor': ['stage:\n  mods:\n    GPTQModifier: {targets: [Linear], scheme: W4A16, ignore: ["re:.*embed", "x_embedder", "re:.*norm"], block_size: 128}\n    SmoothQuantModifier: {smoothing_strength: 0.8}\n', ['block_size', 'SmoothQuantModifier'], 'recipe.yaml'],
  modelopt: ['quantize:\n  algorithm: {method: svdquant, lowrank: 16, skip_layers: ["*norm*"]}\n  quant_cfg:\n    - {quantizer_name: "*", enable: false}\n    - {quantizer_name: "*weight_quantizer", cfg: {num_bits: e2m1, block_sizes: {-1: 16, type: dynamic, scale_bits: e4m3}}}\n    - {quantizer_name: "*input_quantizer", cfg: {num_bits: e2m1, block_sizes: {-1: 16, type: dynamic, scale_bits: e4m3}, trt_high_precision_dtype: Half}}\n    - {quantizer_name: "*proj_out*", enable: false}\n', ['trt_high_precision_dtype'], 'recipe.yaml'],
  'modelopt-hf': [JSON.stringify({ producer: { name: 'modelopt' }, quantization: { quant_algo: 'W4A8_AWQ', group_size: 64, kv_cache_quant_algo: 'FP8', exclude_modules: ['proj_out*', '*embed*'] } }, null, 1), ['kv_cache_quant_algo'], 'hf_quant_config.json'],
  'torchao-fqn': [JSON.stringify({ _type: 'FqnToConfig', _version: 1, _data: { fqn_to_config: { 're:.*\\.ff\\..*': torchao('MXDynamicActivationMXWeightConfig', { kernel_preference: 'auto' }), 're:.*to_[qkv]': torchao('Float8DynamicActivationFloat8WeightConfig'), proj_out: null } } }, null, 1), ['kernel_preference'], 'fqn.json'],
  deepcompressor: ['quant:\n  wgts: {dtype: sint4, group_shapes: [[1, 64, 1, 1, 1]], scale_dtypes: [null], skips: [embed], enable_low_rank: true, low_rank: {rank: 32, num_iters: 100, early_stop: true}, calib_range: {outputs_device: cpu}}\n  ipts: {dtype: sint4, group_shapes: [[1, 64, 1, 1, 1]], allow_unsigned: true, skips: [embed, transformer_norm]}\n  enable_smooth: true\n  smooth: {proj: {strategy: GridSearch, num_grids: 10}}\npipeline: {shift_activations: true}\n', ['calib_range', 'allow_unsigned'], 'int4.yaml'],
  'vidit-q': ['quant:\n  weight: {quantizer: {n_bits: 4, per_group: channel}}\n  activation: {quantizer: {n_bits: 8, per_group: token, smooth_quant: {enable: true, alpha: 0.3, momentum: 0.95}}}\ncalib_data: {n_steps: 50}\nremain_fp_regex: embed|norm_out\n', ['momentum', 'calib_data'], 'config.yaml'],
  comfyui: [JSON.stringify({ format_version: '1.0', layers: { 'transformer_blocks.0.ff.net.2': { format: 'nvfp4', full_precision_matrix_mult: true }, 'transformer_blocks.0.attn.to_q': { format: 'int8_tensorwise', convrot: true, convrot_groupsize: 64 }, 'transformer_blocks.0.norm1.linear': { format: 'awq_w4a16' } } }, null, 1), ['full_precision_matrix_mult'], 'meta.json'],
  'convert-to-quant': [JSON.stringify({ _default: { format: 'nvfp4' }, 'single.*proj_out': { format: 'float8_e4m3fn', scaling_mode: 'row' }, embed: { skip: true } }, null, 1), ['scaling_mode'], 'layers.json'],
  'stable-diffusion.cpp': ['attn.*weight=q4_K,ff=q8_0,norm=f16', [], 'rules.txt'],
  'llama-quantize': ['attn=q5_1\nff.net.2=mxfp4\nproj_out=iq2_xs\n', [], 'types.txt'],
};

describe('import', () => {
  const flux = firstBlocks('FLUX.1-dev', 1);

  for (const [id, [text, lost, name]] of Object.entries(files)) {
    it(`${id}: every layer gets what the tool does, and what is lost is listed`, () => {
      const { id: found, decisions, plan, lossy, text: config } = imported(text, flux, name);
      assert.equal(found, id);
      const planned = new Map(plan.layers.map(({ name: layer, recipe }) => [layer, recipe]));
      for (const { layer, treatment } of decisions) {
        const recipe = planned.get(layer.name);
        const isKept = treatment.kind === 'keep' || !treatment.recipe;
        // ggml's types count their scales.
        const own = isKept ? 16 : treatment.weightBits ?? bits(recipe?.weights);
        const expected = id === 'stable-diffusion.cpp' || id === 'llama-quantize' ? { 4.5: 4, 8.5: 8, 6: 5, 4.25: 4 }[own] ?? own : own;
        assert.deepEqual([layer.name, bits(recipe?.weights), bits(recipe?.activations)], [layer.name, expected, isKept ? 16 : treatment.activationBits ?? 16], config);
      }
      assert.deepEqual(lossy.filter(({ place }) => !/layers?: /.test(place)).map(({ what }) => what), lost);
      // Nothing that is near, or has no counterpart, goes without a word.
      for (const { layer, treatment } of decisions.filter(({ treatment: { kind } }) => kind === 'quantize')) {
        const words = lossy.filter(({ what }) => what === treatment.label).map(({ why }) => why);
        assert.ok((treatment.near ?? []).every((near) => words.includes(near)) && (treatment.recipe !== undefined || words.length > 0), `${layer.name} ${treatment.label}`);
      }
      assert.match(config, /^# Imported from .*\n/);
      assert.deepEqual(recipesOf(planOf(config, flux)), recipesOf(plan));
    });
  }

  it('knows of every field of every dialect whether it is lost', () => {
    const forgotten = Object.entries(files).flatMap(([id, [text, , name = 'config.json']]) => {
      const file = readDialectFile(name, TextDocument.create(`file:///${name}`, 'plaintext', 1, text));
      const root = detectDialect(file)?.root(file) ?? assert.fail();
      return forgottenFields(id, root.fields?.['quantization_config'] ?? root).map((path) => `${id} ${path}`);
    });
    assert.deepEqual(forgotten, []);
  });

  it('says in which line each rule came from, and names the few patterns that take exactly its layers', () => {
    assert.equal(imported(files['diffusers-bitsandbytes']?.[0] ?? '', firstBlocks('FLUX.1-dev', 3)).text.split('\n').slice(-11).join('\n'), `version: 1
checkpoint: ./model
# what no entry takes (nf4): 65 layers
defaults: { scheme: W4A16, method: { name: rtn, weights: { kind: float, format: fp4, group: 64 } } }
rules:
  # line 10, "norm_out": 1 layer
  # line 11, "proj_out": 4 layers
  - name: kept
    layers: ["single_transformer_blocks.*.proj_out", "norm_out.linear", "proj_out"]
    keep: original
`);
  });

  it('takes what the widths of a layer allow, and says so', () => {
    const narrow = checkpointOf({ 'a.weight': { dtype: 'BF16', shape: [64, 96] }, 'b.weight': { dtype: 'BF16', shape: [64, 128] } });
    const { plan, lossy } = imported(config({ quant_method: 'auto-round', bits: 4, group_size: 128, block_name_to_quantize: ['a', 'b'] }), narrow);
    assert.deepEqual(plan.layers.map(({ recipe: { weights } }) => weights.kind === 'int' && weights.group), [32, 128]);
    assert.deepEqual(lossy.filter(({ why }) => /divide/.test(why)).map(({ place, why }) => [place, why]), [['1 layer: a', 'groups of 128 do not divide 96 inputs: weights are per group 32']]);
  });

  it('needs layers to decide about', () => {
    const none: Checkpoint = { ...flux, layers: [] };
    assert.throws(() => imported(files['diffusers-quanto']?.[0] ?? '', none), (error: Error) => error instanceof ConversionError && /Name the unquantized original: --checkpoint/.test(error.message));
  });

  it('writes names that YAML could take for something else in quotes', () => {
    const odd = checkpointOf({ 'a.weight': { dtype: 'BF16', shape: [64, 64] }, 'b.weight': { dtype: 'BF16', shape: [64, 64] } });
    const { plan } = imported(JSON.stringify({ format_version: '1.0', layers: { 'a': { format: 'nvfp4' } } }), odd);
    assert.deepEqual(plan.layers.map(({ recipe }) => recipe.weights.kind), ['float', 'keep']);
  });
});

function bits(quantizer: Recipe['weights'] | undefined): number {
  return quantizer && quantizer.kind !== 'keep' ? codeBits(quantizer, 'BF16') : 16;
}

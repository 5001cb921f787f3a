import assert from 'node:assert/strict';
import { headerText, nunchakuFolderText } from '../../../../server/src/config/dialects/header';
import type { Checkpoint } from '../../../../server/src/protocol';
import { checkpointOf } from '../../../fixtures/checkpoints';
import { besideTrap, config, describeTraps, evaluated, requiring } from './support';

const part = { dtype: 'int4', scale_dtype: null, group_size: 64 };
const quantization = { method: 'svdquant', weight: part, activation: part, rank: 32 };
const header = (changes: Record<string, unknown> = {}, more: Record<string, unknown> = {}): string =>
  JSON.stringify({ model_class: 'NunchakuZImageTransformer2DModel', header_keys: ['config', 'comfy_config'], quantization_config: { ...quantization, ...changes }, ...more }, null, 1);

/** One packed layer with 128 inputs and 64 outputs. */
function packed(name: string, scales: 'BF16' | 'F8_E4M3', groups: number, rank: number): Checkpoint {
  return checkpointOf({ [`${name}.qweight`]: { dtype: 'I8', shape: [64, 64] }, [`${name}.wscales`]: { dtype: scales, shape: [groups, 64] }, [`${name}.proj_down`]: { dtype: 'BF16', shape: [128, rank] }, [`${name}.proj_up`]: { dtype: 'BF16', shape: [64, rank] } });
}

describe('nunchaku metadata', () => {
  const int4 = packed('layers.0.attention.to_qkv', 'BF16', 2, 32);
  const fp4 = header({ weight: { dtype: 'fp4_e2m1_all', scale_dtype: [null, 'fp8_e4m3_nan'], group_size: 16 } });
  describeTraps('svdq/', 'nunchaku', [
    ['svdq/method', header({ method: 'svdq' }), '"svdq"', header()],
    ['svdq/dtype', header({ weight: { ...part, dtype: 'nvfp4' } }), '"nvfp4"', header()],
    ['svdq/group-size', header({ activation: { ...part, group_size: 128 } }), '128', header()],
    ['svdq/rank', header({ rank: undefined }), '"method"', header()],
    ['svdq/rank', header({ rank: 64 }), '64', header()],
    ['svdq/tensors', fp4, '"fp4_e2m1_all"', fp4, packed('a', 'F8_E4M3', 8, 32)],
    ['svdq/tensors', header(), '"int4"', header(), undefined, packed('a', 'F8_E4M3', 8, 32)],
    ['svdq/tensors', header(), '64', header(), undefined, packed('a', 'BF16', 4, 32)],
    ['svdq/model-class', header({}, { model_class: 'NunchakuFlux' }), '"NunchakuFlux"', header()],
    ['svdq/skip-refiners', header({ skip_refiners: false }), 'false', header({ skip_refiners: true })],
    ['svdq/skip-refiners', header({ skip_refiners: true }), 'true', header({ skip_refiners: false }), packed('noise_refiner.0.attention.to_qkv', 'BF16', 2, 32), packed('noise_refiner.0.attention.to_qkv', 'BF16', 2, 32)],
    ['svdq/skip-refiners', header({ skip_refiners: true }, { model_class: 'NunchakuFluxTransformer2DModelV2' }), '"skip_refiners"', header({}, { model_class: 'NunchakuFluxTransformer2DModelV2' })],
    ['svdq/header', header({}, { header_keys: ['config'] }), '"method"', header()],
    ['svdq/older-folder', nunchakuFolderText(['transformer_blocks.safetensors', 'unquantized_layers.safetensors'], int4.tensors), '"older_folder"', header()],
    besideTrap('svdq/diffusers', header(), '"method"', requiring('nunchaku==1.1.0', 'diffusers==0.35.2'), requiring('nunchaku==1.1.0', 'diffusers==0.36.0')),
    besideTrap('svdq/diffusers', header(), '"method"', requiring('nunchaku==1.0.2', 'diffusers==0.34.0'), requiring('nunchaku==0.3.2', 'diffusers==0.34.0')),
    ['svdq/fp4-loaders', fp4, '"fp4_e2m1_all"', header()], ['svdq/fp4-loaders', fp4.replace('NunchakuZImageTransformer2DModel', 'NunchakuFluxTransformer2dModel'), '"fp4_e2m1_all"', fp4.replace('NunchakuZImageTransformer2DModel', 'NunchakuQwenImageTransformer2DModel')],
    ['svdq/gpu', header(), '"int4"', config({ load_in_8bit: true })],
  ], int4);

  it('is told from the tensors of the older form as merging tells it', () => {
    const told = (...parts: Checkpoint[]): unknown => (JSON.parse(nunchakuFolderText(['a', 'b'], parts.flatMap(({ tensors }) => tensors))) as { quantization_config: unknown }).quantization_config;
    const as = (dtype: string, size: number, rank: number): unknown => ({ method: 'svdquant', weight: { dtype, group_size: size }, activation: { dtype, group_size: size }, rank });
    const plain = checkpointOf({ 'x_embedder.weight': { dtype: 'BF16', shape: [8, 4] } });
    assert.deepEqual([told(packed('a', 'BF16', 2, 16), plain), told(packed('a', 'F8_E4M3', 8, 128), plain), told(plain)], [as('int4', 64, 16), as('fp4_e2m1_all', 16, 128), as('int4', 64, 32)]);
    const old = checkpointOf({ 'transformer_blocks.0.mlp_fc1.lora_down': { dtype: 'BF16', shape: [128, 48] }, 'x.wscales': { dtype: 'F8_E4M3', shape: [8, 64] } });
    assert.deepEqual(told(old), as('fp4_e2m1_all', 16, 48));
  });

  it('is put together from the header', async () => {
    const checkpoint = { ...int4, metadata: { model_class: 'NunchakuZImageTransformer2DModel', quantization_config: JSON.stringify(quantization), config: '{}', comfy_config: '{}' } };
    const text = await headerText(checkpoint, () => Promise.reject(new Error('no tensor is read'))) ?? '';
    const { all } = evaluated('nunchaku', text, checkpoint, 'model.safetensors');
    assert.deepEqual(all.map(({ code }) => code), ['svdq/gpu']);
    assert.match(all[0]?.message ?? '', /takes the precision from the GPU/);
    const broken = await headerText({ ...checkpoint, metadata: { quantization_config: '{"method": "svdquant", "rank": }' } }, () => Promise.resolve('')) ?? '';
    assert.deepEqual(evaluated('nunchaku', broken, checkpoint).all.map(({ code }) => code), ['dialect/json', 'svdq/rank', 'svdq/header']);
  });
});

import assert from 'node:assert/strict';
import { headerText } from '../../../../server/src/config/dialects/header';
import type { Checkpoint } from '../../../../server/src/protocol';
import { checkpointOf } from '../../../fixtures/checkpoints';
import { describeTraps, evaluated } from './support';
import type { Trap } from './support';

type Specs = Parameters<typeof checkpointOf>[0];
const text = (layers: Record<string, unknown>, version: unknown = '1.0'): string => JSON.stringify({ format_version: version, layers }, null, 1);

describe('ComfyUI quantization metadata', () => {
  const bf16 = { dtype: 'BF16', shape: [8, 1152] } as const;
  const original = checkpointOf({ 'a.weight': { ...bf16, shape: [8, 1152] }, 'b.weight': { ...bf16, shape: [8, 1024] } });
  const packed = checkpointOf({ 'a.weight': { dtype: 'I8', shape: [8, 576] }, 'a.weight_scale': { dtype: 'F32', shape: [8] }, 'b.weight': { dtype: 'F8_E4M3', shape: [8, 1024] }, 'b.weight_scale': { dtype: 'F32', shape: [] }, 'scaled_fp8': { dtype: 'F8_E4M3', shape: [2] },
    'n.weight': { dtype: 'U8', shape: [8, 64] }, 'cap_embedder.1.weight': { dtype: 'U8', shape: [8, 64] }, 'odd.weight': { dtype: 'I8', shape: [8, 40] } });
  const nvfp4 = text({ n: { format: 'nvfp4' } });
  /** One nvfp4 layer with 128 inputs, and its scales in the given shape. */
  const scaled = (rows: number, columns: number, out = 64, metadata: Record<string, string> = {}): Checkpoint =>
    ({ ...checkpointOf({ 'n.weight': { dtype: 'U8', shape: [out, 64] }, 'n.weight_scale': { dtype: 'F8_E4M3', shape: [rows, columns] }, 'n.weight_scale_2': { dtype: 'F32', shape: [] } }), metadata });
  /** The layers of a text encoder in the names of its own file, with the metadata in its header. */
  const encoder = (name: string, metadata: Record<string, string> = { _quantization_metadata: '…' }): Checkpoint => ({ ...checkpointOf({ [`${name}.weight`]: { dtype: 'F8_E4M3', shape: [8, 8] } }), metadata });
  const note: Specs = { 'layers.0.attention.comfy_attention.config': { dtype: 'U8', shape: [33] } };
  const layer: Specs = { 'b.weight': { dtype: 'F8_E4M3', shape: [8, 1024] } };
  const float8 = (name: string): string => text({ [name]: { format: 'float8_e4m3fn' } });
  const good = text({ a: { format: 'convrot_w4a4', convrot_groupsize: 64 }, b: { format: 'float8_e4m3fn' } });
  describeTraps('comfy/', 'comfyui', [
    ['comfy/version', text({}, 1), '1', good],
    ['comfy/format', text({ a: { format: 'nvfp' } }), '"nvfp"', good],
    ['comfy/no-such-layer', text({ c: { format: 'nvfp4' } }), '"c"', good],
    ['comfy/prefix', text({ 'model.diffusion_model.a': { format: 'nvfp4' } }), '"model.diffusion_model.a"', good],
    ['comfy/no-metadata', text({ a: { format: 'convrot_w4a4', convrot_groupsize: 64 } }), '"layers"', good],
    ['comfy/scaled-fp8', good, '"layers"', good, original],
    ['comfy/storage', text({ b: { format: 'int8_tensorwise' } }), '"b"', good],
    ['comfy/convrot-group', text({ a: { format: 'convrot_w4a4' } }), '"convrot_w4a4"', good],
    ['comfy/convrot-group', text({ a: { format: 'convrot_w4a4', convrot_groupsize: 128 } }), '128', good],
    ['comfy/convrot-group', text({ b: { format: 'int8_tensorwise', convrot: true, convrot_groupsize: 2048 } }), '2048', text({ b: { format: 'int8_tensorwise', convrot: true } })],
    ['comfy/side-tensor', text({ n: { format: 'nvfp4' } }), '"n"', nvfp4, scaled(128, 8)],
    ['comfy/side-tensor', text({ a: { format: 'awq_w4a16' } }), '"a"', text({ a: { format: 'convrot_w4a4', convrot_groupsize: 64 } })],
    ['comfy/detection', text({ 'cap_embedder.1': { format: 'nvfp4' } }), '"cap_embedder.1"', text({ 'cap_embedder.1': { format: 'nvfp4' } }), checkpointOf({ 'cap_embedder.1.weight': { dtype: 'BF16', shape: [8, 128] } })],
    ['comfy/group-width', text({ odd: { format: 'awq_w4a16' } }), '"awq_w4a16"', text({ a: { format: 'awq_w4a16' } })],
    ['comfy/group-width', text({ a: { format: 'asym_w4a8_int8', group_size: 20 } }), '20', text({ a: { format: 'asym_w4a8_int8', group_size: 16 } })],
    ['comfy/scale-order', nvfp4, '"n"', nvfp4, scaled(128, 8), scaled(64, 8)],
    ['comfy/scale-order', nvfp4, '"layers"', nvfp4, scaled(128, 8, 128), scaled(128, 8, 128, { quantization_config: '{"producer": {"name": "modelopt"}}' })],
    ['comfy/gpu', nvfp4, '"nvfp4"', float8('b')],
    ['comfy/gpu', text({ b: { format: 'mxfp8' } }), '"mxfp8"', text({ b: { format: 'int8_tensorwise' } })],
    ...['model.layers.0.self_attn.q_proj', 'encoder.block.0.layer.1.DenseReluDense.wo', 'text_encoders.qwen.lm_head'].map((name): Trap =>
      ['comfy/text-encoder', float8(name), `"${name}"`, float8(name), encoder(name, {}), encoder(name)]),
    ['comfy/text-encoder', float8('model.layers.0.mlp.down_proj'), '"model.layers.0.mlp.down_proj"', float8('layers.0.attention.qkv'), encoder('layers.0.attention.qkv'), encoder('model.layers.0.mlp.down_proj')],
    ['comfy/attention-note', float8('b'), '"layers"', float8('b'), checkpointOf(layer), checkpointOf({ ...layer, ...note })],
    ['comfy/scale-shape', nvfp4, '"n"', nvfp4, scaled(128, 8), scaled(64, 12)],
  ], packed);

  it('has the same entries, layers and treatments with a note about attention and without', async () => {
    const [without, withNote] = [checkpointOf(layer), checkpointOf({ ...layer, ...note })];
    const seen = (checkpoint: Checkpoint): unknown => {
      const { entries, decisions } = evaluated('comfyui', float8('b'), checkpoint);
      return [entries, decisions.map(({ layer: { name, params }, treatment }) => [name, params, treatment]), checkpoint.architecture, checkpoint.problems];
    };
    assert.deepEqual(seen(withNote), seen(without));
    const read = (checkpoint: Checkpoint): Promise<string | undefined> => headerText(checkpoint, () => Promise.resolve('{"format": "float8_e4m3fn"}'));
    const quantized: Specs = { ...layer, 'b.comfy_quant': { dtype: 'U8', shape: [27] } };
    assert.equal(await read(checkpointOf({ ...quantized, ...note })), await read(checkpointOf(quantized)));
    assert.deepEqual(JSON.parse(await read(withNote) ?? ''), { format_version: '1.0', layers: {} }, 'a file without other notes');
    assert.equal(await read(without), undefined);
  });

  it('reads the old marker as entries', async () => {
    const old = await headerText(checkpointOf({ 'a.weight': { dtype: 'F8_E5M2', shape: [8, 8] }, 'a.scale_weight': { dtype: 'F32', shape: [] }, 'model.scaled_fp8': { dtype: 'F8_E5M2', shape: [2] } }), () => Promise.resolve('')) ?? '';
    assert.deepEqual(JSON.parse(old), { format_version: '1.0', layers: { a: { format: 'float8_e5m2', full_precision_matrix_mult: true } } });
    assert.equal(await headerText(original, () => Promise.resolve('')), undefined);
  });
});

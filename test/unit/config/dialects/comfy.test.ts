import { checkpointOf } from '../../../fixtures/checkpoints';
import { describeTraps } from './support';

const text = (layers: Record<string, unknown>, version: unknown = '1.0'): string => JSON.stringify({ format_version: version, layers }, null, 1);

describe('ComfyUI quantization metadata', () => {
  const bf16 = { dtype: 'BF16', shape: [8, 1152] } as const;
  const original = checkpointOf({ 'a.weight': { ...bf16, shape: [8, 1152] }, 'b.weight': { ...bf16, shape: [8, 1024] } });
  const packed = checkpointOf({ 'a.weight': { dtype: 'I8', shape: [8, 576] }, 'a.weight_scale': { dtype: 'F32', shape: [8] }, 'b.weight': { dtype: 'F8_E4M3', shape: [8, 1024] }, 'b.weight_scale': { dtype: 'F32', shape: [] }, 'scaled_fp8': { dtype: 'F8_E4M3', shape: [2] } });
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
  ], packed);
});

import assert from 'node:assert/strict';
import { layersNamed, publishedCheckpoint } from '../../../fixtures/checkpoints';
import { besideTrap, config, describeTraps, evaluated, requiring } from './support';
import type { Trap } from './support';

const text = (changes: Record<string, unknown>): string => config({ quant_method: 'modelopt', quant_type: 'FP8', ...changes });

describe('ModelOpt in diffusers', () => {
  const flux = publishedCheckpoint('FLUX.1-dev');
  const traps: Trap[] = [
    ['modelopt/quant-type', text({ quant_type: 'fp8' }), '"fp8"', text({})],
    ['modelopt/quant-type', text({ quant_type: 'W8A8_INT8_X' }), '"W8A8_INT8_X"', text({ quant_type: 'FP8_INT8', weight_only: false })],
    ['modelopt/activation-type', text({ quant_type: 'FP8_A8' }), '"FP8_A8"', text({ quant_type: 'FP8_FP8' })],
    ['modelopt/weight-only', text({ quant_type: 'FP8_FP8' }), '"FP8_FP8"', text({ quant_type: 'FP8_FP8', weight_only: false })],
    ['modelopt/list-config', text({}), '"quant_method"', text({ modelopt_config: { quant_cfg: {}, algorithm: 'max' } })],
    besideTrap('modelopt/list-config', text({}), '"quant_method"', requiring('nvidia_modelopt>=0.44', 'diffusers==0.40.0'), requiring('nvidia_modelopt==0.43.0', 'diffusers==0.40.0')),
    ['modelopt/builtin-skips', text({}), '"quant_type"', text({}), layersNamed('a.to_q')],
    besideTrap('modelopt/pickle', text({}), '"quant_method"', ['diffusion_pytorch_model.safetensors', 'modelopt_state.pth'], ['diffusion_pytorch_model.safetensors', 'transformer/modelopt_state.pth']),
    besideTrap('modelopt/pickle', text({}), '"quant_method"', ['diffusion_pytorch_model.bin'], []),
    ['dialect/takes-more', text({ modules_to_not_convert: ['proj_out'] }), '"proj_out"', text({ modules_to_not_convert: ['x_embedder'] })],
    ['dialect/unanchored-index', text({ modules_to_not_convert: ['transformer_blocks.1'] }), '"transformer_blocks.1"', text({ modules_to_not_convert: ['single_transformer_blocks.2.'] })],
  ];
  describeTraps('modelopt/', 'diffusers-modelopt', traps, flux);

  it('is as sure of a list that raises as the versions are', () => {
    const said = (...lines: string[]): unknown => evaluated('diffusers-modelopt', text({}), flux, undefined, { files: [], packages: requiring(...lines) }).all.filter(({ code }) => code === 'modelopt/list-config').map(({ severity }) => severity).join();
    assert.deepEqual([said(), said('nvidia-modelopt>=0.44'), said('nvidia-modelopt==0.45.0', 'diffusers<0.41'), said('nvidia-modelopt<0.44'), said('nvidia-modelopt>=0.43', 'diffusers==0.40.0')], ['info', 'warning', 'error', '', 'info']);
  });

  it('keeps 39 layers of FLUX.1-dev by its own list, and says so', () => {
    const { decisions, all } = evaluated('diffusers-modelopt', text({}), flux);
    assert.deepEqual([decisions.filter(({ entry }) => entry?.text === '*proj_out.*').length, decisions.filter(({ entry }) => entry === null).length], [39, 465]);
    assert.ok(all.some(({ code, message }) => code === 'modelopt/builtin-skips' && message.includes('39 layers, 15.07 %')));
  });
});

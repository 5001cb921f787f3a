import assert from 'node:assert/strict';
import { publishedCheckpoint } from '../../../fixtures/checkpoints';
import { config, describeTraps, evaluated } from './support';

const text = (changes: Record<string, unknown>): string => JSON.stringify({ producer: { name: 'modelopt', version: '0.44' }, quantization: { quant_algo: 'NVFP4', group_size: 16, kv_cache_quant_algo: null, exclude_modules: ['proj_out'], ...changes } }, null, 1);

describe('hf_quant_config.json of ModelOpt', () => {
  const flux = publishedCheckpoint('FLUX.1-dev');
  const [small, large] = [publishedCheckpoint('Wan2.1-1.3B'), publishedCheckpoint('Wan2.1-14B')];
  const keeping = (...blocks: number[]): string => text({ exclude_modules: [...blocks.map((block) => `blocks.${block}.*`), 'proj_out'] });
  describeTraps('hfquant/', 'modelopt-hf', [
    ['hfquant/deprecated', text({}), '"quant_algo"', config({ load_in_8bit: true })],
    ['hfquant/algorithm', text({ quant_algo: 'NVFP' }), '"NVFP"', text({})],
    ['hfquant/mixed', text({ quant_algo: 'MIXED_PRECISION' }), '"MIXED_PRECISION"', text({ quant_algo: 'MIXED_PRECISION', quantized_layers: { proj_out: { quant_algo: 'FP8' } } })],
    ['hfquant/group-size', text({ group_size: 32 }), '32', text({})],
    ['hfquant/loaders-differ', text({ exclude_modules: ['norm_out'] }), '"norm_out"', text({ exclude_modules: ['norm_out.*', 'time_text_embed*'] })],
    ['hfquant/loaders-differ', text({ exclude_modules: ['x_embedder', 'proj_out'] }), '"proj_out"', text({ exclude_modules: ['x_embedder', '*proj_out'] })],
    ['hfquant/group-width', text({ quant_algo: 'W4A16_AWQ', group_size: 128 }), '128', text({ quant_algo: 'W4A16_AWQ', group_size: 128, exclude_modules: ['x_embedder'] })],
    ['dialect/last-blocks', keeping(0, 1, 2), '"blocks.0.*"', keeping(0, 1, 2, 27, 28, 29), small, small],
    ['dialect/last-blocks', keeping(0, 1, 2), '"blocks.0.*"', keeping(0, 1, 2, 10), small, small],
    ['dialect/last-blocks', keeping(0, 1, 2), '"blocks.0.*"', keeping(0, 1, 2), large, small],
    ['dialect/matches-nothing', text({ exclude_modules: ['blocks*'] }), '"blocks*"', text({ exclude_modules: ['lm_head', 'single_transformer_blocks*'] })],
  ], flux);

  it('excludes by fnmatch, names layers exactly', () => {
    const { entries, decisions } = evaluated('modelopt-hf', text({ quant_algo: 'MIXED_PRECISION', exclude_modules: ['*norm*', 'proj_out'], quantized_layers: { 'transformer_blocks.0.ff.net.2': { quant_algo: 'FP8' } } }), flux);
    assert.deepEqual(entries.map(({ matchedLayers }) => matchedLayers), [77, 1, 1]);
    assert.deepEqual(decisions.filter(({ treatment }) => treatment.kind === 'quantize').map(({ layer, treatment }) => [layer.name, treatment.weightBits]), [['transformer_blocks.0.ff.net.2', 8]]);
  });
});

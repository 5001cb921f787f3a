import assert from 'node:assert/strict';
import { checkpointOf, publishedCheckpoint } from '../../../fixtures/checkpoints';
import { config, describeTraps, evaluated } from './support';

const svdq = { precision: 'int4', group_size: 64, rank: 32, targets: ['layers.0.attention.to_q', 'layers.0.attention.to_k'] };
const awq = { precision: 'int4', group_size: 64, targets: ['layers.0.adaLN_modulation.0'] };
const text = (changes: Record<string, unknown> = {}, other: Record<string, unknown> | undefined = awq): string =>
  config({ quant_method: 'nunchaku_lite', compute_dtype: 'bfloat16', svdq_w4a4: { ...svdq, ...changes }, ...(other ? { awq_w4a16: other } : {}) });

describe('nunchaku_lite in diffusers', () => {
  const narrow = checkpointOf({ 'a.to_q.weight': { dtype: 'BF16', shape: [96, 128] }, 'b.to_q.weight': { dtype: 'BF16', shape: [96, 96] } });
  describeTraps('nunchaku/', 'diffusers-nunchaku-lite', [
    ['nunchaku/section', config({ quant_method: 'nunchaku_lite' }), '"quant_method"', text()],
    ['nunchaku/precision', text({}, { ...awq, precision: 'nvfp4' }), '"nvfp4"', text({ precision: 'nvfp4', group_size: 16 })],
    ['nunchaku/group-size', text({ precision: 'nvfp4' }), '64', text({ precision: 'nvfp4', group_size: 16 })],
    ['nunchaku/rank', text({ rank: -1 }), '-1', text({ rank: 0 })],
    ['nunchaku/targets', text({ targets: [] }), '[]', text()],
    ['nunchaku/target-twice', text({}, { ...awq, targets: ['layers.0.attention.to_q'] }), '"layers.0.attention.to_q"', text()],
    ['nunchaku/fused', text({ targets: ['layers.0.attention.qkv'] }), '"layers.0.attention.qkv"', text()],
    ['nunchaku/gpu', text({ precision: 'nvfp4', group_size: 16 }), '"nvfp4"', config({ load_in_8bit: true })],
    ['nunchaku/width', text({ targets: ['layers.0.attention.to_q'] }, { ...awq, group_size: 100 }), '100', text({ targets: ['a.to_q'] }), narrow],
    ['dialect/rank', text({ targets: ['layers.0.attention.to_q', 'all_x_embedder.2-1'], rank: 128 }), '128', text({ targets: ['layers.0.attention.to_q'], rank: 128 })],
    ['dialect/missing-key', text({}, { precision: 'int4', group_size: 64 }), '{', text()],
    ['dialect/matches-nothing', text({ targets: ['layers.30.attention.to_q'] }), '"layers.30.attention.to_q"', text()],
    ['dialect/matches-nothing', text({ targets: ['layers.*.attention.to_q'] }), '"layers.*.attention.to_q"', text()],
    ['dialect/matches-nothing', text({ targets: ['layers.0.attention'] }), '"layers.0.attention"', text()],
  ], publishedCheckpoint('Z-Image'));

  it('quantizes the targets alone, and stops at a name that is not there', () => {
    const { decisions } = evaluated('diffusers-nunchaku-lite', text(), publishedCheckpoint('Z-Image'));
    assert.deepEqual(decisions.filter(({ treatment }) => treatment.kind === 'quantize').map(({ layer, treatment }) => [layer.name, treatment.weightBits, treatment.activationBits]),
      [['layers.0.adaLN_modulation.0', 4, 16], ['layers.0.attention.to_k', 4, 4], ['layers.0.attention.to_q', 4, 4]]);
    const [found] = evaluated('diffusers-nunchaku-lite', text({ targets: ['layers.0.attention.to_qq'] }), publishedCheckpoint('Z-Image')).all.filter(({ severity }) => severity === 'error');
    assert.match(found?.message ?? '', /The tool stops with an error\. Did you mean "layers\.0\.attention\.to_q"\?/);
  });
});

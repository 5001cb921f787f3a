/** Findings of activations on made-up numbers: when they are said, of which steps and halves, and what they advise. */
import assert from 'node:assert/strict';
import { layerOverTime } from '../../../server/src/analysis/activations';
import { activationFindings, captureResult } from '../../../server/src/analysis/findings';
import { thresholdsOf } from '../../../server/src/config/thresholds';
import type { Capture, CaptureNumbers, Finding } from '../../../server/src/protocol';
import { captureNumbers } from '../../fixtures/captures';

const thresholds = thresholdsOf(undefined);
const calm = captureNumbers('a', 'conditional', 0);

function captureOf(...layers: CaptureNumbers[]): Capture { return { architecture: 'x', items: ['i'], steps: 4, device: null, layers, weights: [], thresholds }; }
function found(...cells: Partial<CaptureNumbers>[]): Finding[] { return activationFindings(captureOf(...cells.map((more, step) => captureNumbers('a', 'conditional', step, more))), thresholds); }
function codes(...cells: Partial<CaptureNumbers>[]): string[] { return found(...cells).map(({ code }) => code); }
const ks = (value: number): CaptureNumbers['after'] => ({ ...calm.after, ks: value });
const channel = (at: number, ratio: number, energy: number): CaptureNumbers['channels'][number] => ({ channel: at, absMax: ratio, ratio, energy });

describe('findings of activations', () => {
  it('need more than the threshold', () => {
    assert.deepEqual(codes({}), []);
    assert.deepEqual(codes({ after: ks(0.05), effectiveRows: 16, topEnergy: { channel: 3, share: 0.6 }, channelRange: 100 }), []);
    assert.deepEqual(codes({ topEnergy: { channel: 3, share: 0.61 } }), ['activation/energy']);
    assert.deepEqual(codes({ channelRange: 101 }), ['activation/outlier']);
  });

  it('a rotation fails where sampling cannot explain the distance, or one channel does', () => {
    // 1.95 / √(128 · 8) = 0.0609; with one independent token 0.172.
    assert.deepEqual(codes({ after: ks(0.06) }), []);
    assert.deepEqual(codes({ after: ks(0.062) }), ['activation/rotation']);
    assert.deepEqual(codes({ after: ks(0.16), effectiveRows: 1 }), []);
    assert.deepEqual(codes({ after: ks(0.16), effectiveRows: 1, topEnergy: { channel: 3, share: 0.9 } }), ['activation/rotation'], 'and the energy is part of it');
    assert.deepEqual(codes({ after: ks(0.16), effectiveRows: 0 }), [], 'a token of zeros counts as one');
  });

  it('name the steps, the worst of them, the number and the threshold', () => {
    const [finding] = found({}, { after: ks(0.18), topEnergy: { channel: 9, share: 0.61 } }, { after: ks(0.12) });
    assert.deepEqual([finding?.where, finding?.value, finding?.threshold], [{ half: 'conditional', steps: [1, 2] }, 0.18, 0.05]);
    assert.equal(finding?.text, 'rotation does not Gaussianise its inputs: KS 0.180 behind it (conditional, 2 of 3 steps, worst at t = 998; threshold 0.05), channel 9 holds 61 % of the energy → smooth it or keep it');
  });

  it('advise to permute several outliers, and not to smooth onto weights that are large there', () => {
    const two = { after: ks(0.2), channels: [channel(1, 90, 0.4), channel(2, 30, 0.3)], topEnergy: { channel: 1, share: 0.4 } };
    assert.match(found(two)[0]?.text ?? '', /channel 1 holds 40 % of the energy, 90 × the median channel → permute its channels so that outliers share no block, smooth it or keep it$/);
    assert.match(found({ ...two, salienceCorrelation: 0.7 })[0]?.text ?? '', /→ permute its channels so that outliers share no block or keep it \(not smoothing: its weights are large in the same channels, Spearman ρ 0\.70\)$/);
    assert.match(found(two, {})[0]?.text ?? '', /smooth it over all steps or keep it$/, 'outliers that come and go');
  });

  it('tails count once there are too many for chance', () => {
    const tails = (beyond4: number): Partial<CaptureNumbers> => ({ tails: { ...calm.tails, after: { beyond3: 0.01, beyond4 } } });
    assert.deepEqual(codes(tails(0.002)), [], '2 of 1024');
    assert.deepEqual(codes(tails(0.003)), ['activation/tails']);
    assert.deepEqual(codes({ ...tails(0.003), effectiveRows: 2 }), []);
  });

  it('the range over time is one finding for all steps', () => {
    const [finding] = found({ absMax: 1 }, { absMax: 4 }, { absMax: 32 });
    assert.deepEqual([finding?.code, finding?.value, finding?.where?.steps], ['activation/time-range', 32, [0, 1, 2]]);
    assert.match(finding?.text ?? '', /changes 32 × over the steps \(conditional; threshold 16\): 32 at t = 997, 1 at t = 999; one static range costs the smallest 5\.0 bits/);
  });

  it('halves of guidance are apart, lost inputs come first and hide nothing of other layers', () => {
    const findings = activationFindings(captureOf(captureNumbers('a', 'conditional', 0, { channelRange: 200 }), captureNumbers('a', 'unconditional', 0), captureNumbers('b', 'unconditional', 0, { nonFinite: 5, rows: 0 }), captureNumbers('c', 'unconditional', 0, { nonFinite: 9 })), thresholds);
    assert.deepEqual(findings.map(({ layer, code, where }) => [layer, code, where?.half]), [['b', 'activation/not-finite', 'unconditional'], ['a', 'activation/outlier', 'conditional']]);
    assert.match(findings[0]?.text ?? '', /^5 of its inputs are NaN or infinite \(unconditional, t = 999\), the first such layer at the first such step; 1 more have them/);
  });

  it('outliers persist when every step has them', () => {
    const { outliers, timeRange, salienceCorrelation } = layerOverTime([captureNumbers('a', 'conditional', 0, { channels: [channel(1, 150, 0.3), channel(2, 20, 0.2)] }), captureNumbers('a', 'conditional', 3, { channels: [channel(1, 60, 0.5)], salienceCorrelation: null, absMax: 2 })], thresholds);
    assert.deepEqual(outliers, [
      { channel: 1, kind: 'salient', ratio: 150, energy: 0.5, steps: [0, 3], persistent: true }, { channel: 2, kind: 'mild', ratio: 20, energy: 0.2, steps: [0], persistent: false },
    ]);
    assert.deepEqual([timeRange, salienceCorrelation], [2, 0.1]);
    assert.equal(layerOverTime([captureNumbers('a', 'conditional', 0, { absMax: 0 })], thresholds).timeRange, null);
  });

  it('other thresholds than those of the capture may count', () => {
    const capture = captureOf(captureNumbers('a', 'conditional', 0, { channelRange: 60 }));
    assert.deepEqual(captureResult(capture).findings, []);
    const { findings, thresholds: used } = captureResult(capture, { ...thresholds, salientChannel: 50 });
    assert.deepEqual([findings.map(({ code }) => code), used.salientChannel], [['activation/outlier'], 50]);
  });
});

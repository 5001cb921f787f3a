/** Numbers of activations against the theory of the fixed marginal, and against direct computation from samples. */
import assert from 'node:assert/strict';
import { thresholdList } from '../../../server/src/config/thresholds';
import { effectiveRows, expectedTail, largestChannels, marginalShape, salienceCorrelation, tailMass, topEnergy } from '../../../server/src/preview/activationNumbers';
import { fixedMarginal } from '../../../server/src/preview/marginal';
import { random } from '../../fixtures/random';

const close = (actual: number, expected: number, within: number): void => assert.ok(Math.abs(actual - expected) <= within, `${actual} is not ${expected} ± ${within}`);

describe('fixed marginal', () => {
  it('is arcsine in the plane, uniform in space, and a normal distribution in the end', () => {
    for (const x of [-1.3, -0.4, 0, 0.2, 1, 1.41]) {
      close(fixedMarginal(2).cdf(x), 0.5 + Math.asin(x / Math.SQRT2) / Math.PI, 1e-9);
      close(fixedMarginal(3).cdf(x), 0.5 + x / Math.sqrt(12), 1e-9);
    }
    // Φ(−3) and Φ(−1); at width 10⁶ the rest is of order 1/d.
    close(fixedMarginal(1e6).cdf(-3), 0.0013498980316, 1e-7);
    close(fixedMarginal(1e6).cdf(-1), 0.1586552539315, 1e-6);
  });

  it('ends at ±√d, is even, and quantiles undo it', () => {
    for (const d of [2, 5, 128, 1152, 18432]) {
      const { cdf, quantile } = fixedMarginal(d);
      close(cdf(Math.sqrt(d) + 1), 1, 1e-9);
      close(cdf(-Math.sqrt(d) - 1), 0, 1e-9);
      close(cdf(0.7) + cdf(-0.7), 1, 1e-12);
      for (const x of [-1.35, -0.4, 0, 0.01, 1.3, ...(d > 100 ? [-4, 3.9] : [])]) {
        close(quantile(cdf(x)), x, 1e-8);
      }
    }
  });

  it('has the tails of methods.md: t² ~ Beta(½, (d−1)/2)', () => {
    // scipy: 1 - betainc(0.5, 63.5, 9 / 128), 1 - betainc(0.5, 63.5, 16 / 128).
    close(expectedTail(128).beyond3, 0.00238993618, 1e-10);
    close(expectedTail(128).beyond4, 0.00003955558, 1e-10);
  });
});

describe('numbers of activations', () => {
  const width = 24;
  const next = random(7);
  const rows = Array.from({ length: 400 }, () => {
    const row = Float64Array.from({ length: width }, () => next() - 0.5 + 3 * (next() > 0.97 ? 1 : 0));
    const norm = Math.hypot(...row);
    return row.map((value) => (value / norm) * Math.sqrt(width));
  });
  const values = rows.flatMap((row) => [...row]).sort((a, b) => a - b);
  const counts = new Float32Array(98);
  values.forEach((value) => { const bin = Math.min(97, Math.max(0, 1 + Math.floor((value + 6) / 0.125))); counts[bin] = (counts[bin] ?? 0) + 1; });

  it('tails are counted, not fitted', () => {
    const share = (limit: number): number => values.filter((value) => value < -limit || value >= limit).length / values.length;
    const { beyond3, beyond4 } = tailMass(counts);
    assert.deepEqual([beyond3, beyond4], [share(3), share(4)]);
    assert.ok(beyond3 > beyond4 && beyond4 > 0);
    assert.deepEqual(tailMass(new Float32Array(98)), { beyond3: 0, beyond4: 0 });
  });

  it('Q–Q points are exact quantiles', () => {
    const { quantiles, histogram } = marginalShape(counts, width);
    const { quantile } = fixedMarginal(width);
    assert.deepEqual([histogram.lo, histogram.hi, histogram.counts.length], [-6, 6, 98]);
    assert.ok(quantiles.length > 20);
    for (const { expected, measured } of quantiles) {
      const below = values.filter((value) => value < measured).length / values.length;
      assert.ok(below > 0 && below < 1 && Number.isInteger(measured * 8));
      close(expected, quantile(below), 1e-9);
    }
    const { quantiles: own } = marginalShape(Float32Array.from({ length: 98 }, (_, i) => {
      const edge = (k: number): number => (k < 0 ? 0 : k > 96 ? 1 : fixedMarginal(128).cdf(-6 + k / 8));
      return 1e6 * (edge(i) - edge(i - 1));
    }), 128);
    own.filter(({ measured }) => Math.abs(measured) < 4).forEach(({ expected, measured }) => close(expected, measured, 1e-4));
  });

  it('tokens that point the same way count once, orthogonal ones each', () => {
    const unit = (i: number, scale: number): number[] => Array.from({ length: 4 }, (_, j) => (i === j ? scale : 0));
    close(effectiveRows(Float32Array.from([...unit(0, 1), ...unit(1, -7), ...unit(2, 100)]), 4), 3, 1e-6);
    close(effectiveRows(Float32Array.from([...unit(0, 1), ...unit(0, 50), ...unit(0, -3)]), 4), 1, 1e-6);
    assert.equal(effectiveRows(new Float32Array(8), 4), 0);
    close(effectiveRows(Float32Array.of(NaN, 1, 1, 1, 0, 1, 1, 1), 4), 1, 1e-6);
    const many = Float32Array.from({ length: 1000 * 16 }, () => next() - 0.5);
    const found = effectiveRows(many, 16);
    assert.ok(found > 10 && found <= 16, `${found}: 64 of 1000 rows stand for all, and there are 16 directions`);
  });

  it('outlier channels, largest first', () => {
    const absMax = Float32Array.of(1, 2, 50, 2, 3);
    assert.deepEqual(largestChannels(absMax, Float32Array.of(1, 1, 6, 1, 1)).slice(0, 2), [{ channel: 2, absMax: 50, ratio: 25, energy: 0.6 }, { channel: 4, absMax: 3, ratio: 1.5, energy: 0.1 }]);
    assert.deepEqual(largestChannels(Float32Array.of(0, 0, 5), new Float32Array(3)).map(({ ratio, energy }) => [ratio, energy]), [[null, 0], [null, 0], [null, 0]]);
    assert.deepEqual([topEnergy(Float32Array.of(1, 2, 5)), topEnergy(new Float32Array(2))], [{ channel: 2, share: 0.625 }, { channel: 0, share: 0 }]);
    assert.equal(largestChannels(new Float32Array(100), new Float32Array(100)).length, 8);
  });

  it('correlates saliences by rank, and has none where there is nothing to rank', () => {
    const weight = Float32Array.of(1, 2, 3, 4);
    assert.deepEqual([Float32Array.of(1, 5, 6, 900), Float32Array.of(9, 8, 7, 0)].map((each) => salienceCorrelation(each, weight)), [1, -1]);
    assert.deepEqual([salienceCorrelation(weight, undefined), salienceCorrelation(weight, new Float32Array(4)), salienceCorrelation(weight, Float32Array.of(1, 2, 3, Infinity)), salienceCorrelation(weight, Float32Array.of(1))], [null, null, null, null]);
  });
});

describe('thresholds mean what their descriptions say', () => {
  const { cdf } = fixedMarginal(1e6);
  const grid = Array.from({ length: 1001 }, (_, i) => -5 + i / 100);
  const ks = (mixture: (x: number) => number): number => Math.max(...grid.map((x) => Math.abs(mixture(x) - cdf(x))));

  it('weights: deviations that differ by a factor of 2', () => {
    const small = Math.sqrt(2 / 5);
    const found = ks((x) => (cdf(x / small) + cdf(x / (2 * small))) / 2);
    close(found, thresholdList.ksAfterRotation.default, 5e-4);
  });

  it('activations: one channel with 60 % of the energy behind a rotation over the whole width', () => {
    const [hump, rest] = [Math.sqrt(thresholdList.energyShare.default), Math.sqrt(1 - thresholdList.energyShare.default)];
    close(ks((x) => (cdf((x - hump) / rest) + cdf((x + hump) / rest)) / 2), 0.038, 5e-4);
  });

  it('activations: outlier channels and the bits of one scale for a token', () => {
    assert.equal(thresholdList.mildChannel.default, 2 * (2 ** 3 - 1));
    assert.equal(Math.log2(thresholdList.timeRange.default), 4);
  });
});

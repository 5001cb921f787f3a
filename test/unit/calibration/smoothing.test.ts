import assert from 'node:assert/strict';
import { balance, salienceOverTime, searchGrid, smoothingFactors, spearman, stepShares } from '../../../server/src/calibration/smoothing';
import { random } from '../../fixtures/random';

const values = (seed: number, count: number): Float32Array => {
  const next = random(seed);
  return Float32Array.from({ length: count }, () => Math.exp(3 * next()));
};

describe('smoothing', () => {
  const [x, w] = [values(1, 1152), values(2, 1152)];

  it('balanced saliences are equal on both sides: x / λ and w · λ are √(x·w)', () => {
    balance(x, w, 0.5, 0.5).forEach((factor, j) => {
      assert.ok(Math.abs((x[j] ?? 0) / factor - (w[j] ?? 0) * factor) < 1e-4 * factor * (w[j] ?? 0));
    });
  });

  it('csb of one time step is SmoothQuant with α = ½ there', () => {
    assert.deepEqual(smoothingFactors({ kind: 'csb' }, [x], w), smoothingFactors({ kind: 'smoothquant', alpha: 0.5, beta: 0.5 }, [x], w));
  });

  it('SmoothQuant takes the largest over all time steps', () => {
    const quiet = x.map((value) => value / 10);
    assert.deepEqual(smoothingFactors({ kind: 'smoothquant', alpha: 0.5, beta: 0.5 }, [quiet, x, quiet], w), balance(x, w, 0.5, 0.5));
  });

  it('absmax takes the range of the activations away altogether', () => {
    const factors = smoothingFactors({ kind: 'absmax' }, [x], w);
    factors.forEach((factor, j) => { assert.ok(Math.abs((x[j] ?? 0) / factor - 1) < 1e-6); });
  });

  it('channels that are zero on one side keep the factor 1', () => {
    assert.deepEqual([...balance(Float32Array.of(0, 4, 1e-9), Float32Array.of(2, 0, 3), 0.5, 0.5)], [1, 1, 1]);
  });

  it('the grid holds both spans once, and no smoothing', () => {
    const grid = searchGrid(20);
    assert.equal(grid.length, 1 + 20 + 19);
    assert.equal(new Set(grid.map(({ alpha, beta }) => `${alpha} ${beta}`)).size, grid.length);
    assert.deepEqual(grid.at(-1), { alpha: 0.95, beta: 1 - 0.95 });
  });
});

describe('Spearman-guided calibration', () => {
  it('knows the textbook values', () => {
    const of = (...list: number[]): Float32Array => Float32Array.from(list);
    assert.equal(spearman(of(1, 2, 3, 4), of(10, 20, 30, 99)), 1);
    assert.equal(spearman(of(1, 2, 3, 4), of(9, 8, 7, 1)), -1);
    // Ties share their mean rank: ranks 0, 1.5, 1.5, 3 against 0, 1, 2, 3.
    assert.ok(Math.abs(spearman(of(1, 2, 2, 5), of(1, 2, 3, 4)) - 4.5 / Math.sqrt(4.5 * 5)) < 1e-12);
    assert.equal(spearman(of(7, 7, 7), of(1, 2, 3)), 0);
  });

  it('shares add up to 1, and steps that agree least count most', () => {
    const shares = stepShares([0.9, -0.2, 0.1]);
    assert.ok(Math.abs(shares.reduce((sum, share) => sum + share, 0) - 1) < 1e-15);
    assert.ok((shares[1] ?? 0) > (shares[2] ?? 0) && (shares[2] ?? 0) > (shares[0] ?? 0));
  });

  it('the salience over time lies between those of the steps', () => {
    const w = values(3, 64);
    const [aligned, opposed] = [w.map((value) => 2 * value), w.map((value) => 40 / value)];
    const mixed = salienceOverTime([aligned, opposed], w);
    const share = Math.exp(1) / (Math.exp(1) + Math.exp(-1)); // ρ is 1 and −1
    mixed.forEach((value, j) => {
      assert.ok(Math.abs(value - ((1 - share) * (aligned[j] ?? 0) + share * (opposed[j] ?? 0))) < 1e-4 * value);
    });
  });
});

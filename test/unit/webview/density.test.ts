import assert from 'node:assert/strict';
import { histogramBins, logGamma, marginalDensity } from '../../../webview/src/model/density';

/** Midpoint rule; the integrands here vanish at both ends. */
function integrate(f: (x: number) => number, low: number, high: number, steps = 20_000): number {
  const width = (high - low) / steps;
  return Array.from({ length: steps }, (_, index) => f(low + (index + 0.5) * width)).reduce((sum, value) => sum + value, 0) * width;
}

describe('webview: densities', () => {
  it('has the logarithm of the gamma function', () => {
    assert.ok(Math.abs(logGamma(0.5) - Math.log(Math.sqrt(Math.PI))) < 1e-12);
    assert.ok(Math.abs(logGamma(11) - Math.log(3_628_800)) < 1e-12);
    assert.ok(Math.abs(logGamma(1536) - (logGamma(1535) + Math.log(1535))) < 1e-9);
  });

  it('draws a marginal of mass 1 and variance 1 for any width', () => {
    for (const d of [4, 16, 128, 1152, 12_288]) {
      const reach = Math.min(Math.sqrt(d), 12);
      assert.ok(Math.abs(integrate((x) => marginalDensity(x, d), -reach, reach) - 1) < 1e-4, `mass at d = ${d}`);
      assert.ok(Math.abs(integrate((x) => x * x * marginalDensity(x, d), -reach, reach) - 1) < 1e-4, `variance at d = ${d}`);
    }
  });

  it('is zero beyond √d and near the normal density for wide layers', () => {
    assert.equal(marginalDensity(4.1, 16), 0);
    assert.ok(Math.abs(marginalDensity(0, 12_288) - 1 / Math.sqrt(2 * Math.PI)) < 1e-4);
  });

  it('keeps what lies outside of a histogram apart, and counts it in the total', () => {
    const { bins, below, above, total } = histogramBins({ lo: -1, hi: 1, counts: [1, 2, 6, 1] });
    assert.deepEqual({ below, above, total }, { below: 1, above: 1, total: 10 });
    assert.deepEqual(bins, [{ x0: -1, x1: 0, count: 2, density: 0.2 }, { x0: 0, x1: 1, count: 6, density: 0.6 }]);
  });

  it('draws nothing from an empty histogram', () => {
    assert.deepEqual(histogramBins({ lo: 0, hi: 0, counts: [0, 0, 0] }).bins.map(({ density }) => density), [0]);
  });
});

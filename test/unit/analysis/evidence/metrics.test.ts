import assert from 'node:assert/strict';
import { agreementMetrics, exponent, metricText, outputError, spreadOf, spreadText } from '../../../../server/src/analysis/evidence/metrics';
import type { Metric } from '../../../../server/src/analysis/evidence/metrics';

function metric(id: string): Metric {
  const found = agreementMetrics.find((each) => each.id === id);
  assert.ok(found, id);
  return found;
}

describe('numbers of a report', () => {
  it('spread: mean, deviation of the sample, ends', () => {
    const { n, mean, standardDeviation, min, max, equal, notFinite } = spreadOf([2, 4, 9]);
    assert.deepEqual([n, mean, min, max, equal, notFinite], [3, 5, 2, 9, 0, 0]);
    assert.ok(Math.abs((standardDeviation ?? 0) - Math.sqrt((9 + 1 + 16) / 2)) < 1e-12);
  });

  it('one value has no deviation; equal and broken runs are counted apart', () => {
    assert.equal(spreadOf([3]).standardDeviation, null);
    assert.deepEqual(spreadOf([null, 20, NaN, Infinity]), { n: 1, mean: 20, standardDeviation: null, min: 20, max: 20, equal: 1, notFinite: 2 });
    assert.equal(spreadOf([]).mean, null);
  });

  it('are written with unit, deviation and what is left out', () => {
    const [psnr, ssim] = [metric('psnrDb'), metric('ssim')];
    assert.equal(spreadText(psnr, spreadOf([20, 22])), '21.00 ± 1.41 dB');
    assert.equal(spreadText(psnr, spreadOf([20])), '20.00 dB');
    assert.equal(spreadText(psnr, spreadOf([null, null])), 'equal');
    assert.equal(spreadText(psnr, spreadOf([20, null, NaN])), '20.00 dB (1 not finite, 1 equal)');
    assert.equal(spreadText(psnr, spreadOf([NaN])), '1 not finite');
    assert.equal(spreadText(ssim, spreadOf([0.99999, 0.99998])), '> 0.9999 ± < 0.0001');
    assert.equal(metricText(ssim, 1), '1.0000');
    assert.equal(metricText(metric('latentCosine'), -0.25), '−0.2500');
    assert.equal(metricText(psnr, NaN), 'not finite');
    assert.equal(metricText(outputError, 0.00001234), '1.23e−5');
    assert.deepEqual([0, 0.25, 1234].map(exponent), ['0', '0.25', '1.23e+3']);
  });
});

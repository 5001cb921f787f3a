import assert from 'node:assert/strict';
import { staticRange } from '../../../server/src/calibration/ranges';
import { random } from '../../fixtures/random';

function normal(seed: number, count: number): Float32Array {
  const next = random(seed);
  return Float32Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()));
}

describe('static activation ranges', () => {
  const sample = normal(1, 200_000);

  it('few bits clip more than many', () => {
    const [four, eight] = [staticRange(sample, 4, false), staticRange(sample, 8, false)];
    assert.ok(four.high < eight.high && four.low > eight.low);
    assert.ok(Math.abs(four.high - 3.09) < 0.1, 'the 99.9th percentile of a normal');
  });

  it('one extreme value in 200,000 does not decide the range', () => {
    const spoilt = Float32Array.from(sample);
    spoilt[77] = 1e4;
    assert.ok(staticRange(spoilt, 4, false).high < 6);
  });

  it('symmetric ranges reach equally far, and every range holds 0', () => {
    const shifted = sample.map((value) => value + 10);
    const { low, high } = staticRange(shifted, 8, true);
    assert.equal(low, -high);
    assert.equal(staticRange(shifted, 8, false).low, 0);
  });

  it('values that are not finite do not count; nothing at all is the range 0', () => {
    assert.deepEqual(staticRange(Float32Array.of(NaN, Infinity), 8, false), { low: 0, high: 0 });
    assert.deepEqual(staticRange(Float32Array.of(0, 0, 0), 8, false), { low: 0, high: 0 });
    assert.deepEqual(staticRange(Float32Array.of(NaN, 1, -1), 8, true), { low: -1, high: 1 });
  });
});

import assert from 'node:assert/strict';
import { difference, paint, RAMP, rampGradient, scaleEnd, SCALES } from '../../../webview/src/model/difference';
import type { Pixels } from '../../../webview/src/model/difference';

function pixels(width: number, ...rgba: number[]): Pixels {
  return { width, height: rgba.length / 4 / width, data: Uint8ClampedArray.from(rgba) };
}

/** CIE lightness L* of an sRGB colour, 0..100. */
function lightness(color: readonly number[]): number {
  const [r = 0, g = 0, b = 0] = color.map((byte) => (byte <= 10.31475 ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4));
  const y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return y > (6 / 29) ** 3 ? 116 * Math.cbrt(y) - 16 : y * (29 / 3) ** 3;
}

describe('webview: difference of two pictures', () => {
  it('takes the largest channel of each pixel and leaves out opacity', () => {
    const found = difference(pixels(2, 10, 20, 30, 255, 0, 0, 0, 255), pixels(2, 13, 20, 22, 0, 0, 255, 1, 255));
    assert.deepEqual([...found.levels], [8, 255]);
    assert.deepEqual([found.largest, found.mean], [255, 131.5]);
  });

  it('is the same both ways, and nothing for equal pictures', () => {
    const [a, b] = [pixels(1, 9, 8, 7, 255, 1, 2, 3, 255), pixels(1, 0, 9, 7, 255, 4, 4, 4, 255)];
    assert.deepEqual(difference(a, b), difference(b, a));
    assert.deepEqual({ ...difference(a, a), levels: [] }, { width: 1, height: 2, levels: [], largest: 0, mean: 0 });
  });

  it('refuses pictures of different sizes', () => {
    assert.throws(() => difference(pixels(1, 0, 0, 0, 0), pixels(2, 0, 0, 0, 0, 0, 0, 0, 0)), /1 × 1 and 2 × 1/);
  });

  it('ends the scale at the smallest round value that holds everything, or where the user wants it', () => {
    assert.deepEqual([0, 8, 9, 100, 255].map((largest) => scaleEnd('auto', largest)), [8, 8, 16, 128, 255]);
    assert.deepEqual(SCALES.map((end) => scaleEnd(String(end), 255)), [...SCALES]);
  });

  it('paints from the first colour to the last, and clamps what is beyond the end', () => {
    const bytes = paint({ levels: Uint8Array.from([0, 16, 200]) }, 16);
    assert.deepEqual([...bytes.slice(0, 4)], [...(RAMP[0] ?? []), 255]);
    assert.deepEqual([...bytes.slice(4, 8)], [...(RAMP[255] ?? []), 255]);
    assert.deepEqual(bytes.slice(8, 12), bytes.slice(4, 8));
  });

  it('rises in lightness all the way, so that order needs no colour vision', () => {
    const steps = RAMP.map(lightness);
    for (const [index, value] of steps.entries()) {
      assert.ok(index === 0 || value > (steps[index - 1] ?? 0) - 0.2, `${index}: ${value}`);
    }
    // Evenly: each quarter of the ramp takes about a quarter of the lightness.
    for (const quarter of [64, 128, 192, 255]) {
      assert.ok(Math.abs((steps[quarter] ?? 0) - (steps[quarter - 63] ?? 0) - 24) < 6, `${quarter}`);
    }
    assert.ok((steps[255] ?? 0) - (steps[0] ?? 0) > 90);
  });

  it('has a legend of the same colours', () => {
    const stops = [...rampGradient().matchAll(/rgb\((\d+) (\d+) (\d+)\)/g)].map((match) => match.slice(1).map(Number));
    assert.deepEqual([stops[0], stops.at(-1)], [RAMP[0], RAMP[255]]);
    assert.ok(stops.length > 4);
  });
});

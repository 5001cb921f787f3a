import assert from 'node:assert/strict';
import { decode } from 'fast-png';
import { cosine, psnrDb, relativeMse, ssim, valueRange } from '../../../server/src/preview/metrics';
import type { Picture } from '../../../server/src/preview/metrics';
import { toPng } from '../../../server/src/preview/png';
import { torchRandn } from '../../../server/src/samplers/noise';

function picture(width: number, height: number, channels: number, seed: number, blend = 0): Picture {
  const base = torchRandn(width * height * channels, 1);
  const other = torchRandn(width * height * channels, seed);
  return { width, height, channels, data: base.map((value, i) => Math.min(1, Math.max(0, 0.5 + 0.15 * ((1 - blend) * value + blend * (other[i] ?? 0))))) };
}

/** The definition, written out: every valid window, the full two-dimensional Gaussian. */
function ssimByDefinition(a: Picture, b: Picture, size: number): number {
  const weight = (i: number, j: number): number => Math.exp(-((i - (size - 1) / 2) ** 2 + (j - (size - 1) / 2) ** 2) / 4.5);
  let [sum, count] = [0, 0];
  for (let c = 0; c < a.channels; c++) {
    for (let y = 0; y + size <= a.height; y++) {
      for (let x = 0; x + size <= a.width; x++) {
        let [w, mx, my, xx, yy, xy] = [0, 0, 0, 0, 0, 0];
        for (let i = 0; i < size; i++) {
          for (let j = 0; j < size; j++) {
            const at = (c * a.height + y + i) * a.width + x + j;
            const [p, q, k] = [a.data[at] ?? 0, b.data[at] ?? 0, weight(i, j)];
            w += k; mx += k * p; my += k * q; xx += k * p * p; yy += k * q * q; xy += k * p * q;
          }
        }
        [mx, my, xx, yy, xy] = [mx / w, my / w, xx / w, yy / w, xy / w];
        sum += ((2 * mx * my + 1e-4) * (2 * (xy - mx * my) + 9e-4)) / ((mx * mx + my * my + 1e-4) * (xx - mx * mx + yy - my * my + 9e-4));
        count++;
      }
    }
  }
  return sum / count;
}

describe('preview metrics', () => {
  it('say "equal" for equal values', () => {
    const a = picture(16, 16, 3, 2);
    assert.equal(psnrDb(a.data, a.data, 1), null);
    assert.equal(relativeMse(a.data, a.data), 0);
    assert.ok(Math.abs(cosine(a.data, a.data) - 1) < 1e-12);
    assert.ok(Math.abs(ssim(a, a) - 1) < 1e-6);
    assert.equal(relativeMse(new Float32Array(4), new Float32Array(4)), 0);
    assert.equal(cosine(new Float32Array(4), new Float32Array(4)), 1);
  });

  it('PSNR of an offset of a tenth of the peak is 20 dB, in any scale', () => {
    const a = Float32Array.of(0, 0.25, 0.5, 0.75);
    assert.ok(Math.abs((psnrDb(a.map((value) => value + 0.1), a, 1) ?? 0) - 20) < 1e-5);
    assert.ok(Math.abs((psnrDb(a.map((value) => 40 * value + 4), a.map((value) => 40 * value), 40) ?? 0) - 20) < 1e-5);
    assert.equal(valueRange(Float32Array.of(-2, 5, 1)), 7);
  });

  it('cosine ignores scale, relative MSE does not', () => {
    const a = Float32Array.of(1, -2, 3);
    assert.ok(Math.abs(cosine(a.map((value) => 2 * value), a) - 1) < 1e-12);
    assert.ok(Math.abs(relativeMse(a.map((value) => 2 * value), a) - 1) < 1e-12);
    assert.ok(Math.abs(cosine(a.map((value) => -value), a) + 1) < 1e-12);
  });

  it('SSIM follows its definition, also where the window does not fit', () => {
    for (const [width, height, channels, size] of [[16, 16, 3, 11], [23, 12, 1, 11], [8, 8, 3, 7], [9, 20, 1, 9], [64, 11, 1, 11]] as const) {
      const a = picture(width, height, channels, 5);
      const b = picture(width, height, channels, 5, 0.4);
      assert.ok(Math.abs(ssim(a, b) - ssimByDefinition(a, b, size)) < 1e-5, `${width} × ${height}: ${ssim(a, b)}, ${ssimByDefinition(a, b, size)}`);
    }
  });

  it('SSIM falls as pictures depart', () => {
    const a = picture(32, 32, 3, 9);
    const values = [0, 0.1, 0.3, 0.6, 1].map((blend) => ssim(picture(32, 32, 3, 9, blend), a));
    assert.ok(values.every((value, i) => i === 0 || value < (values[i - 1] ?? 0)), values.join(' '));
  });

  it('writes PNGs that hold the picture', () => {
    for (const channels of [1, 3]) {
      const a = picture(5, 7, channels, 3);
      const { width, height, data, channels: stored } = decode(toPng(a));
      assert.deepEqual([width, height, stored], [5, 7, channels]);
      a.data.forEach((value, i) => assert.equal(data[(i % 35) * channels + Math.floor(i / 35)], Math.round(255 * value)));
    }
  });
});

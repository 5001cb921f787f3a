/** How close two pictures or latents are. Directions: cosine and SSIM 1 is equal, PSNR in dB higher is better, relative MSE lower is better. */

export interface Picture { channels: number; height: number; width: number; /** [channels, height, width], 0..1. */ data: Float32Array }

/** ‖a − b‖² / ‖b‖²; 0 for two zeros. */
export function relativeMse(a: Float32Array, b: Float32Array): number {
  const error = squaredDistance(a, b);
  return error === 0 ? 0 : error / b.reduce((sum, value) => sum + value * value, 0);
}

export function cosine(a: Float32Array, b: Float32Array): number {
  let [dot, aa, bb] = [0, 0, 0];
  a.forEach((value, i) => {
    const other = b[i] ?? 0;
    dot += value * other;
    aa += value * value;
    bb += other * other;
  });
  return aa === 0 && bb === 0 ? 1 : dot / (Math.sqrt(aa * bb) || 1);
}

/** 10 log10(peak² / MSE); null when a and b are equal. */
export function psnrDb(a: Float32Array, b: Float32Array, peak: number): number | null {
  const mse = squaredDistance(a, b) / Math.max(1, a.length);
  return mse === 0 ? null : 10 * Math.log10((peak * peak) / mse);
}

/** Largest minus smallest value: the peak that the PSNR of latents refers to, since they have no fixed range. */
export function valueRange(values: Float32Array): number {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return high > low ? high - low : 1;
}

function squaredDistance(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + (value - (b[i] ?? 0)) ** 2, 0);
}

/**
 * Structural similarity (Wang et al. 2004): Gaussian window 11 × 11, σ 1.5, K 0.01 and 0.03, mean over channels and valid positions.
 * A side shorter than 11 shrinks the window to the largest odd size that fits.
 */
export function ssim(a: Picture, b: Picture): number {
  const size = Math.min(11, a.width - ((a.width + 1) % 2), a.height - ((a.height + 1) % 2));
  const window = gaussian(Math.max(1, size));
  const [c1, c2] = [0.01 ** 2, 0.03 ** 2];
  let sum = 0;
  let count = 0;
  const area = a.width * a.height;
  for (let channel = 0; channel < a.channels; channel++) {
    const x = a.data.subarray(channel * area, (channel + 1) * area);
    const y = b.data.subarray(channel * area, (channel + 1) * area);
    const blurred = (values: Float32Array): Float32Array => blur(values, a.width, a.height, window);
    const [mx, my] = [blurred(x), blurred(y)];
    const [xx, yy, xy] = [blurred(x.map((value) => value * value)), blurred(y.map((value) => value * value)), blurred(x.map((value, i) => value * (y[i] ?? 0)))];
    mx.forEach((meanX, i) => {
      const meanY = my[i] ?? 0;
      const [vx, vy, cov] = [(xx[i] ?? 0) - meanX * meanX, (yy[i] ?? 0) - meanY * meanY, (xy[i] ?? 0) - meanX * meanY];
      sum += ((2 * meanX * meanY + c1) * (2 * cov + c2)) / ((meanX * meanX + meanY * meanY + c1) * (vx + vy + c2));
      count++;
    });
  }
  return sum / Math.max(1, count);
}

function gaussian(size: number): number[] {
  const weights = Array.from({ length: size }, (_, i) => Math.exp(-((i - (size - 1) / 2) ** 2) / (2 * 1.5 ** 2)));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/** Separable, valid positions only. */
function blur(values: Float32Array, width: number, height: number, window: readonly number[]): Float32Array {
  const outWidth = width - window.length + 1;
  const outHeight = height - window.length + 1;
  const rows = new Float64Array(outWidth * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < outWidth; x++) {
      rows[y * outWidth + x] = window.reduce((sum, weight, i) => sum + weight * (values[y * width + x + i] ?? 0), 0);
    }
  }
  const out = new Float32Array(outWidth * outHeight);
  for (let y = 0; y < outHeight; y++) {
    for (let x = 0; x < outWidth; x++) {
      out[y * outWidth + x] = window.reduce((sum, weight, i) => sum + weight * (rows[(y + i) * outWidth + x] ?? 0), 0);
    }
  }
  return out;
}

/** Static ranges of activations, one per tensor. PTQ4DiT's released code: of three percentiles the one whose range rounds the sample best. methods.md 4.4. */

const percentiles = [0.999, 0.9999, 0.99999];

export interface ActivationRange { low: number; high: number }

/**
 * @param sample all values of the calibration rows, in the coordinates that are quantized.
 * @param bits of the unsigned codes; the range holds 0, so that 0 stays 0.
 */
export function staticRange(sample: Float32Array, bits: number, symmetric: boolean): ActivationRange {
  const sorted = sample.filter(Number.isFinite).sort();
  const at = (share: number): number => sorted[Math.round(share * (sorted.length - 1))] ?? 0;
  let best: ActivationRange = { low: 0, high: 0 };
  let least = Infinity;
  for (const percentile of percentiles) {
    const [low, high] = [Math.min(0, at(1 - percentile)), Math.max(0, at(percentile))];
    const reach = Math.max(-low, high);
    const range = symmetric ? { low: -reach, high: reach } : { low, high };
    const error = roundingError(sorted, range, bits);
    if (error < least) {
      [best, least] = [range, error];
    }
  }
  return best;
}

/** Sum of squared errors of rounding to 2^bits even steps between low and high; what lies outside is clipped. */
function roundingError(values: Float32Array, { low, high }: ActivationRange, bits: number): number {
  const top = 2 ** bits - 1;
  const step = (high - low) / top;
  if (step === 0) {
    return values.reduce((sum, value) => sum + value * value, 0);
  }
  const zero = Math.round(-low / step);
  return values.reduce((sum, value) => {
    const code = Math.min(top, Math.max(0, Math.round(value / step) + zero));
    return sum + (value - (code - zero) * step) ** 2;
  }, 0);
}

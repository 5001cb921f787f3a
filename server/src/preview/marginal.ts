/** The fixed marginal of one coordinate of a uniform unit vector in R^d, in its standard deviations 1/√d. methods.md 1.1. */

export interface FixedMarginal {
  /** P(X ≤ x), within 1e-9. */
  cdf(x: number): number;
  /** Where the CDF reaches p, 0 < p < 1, within 1e-8 up to 4 deviations. */
  quantile(p: number): number;
}

/** Of Simpson's rule, for each standard deviation. */
const intervals = 64;
/** Beyond it there is nothing a double could hold. */
const farthest = 12;

/**
 * With x = √d sin θ the density is cos^(d−2) θ up to its normaliser ∫ = W, over 0..π/2, for which Wallis' recurrence W_n = (n−1)/n · W_(n−2) holds.
 * @param d width, 2 or more
 */
export function fixedMarginal(d: number): FixedMarginal {
  let whole = d % 2 === 0 ? Math.PI / 2 : 1;
  for (let n = d % 2 === 0 ? 2 : 3; n <= d - 2; n += 2) {
    whole *= (n - 1) / n;
  }
  const root = Math.sqrt(d);
  const last = Math.asin(Math.min(1, farthest / root));
  const density = (angle: number): number => Math.cos(angle) ** (d - 2) / (2 * whole);
  const below = (angle: number): number => {
    const pairs = Math.ceil((root * Math.abs(angle) * intervals) / 2);
    const step = angle / (2 * pairs || 1);
    let sum = pairs > 0 ? density(0) + density(angle) : 0;
    for (let i = 1; i < 2 * pairs; i++) {
      sum += (i % 2 === 1 ? 4 : 2) * density(i * step);
    }
    return 0.5 + (sum * step) / 3;
  };
  return {
    cdf: (x) => below(Math.max(-last, Math.min(last, Math.asin(Math.max(-1, Math.min(1, x / root)))))),
    quantile: (p) => {
      let [low, high] = [-last, last];
      // So near that Newton's steps double the digits.
      for (let i = 0; i < 12; i++) {
        const middle = (low + high) / 2;
        [low, high] = below(middle) < p ? [middle, high] : [low, middle];
      }
      let angle = (low + high) / 2;
      for (let i = 0; i < 4; i++) {
        angle = Math.max(low, Math.min(high, angle - (below(angle) - p) / density(angle)));
      }
      return root * Math.sin(angle);
    },
  };
}

/** The fixed marginal of one coordinate of a uniform unit vector in R^d, in its standard deviations 1/√d. methods.md 1.1. */

export interface FixedMarginal {
  /** P(X ≤ x), within 1e-9. */
  cdf(x: number): number;
  /** Where the CDF reaches p, 0 < p < 1, within 1e-9. */
  quantile(p: number): number;
}

/** Even; Simpson's rule. */
const intervals = 256;
/** Beyond it there is less than 1e-15. */
const farthest = 8;

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
  const cdf = (x: number): number => {
    const top = Math.asin(Math.min(1, Math.abs(x) / root));
    const step = top / intervals;
    let sum = 0;
    for (let i = 0; i <= intervals; i++) {
      sum += (i === 0 || i === intervals ? 1 : i % 2 === 1 ? 4 : 2) * Math.cos(i * step) ** (d - 2);
    }
    return 0.5 + (Math.sign(x) * sum * step) / 3 / (2 * whole);
  };
  return {
    cdf,
    quantile: (p) => {
      let [low, high] = [-Math.min(root, farthest), Math.min(root, farthest)];
      while (high - low > 1e-10) {
        const middle = (low + high) / 2;
        [low, high] = cdf(middle) < p ? [middle, high] : [low, middle];
      }
      return (low + high) / 2;
    },
  };
}

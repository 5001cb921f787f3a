/** The fixed marginal as a curve, and histograms as densities. */
import type { Histogram } from '../../../server/src/protocol';

/** ln Γ(x), x > 0: Lanczos' approximation (g = 7, nine terms), relative error below 1e-13. */
export function logGamma(x: number): number {
  if (x < 0.5) {
    return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  }
  const terms = [
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905, -0.13857109526572012,
    9.9843695780195716e-6, 1.5056327351493116e-7,
  ];
  const shifted = x - 1;
  const base = shifted + 7.5;
  const series = terms.reduce((sum, term, index) => (index === 0 ? term : sum + term / (shifted + index)), 0);
  return 0.5 * Math.log(2 * Math.PI) + (shifted + 0.5) * Math.log(base) - base + Math.log(series);
}

/**
 * Density at x, in standard deviations 1/√d, of one coordinate of a uniform unit vector in R^d (OrbitQuant Eq 2, the normaliser corrected):
 * Γ(d/2) / (√(π d) Γ((d−1)/2)) · (1 − x²/d)^((d−3)/2), 0 outside of ±√d. d ≥ 2.
 */
export function marginalDensity(x: number, d: number): number {
  const inside = 1 - (x * x) / d;
  if (inside <= 0) {
    return 0;
  }
  return Math.exp(logGamma(d / 2) - logGamma((d - 1) / 2) - 0.5 * Math.log(Math.PI * d) + ((d - 3) / 2) * Math.log(inside));
}

export interface Bin { x0: number; x1: number; count: number; density: number }

/** The inner bins of a histogram; `below` and `above` count what lies outside of [lo, hi). Densities count the outside in their total. */
export function histogramBins({ lo, hi, counts }: Histogram): { bins: Bin[]; below: number; above: number; total: number } {
  const inner = counts.slice(1, -1);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const width = (hi - lo) / inner.length;
  const bins = inner.map((count, index) => ({
    x0: lo + index * width, x1: lo + (index + 1) * width, count, density: total === 0 || width === 0 ? 0 : count / (total * width),
  }));
  return { bins, below: counts[0] ?? 0, above: counts.at(-1) ?? 0, total };
}

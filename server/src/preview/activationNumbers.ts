/** Numbers of captured activations: tails and quantiles against the fixed marginal, outlier channels, and how they agree with the weights. Pure. */
import { spearman } from '../calibration/smoothing';
import type { CapturedChannel, Histogram, MarginalShape, TailMass } from '../protocol';
import { fixedMarginal } from './marginal';

/** Captures count normalised coordinates from −6 to 6 standard deviations. */
const reach = 6;
const listed = 8;

export function histogramOf(counts: Float32Array): Histogram { return { lo: -reach, hi: reach, counts: [...counts] }; }

/** @param counts below −6, in even bins, above 6; 3 and 4 are edges when the bins are a multiple of 12 */
export function tailMass(counts: Float32Array): TailMass {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const width = (2 * reach) / (counts.length - 2);
  const beyond = (limit: number): number => {
    const bins = 1 + Math.round((reach - limit) / width);
    const outside = counts.reduce((sum, count, i) => sum + (i < bins || i >= counts.length - bins ? count : 0), 0);
    return total > 0 ? outside / total : 0;
  };
  return { beyond3: beyond(3), beyond4: beyond(4) };
}

export function expectedTail(width: number): TailMass {
  const { cdf } = fixedMarginal(width);
  return { beyond3: 2 * cdf(-3), beyond4: 2 * cdf(-4) };
}

/** At every edge of the histogram, where both quantiles are known without interpolation. */
export function marginalShape(counts: Float32Array, width: number): MarginalShape {
  const histogram = histogramOf(counts);
  const total = histogram.counts.reduce((sum, count) => sum + count, 0);
  const { quantile } = fixedMarginal(width);
  const quantiles: MarginalShape['quantiles'] = [];
  let below = 0;
  for (let bin = 0; bin < counts.length - 1; bin++) {
    below += counts[bin] ?? 0;
    if (below > 0 && below < total) {
      quantiles.push({ expected: quantile(below / total), measured: -reach + (2 * reach * bin) / (counts.length - 2) });
    }
  }
  return { histogram, quantiles };
}

/** More cost more than they tell. */
const comparedRows = 64;

/** n² / Σ (uᵢ·uⱼ)² over normalised rows that are finite and not zero: as many independent directions as would spread alike. @param sample [rows, width] */
export function effectiveRows(sample: Float32Array, width: number): number {
  const count = sample.length / width;
  const every = Math.max(1, count / comparedRows);
  const rows = Array.from({ length: Math.min(count, comparedRows) }, (_, i) => Math.floor(i * every) * width).map((start) => sample.subarray(start, start + width)).filter((row) => {
    const square = dot(row, row);
    return square > 0 && Number.isFinite(square);
  });
  let together = 0;
  for (const [i, a] of rows.entries()) {
    together += 1;
    for (const b of rows.slice(0, i)) {
      together += (2 * dot(a, b) ** 2) / (dot(a, a) * dot(b, b));
    }
  }
  return together > 0 ? rows.length ** 2 / together : 0;
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let j = 0; j < a.length; j++) {
    sum += (a[j] ?? 0) * (b[j] ?? 0);
  }
  return sum;
}

export function largestChannels(absMax: Float32Array, meanSquare: Float32Array): CapturedChannel[] {
  const median = absMax.toSorted()[Math.floor(absMax.length / 2)] ?? 0;
  const energy = meanSquare.reduce((sum, value) => sum + value, 0);
  return [...absMax.keys()].sort((a, b) => (absMax[b] ?? 0) - (absMax[a] ?? 0)).slice(0, listed).map((channel) => {
    const largest = absMax[channel] ?? 0;
    return { channel, absMax: largest, ratio: median > 0 ? largest / median : null, energy: energy > 0 ? (meanSquare[channel] ?? 0) / energy : 0 };
  });
}

export function topEnergy(meanSquare: Float32Array): { channel: number; share: number } {
  const energy = meanSquare.reduce((sum, value) => sum + value, 0);
  const most = meanSquare.reduce((best, value) => Math.max(best, value), 0);
  return { channel: Math.max(0, meanSquare.indexOf(most)), share: energy > 0 ? most / energy : 0 };
}

/** PTQ4DiT Eq 7. @param weight largest |w| per input channel; undefined where it was not read */
export function salienceCorrelation(absMax: Float32Array, weight: Float32Array | undefined): number | null {
  const usable = (values: Float32Array): boolean => values.every(Number.isFinite) && values.some((value) => value !== values[0]);
  return weight?.length === absMax.length && usable(absMax) && usable(weight) ? spearman(absMax, weight) : null;
}

/** What a chart can show of a layer: one table with name, direction, scale and text of each metric. */
import { formatDecibel, formatNumber, formatRatio, formatBits } from './format';
import type { LayerRow } from './layers';

export interface Metric {
  id: MetricId;
  title: string;
  /** What the number says and which direction is good. */
  hint: string;
  /** Bars start here; values beyond it in the bad direction are marked. */
  baseline: number;
  worse: 'higher' | 'lower' | 'either';
  scale: 'log' | 'linear';
  value: (row: LayerRow) => number | null;
  format: (value: number) => string;
}

export type MetricId = 'ratio' | 'sqnr' | 'ks' | 'wasserstein1' | 'kurtosis' | 'rho' | 'bits';

export const METRICS: readonly Metric[] = [
  {
    id: 'ratio', title: 'Error against expected', hint: 'Relative MSE over what this quantizer gives on its design distribution. ×1 is as expected (grey within 5 %), higher is worse.',
    baseline: 1, worse: 'higher', scale: 'log', value: (row) => row.ratio, format: formatRatio,
  },
  {
    id: 'sqnr', title: 'SQNR', hint: 'Signal to quantization noise of the weights in dB. Higher is better.',
    baseline: 0, worse: 'lower', scale: 'linear', value: (row) => row.report?.weight.sqnrDb ?? null, format: formatDecibel,
  },
  {
    id: 'ks', title: 'KS distance as quantized', hint: 'Kolmogorov–Smirnov distance of the normalised rows, as the recipe quantizes them, to the fixed marginal. Lower is better.',
    baseline: 0, worse: 'higher', scale: 'linear', value: (row) => row.report?.marginal.ks ?? null, format: formatNumber,
  },
  {
    id: 'wasserstein1', title: 'Wasserstein-1 as quantized', hint: 'Distance to the fixed marginal in its standard deviations. Lower is better.',
    baseline: 0, worse: 'higher', scale: 'linear', value: (row) => row.report?.marginal.wasserstein1 ?? null, format: formatNumber,
  },
  {
    id: 'kurtosis', title: 'Excess kurtosis before rotation', hint: '0 for a normal distribution. Large positive values: heavy tails.',
    baseline: 0, worse: 'either', scale: 'linear', value: (row) => row.report?.marginal.before.excessKurtosis ?? null, format: formatNumber,
  },
  {
    id: 'rho', title: 'ρ of Proposition 1', hint: 'Far above 1: rotation cannot promise the marginal for the worst row. Lower is better.',
    baseline: 0, worse: 'higher', scale: 'linear', value: (row) => row.report?.marginal.rho ?? null, format: formatNumber,
  },
  {
    id: 'bits', title: 'Average bits', hint: 'Packed bits of each weight, side data included.',
    baseline: 0, worse: 'higher', scale: 'linear', value: (row) => row.plan.averageBits, format: formatBits,
  },
];

export function metricById(id: string): Metric {
  const metric = METRICS.find((candidate) => candidate.id === id) ?? METRICS[0];
  if (metric === undefined) {
    throw new Error('The table of metrics is empty.');
  }
  return metric;
}

/** How bad a value is, for ranking: distance from the baseline on the metric's scale, in its bad direction. */
export function badness(metric: Metric, value: number): number {
  if (metric.id === 'ratio') {
    return Math.abs(Math.log(value));
  }
  return metric.worse === 'lower' ? -value : metric.worse === 'either' ? Math.abs(value) : value;
}

/** Worst first; layers without a value keep the model's order at the end. */
export function rank(rows: readonly LayerRow[], metric: Metric): LayerRow[] {
  const score = (row: LayerRow): number => {
    const value = metric.value(row);
    return value === null ? -Infinity : badness(metric, value);
  };
  return rows.map((row, index) => ({ row, index, score: score(row) }))
    .sort((a, b) => (a.score === b.score ? a.index - b.index : b.score - a.score))
    .map(({ row }) => row);
}

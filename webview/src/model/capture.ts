/** What the capture view shows of activations: its metrics, and the matrix of layer × step with the halves of guidance apart. */
import type { CaptureNumbers, CaptureResult, Finding, LayerOverTime, TailMass } from '../../../server/src/protocol';
import { formatInteger, formatNumber, formatPercent, formatRatio } from './format';
import type { HeatData } from './heat';
import type { Metric } from './metrics';
import { compareNames } from './tensorTable';

/** A cell with what is known of its layer over all steps. */
export interface CaptureRow extends CaptureNumbers { timeRange: number | null; outliers: LayerOverTime['outliers']; captured: number }

export function captureRows({ layers, overTime }: CaptureResult): CaptureRow[] {
  const known = new Map(overTime.map((each) => [`${each.layer} ${each.half}`, each]));
  return layers.map((each) => {
    const over = known.get(`${each.layer} ${each.half}`);
    return { ...each, timeRange: over?.timeRange ?? null, outliers: over?.outliers ?? [], captured: over?.steps.length ?? 0 };
  });
}

export interface CaptureMetric extends Pick<Metric, 'baseline' | 'scale' | 'format'> {
  id: string;
  title: string;
  /** Column head of the table. */
  short: string;
  /** What the number says and which direction is good. */
  hint: string;
  value: (row: CaptureRow) => number | null;
}

const linear = { baseline: 0, scale: 'linear', format: formatNumber } as const;
const KS = 'Kolmogorov–Smirnov distance of the normalised tokens to the fixed marginal';
const W1 = 'Wasserstein-1 distance to the fixed marginal in its standard deviations';

export const CAPTURE_METRICS: readonly CaptureMetric[] = [
  { ...linear, id: 'absMax', title: 'Largest magnitude', short: 'Max |x|', hint: 'Largest |x| over tokens, channels and items.', value: ({ absMax }) => absMax },
  {
    id: 'channelRange', title: 'Dynamic range over channels', short: 'Range', baseline: 1, scale: 'log', format: formatRatio,
    hint: 'Largest magnitude of the largest channel over that of the median channel. ×1 is even; large values mean outlier channels.', value: ({ channelRange }) => channelRange,
  },
  {
    ...linear, id: 'topEnergy', title: 'Energy in one channel', short: 'Energy', hint: 'Share of Σ x² in the channel that has most of it. Lower is better: the other channels bear the error of all.', format: formatPercent,
    value: ({ topEnergy }) => topEnergy.share,
  },
  {
    id: 'timeRange', title: 'Dynamic range over the steps', short: 'Time range', baseline: 1, scale: 'log', format: formatRatio,
    hint: 'Largest magnitude at the largest step over that at the smallest, the same for all steps of a layer. ×1 is steady; static ranges want it small.', value: ({ timeRange }) => timeRange,
  },
  { ...linear, id: 'ksBefore', title: 'KS distance before rotation', short: 'KS before', hint: `${KS}, before rotation. Lower is better.`, value: ({ before }) => before.ks },
  { ...linear, id: 'ksAfter', title: 'KS distance after rotation', short: 'KS after', hint: `${KS}, after rotation. Lower is better.`, value: ({ after }) => after.ks },
  { ...linear, id: 'w1Before', title: 'Wasserstein-1 before rotation', short: 'W1 before', hint: `${W1}, before rotation. Lower is better.`, value: ({ before }) => before.wasserstein1 },
  { ...linear, id: 'w1After', title: 'Wasserstein-1 after rotation', short: 'W1 after', hint: `${W1}, after rotation. Lower is better.`, value: ({ after }) => after.wasserstein1 },
  {
    ...linear, id: 'kurtosisBefore', title: 'Excess kurtosis before rotation', short: 'Kurt. before', hint: '0 for a normal distribution. Large positive values: heavy tails.',
    value: ({ before }) => before.excessKurtosis,
  },
  {
    ...linear, id: 'kurtosisAfter', title: 'Excess kurtosis after rotation', short: 'Kurt. after', hint: '0 for a normal distribution. Large positive values: heavy tails that rotation left.',
    value: ({ after }) => after.excessKurtosis,
  },
  {
    ...linear, id: 'tailBefore', title: 'Beyond 4 deviations before rotation', short: 'Tail before', hint: 'Share of the normalised coordinates; the fixed marginal has 0.006 % at most. Lower is better.', format: formatPercent,
    value: ({ tails }) => tails.before.beyond4,
  },
  {
    ...linear, id: 'tailAfter', title: 'Beyond 4 deviations after rotation', short: 'Tail after', hint: 'Share of the normalised coordinates; the fixed marginal has 0.006 % at most. Lower is better.', format: formatPercent,
    value: ({ tails }) => tails.after.beyond4,
  },
  {
    ...linear, id: 'salienceCorrelation', title: 'Agreement with weights', short: 'Spearman ρ', value: ({ salienceCorrelation }) => salienceCorrelation,
    hint: "Spearman's ρ over the channels of largest input and largest weight, −1..1. Low or negative: smoothing can balance them.",
  },
  { ...linear, id: 'rho', title: 'ρ of Proposition 1', short: 'ρ', hint: 'Far above 1: rotation cannot promise the marginal for the worst token. Lower is better.', value: ({ rho }) => rho },
  {
    ...linear, id: 'nonFinite', title: 'NaN or infinite', short: 'NaN, ∞', hint: 'Values that are not finite. Their tokens are left out of every other number.', format: formatInteger,
    value: ({ nonFinite }) => nonFinite,
  },
];

export function captureMetric(id: string): CaptureMetric {
  const found = CAPTURE_METRICS.find((metric) => metric.id === id) ?? CAPTURE_METRICS[0];
  if (found === undefined) {
    throw new Error('The table of metrics is empty.');
  }
  return found;
}

/** Tells the rows of one capture apart. */
export function captureKey({ layer, half, step }: CaptureNumbers): string {
  return `${layer} ${half} ${step}`;
}

export function captureTitle({ half, step, timestep }: CaptureNumbers, steps: number): string {
  return `${half}, step ${step + 1} of ${steps}, t = ${Number(timestep.toPrecision(5))}`;
}

/** The cell a finding is about: its layer at the first of its steps, or at the layer's first where it is about weights. */
export function findingCell(rows: readonly CaptureRow[], { layer, where }: Finding): CaptureRow | undefined {
  return rows.find((row) => row.layer === layer && (where === null || (row.half === where.half && where.steps.includes(row.step))));
}

export function tailText({ before, after, expected }: CaptureNumbers['tails'], limit: keyof TailMass): string {
  return `${formatPercent(before[limit])} → ${formatPercent(after[limit])} (marginal ${(100 * expected[limit]).toPrecision(2)} %)`;
}

/** Whether a channel stands out, and at how many of the steps. */
export function channelKind({ outliers, captured }: CaptureRow, channel: number): string {
  const found = outliers.find((each) => each.channel === channel);
  return found === undefined ? '' : `${found.kind}, ${found.persistent ? 'every step' : `${found.steps.length} of ${captured} steps`}`;
}

/** Rows whose layer holds every word of the query, ignoring case. */
export function filterLayers(rows: readonly CaptureRow[], query: string): CaptureRow[] {
  const words = query.toLowerCase().split(/\s+/).filter((word) => word !== '');
  return rows.filter(({ layer }) => words.every((word) => layer.toLowerCase().includes(word)));
}

/** One row for each layer, the one with the highest value first and at most `limit` of them; one column for each step, the conditional half before the unconditional one. */
export function captureHeat(all: readonly CaptureRow[], metric: CaptureMetric, steps: number, limit: number): HeatData {
  const highest = new Map<string, number>();
  for (const row of all) {
    highest.set(row.layer, Math.max(highest.get(row.layer) ?? -Infinity, metric.value(row) ?? -Infinity));
  }
  const rows = [...highest].sort(([a, x], [b, y]) => (x === y ? compareNames(a, b) : y - x)).slice(0, limit).map(([layer]) => layer);
  const columns = (['conditional', 'unconditional'] as const).flatMap((half) => [...new Set(all.filter((row) => row.half === half).map(({ step }) => step))]
    .sort((a, b) => a - b).map((step) => ({ half, step })));
  const rowOf = new Map(rows.map((layer, row) => [layer, row]));
  const columnOf = new Map(columns.map(({ half, step }, column) => [`${half} ${step}`, column]));
  return {
    label: `Layers by step: ${metric.title}`, rows, columns: columns.map(({ step }) => String(step + 1)), metric,
    groups: columns.flatMap(({ half }, first) => (columns[first - 1]?.half === half ? [] : [{ title: `${half}, step`, first }])),
    cells: all.flatMap((each) => {
      const [row, column, value] = [rowOf.get(each.layer), columnOf.get(`${each.half} ${each.step}`), metric.value(each)];
      const description = `${each.layer}, ${captureTitle(each, steps)}. ${metric.title}: ${value === null ? 'no value' : metric.format(value)}`;
      return row === undefined || column === undefined ? [] : [{ row, column, value, description, names: [captureKey(each)] as const }];
    }).sort((a, b) => a.row - b.row || a.column - b.column),
  };
}

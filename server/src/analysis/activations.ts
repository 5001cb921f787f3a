/** Captured activations along the trajectory: outlier channels and whether they stay, and the range over time. */
import type { Capture, CaptureNumbers, LayerOverTime, OutlierChannel, Thresholds } from '../protocol';

/** Each layer and half of guidance, in the capture's order. */
export function overTime({ layers }: Capture, thresholds: Thresholds): LayerOverTime[] { return grouped(layers).map((cells) => layerOverTime(cells, thresholds)); }

/** @param cells of one layer and half, at least one */
export function layerOverTime(cells: readonly CaptureNumbers[], thresholds: Thresholds): LayerOverTime {
  const { layer, half } = cells[0] as CaptureNumbers;
  const peaks = cells.map(({ absMax }) => absMax);
  const correlations = cells.flatMap(({ salienceCorrelation }) => salienceCorrelation ?? []);
  return {
    layer, half, steps: cells.map(({ step }) => step), timeRange: Math.min(...peaks) > 0 ? Math.max(...peaks) / Math.min(...peaks) : null, outliers: outliersOf(cells, thresholds),
    salienceCorrelation: correlations.length > 0 ? correlations.reduce((sum, value) => sum + value, 0) / correlations.length : null,
  };
}

function outliersOf(cells: readonly CaptureNumbers[], { mildChannel, salientChannel }: Thresholds): OutlierChannel[] {
  const found = new Map<number, Omit<OutlierChannel, 'kind' | 'persistent'> & { ratio: number }>();
  for (const { step, channels } of cells) {
    for (const { channel, ratio, energy } of channels) {
      if (ratio !== null && ratio > mildChannel) {
        const known = found.get(channel) ?? { channel, ratio: 0, energy: 0, steps: [] };
        found.set(channel, { channel, ratio: Math.max(known.ratio, ratio), energy: Math.max(known.energy, energy), steps: [...known.steps, step] });
      }
    }
  }
  return [...found.values()].sort((a, b) => b.ratio - a.ratio).map((each) => ({ ...each, kind: each.ratio > salientChannel ? 'salient' : 'mild', persistent: each.steps.length === cells.length }));
}

/** By layer and half of guidance, steps in order. */
export function grouped(layers: readonly CaptureNumbers[]): CaptureNumbers[][] {
  const groups = new Map<string, CaptureNumbers[]>();
  for (const each of layers) {
    const key = `${each.layer} ${each.half}`;
    groups.set(key, [...(groups.get(key) ?? []), each]);
  }
  return [...groups.values()].map((cells) => cells.sort((a, b) => a.step - b.step));
}

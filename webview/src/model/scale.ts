/** Domains and ticks of the charts. */
import type { Metric } from './metrics';

/** [low, high] that holds the baseline and every value. A ratio never zooms closer than ±10 %, so that noise does not look like a finding. */
export function domain(values: readonly number[], metric: Pick<Metric, 'baseline' | 'scale'>): [number, number] {
  const finite = values.filter((value) => Number.isFinite(value));
  const low = Math.min(metric.baseline, ...finite);
  const high = Math.max(metric.baseline, ...finite);
  if (metric.scale === 'log') {
    return [Math.min(low / 1.02, metric.baseline / 1.1), Math.max(high * 1.02, metric.baseline * 1.1)];
  }
  return low === high ? [low, low + 1] : [low, high];
}

const MANTISSAS = [1, 2, 3, 5];
const NEAR_ONE = [0.8, 0.9, 0.95, 0.98, 1, 1.02, 1.05, 1.1, 1.2, 1.5];

/**
 * Round ratios inside [low, high], at most `count`, always with 1 when it is inside. Plain decades say nothing about ×1.04, so near 1 the
 * candidates are percents.
 */
export function ratioTicks(low: number, high: number, count: number): number[] {
  const candidates = new Set(NEAR_ONE);
  for (let decade = Math.floor(Math.log10(low)); decade <= Math.ceil(Math.log10(high)); decade++) {
    for (const mantissa of MANTISSAS) {
      candidates.add(Number(`${mantissa}e${decade}`));
    }
  }
  const inside = [...candidates].filter((value) => value >= low && value <= high).sort((a, b) => a - b);
  const least = Math.log(high / low) / Math.max(1, count);
  const chosen = inside.includes(1) ? [1] : inside.slice(0, 1);
  for (const value of inside) {
    if (chosen.length < count && chosen.every((other) => Math.abs(Math.log(value / other)) >= least * 0.9)) {
      chosen.push(value);
    }
  }
  return chosen.sort((a, b) => a - b);
}

/** Strength of a value's colour: −1 (far below the middle) .. 0 .. 1 (far above), on the metric's scale. */
export function intensity(value: number, [low, high]: readonly [number, number], metric: Pick<Metric, 'baseline' | 'scale'>): number {
  const place = metric.scale === 'log' ? Math.log : (x: number): number => x;
  const middle = place(metric.baseline);
  const reach = Math.max(Math.abs(place(high) - middle), Math.abs(place(low) - middle));
  return reach === 0 ? 0 : Math.max(-1, Math.min(1, (place(value) - middle) / reach));
}

/** A round number in as few characters as it takes, for axes. */
export function tickText(value: number): string {
  return (value === 0 || (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e4) ? String(Number(value.toPrecision(6))) : value.toExponential(0)).replaceAll('-', '−');
}

/** Powers of ten inside of [low, high], with 3·10ᵏ between them while they are few. */
export function decades(low: number, high: number): number[] {
  const inside = (value: number): boolean => value >= low * 0.999 && value <= high * 1.001;
  const first = Math.floor(Math.log10(low));
  const powers = Array.from({ length: Math.ceil(Math.log10(high)) - first + 1 }, (_, index) => 10 ** (first + index));
  return powers.filter(inside).length > 3 ? powers.filter(inside) : powers.flatMap((power) => [power, 3 * power]).filter(inside);
}

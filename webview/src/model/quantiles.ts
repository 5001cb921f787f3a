/** Q–Q points: how far they reach, which is near, and how one reads. */
import type { MarginalShape } from '../../../server/src/protocol';
import { formatNumber } from './format';

export type QuantilePoint = MarginalShape['quantiles'][number];

export function farthestQuantile(points: readonly QuantilePoint[]): number {
  return points.reduce((most, { expected, measured }) => Math.max(most, Math.abs(expected), Math.abs(measured)), 0);
}

/** Index of the point whose expected quantile is nearest; −1 without points. */
export function nearestQuantile(points: readonly QuantilePoint[], expected: number): number {
  return points.reduce((best, point, i) => (best < 0 || Math.abs(point.expected - expected) < Math.abs((points[best]?.expected ?? Infinity) - expected) ? i : best), -1);
}

export function quantileText({ expected, measured }: QuantilePoint): string {
  return `measured ${formatNumber(measured)} where the marginal has ${formatNumber(expected)} standard deviations`;
}

/** How far normalised rows are from the fixed marginal: KS, Wasserstein-1, kurtosis and the largest value, before and after rotation side by side. */
import type { Marginal } from '../../../server/src/protocol';
import { h } from '../dom';
import { formatNumber } from '../model/format';

export function shapeTable(before: Omit<Marginal, 'histogram'>, after: Omit<Marginal, 'histogram'>, heads: readonly [string, string]): HTMLElement {
  const line = (name: string, hint: string, from: number, to: number): HTMLElement =>
    h('tr', {}, h('th', { scope: 'row', title: hint }, name), h('td', {}, formatNumber(from)), h('td', {}, formatNumber(to)));
  return h('table', { class: 'numbers' },
    h('thead', {}, h('tr', {}, h('td'), ...heads.map((head) => h('th', { scope: 'col' }, head)))),
    h('tbody', {},
      line('KS distance', 'Kolmogorov–Smirnov, 0..1. Lower is better.', before.ks, after.ks),
      line('Wasserstein-1', 'In standard deviations of the marginal. Lower is better.', before.wasserstein1, after.wasserstein1),
      line('Excess kurtosis', '0 for a normal distribution.', before.excessKurtosis, after.excessKurtosis),
      line('Largest |coordinate|', 'In standard deviations of the marginal.', before.maxAbs, after.maxAbs)));
}

/** One layer at one step: its numbers, the distribution against the fixed marginal as histogram and Q–Q plot, and its largest channels. */
import type { CaptureCell } from '../../../server/src/protocol';
import { createHistogram } from '../charts/histogram';
import { createQq } from '../charts/qq';
import { toggle } from '../controls';
import { facts, h, notice } from '../dom';
import { captureMetric, captureTitle, channelKind, tailText } from '../model/capture';
import type { CaptureRow } from '../model/capture';
import { marginalDensity } from '../model/density';
import { formatInteger, formatNumber, formatPercent, formatRatio, NONE } from '../model/format';
import { shapeTable } from './shapeTable';

export interface CaptureDetail {
  element: HTMLElement;
  show(row: CaptureRow | undefined, steps: number): void;
  /** The distribution of the row that is shown, or why there is none. */
  fill(cell: CaptureCell | string): void;
}

/** @param state kept over a reload of the page */
export function createCaptureDetail(state: { before: boolean; quantiles: boolean }, onChange: () => void): CaptureDetail {
  const element = h('section', { class: 'detail', 'aria-label': 'Selected activations' });
  const histogram = createHistogram();
  const qq = createQq();
  const twin = h('div', { class: 'quantile-table' });
  const channels = h('div');
  let row: CaptureRow | undefined;
  let cell: CaptureCell | undefined;
  const change = (next: Partial<typeof state>): void => {
    Object.assign(state, next);
    onChange();
    draw();
  };
  const controls = h('div', { class: 'toolbar' }, toggle('Before Rotation', state.before, (before) => change({ before })), toggle('Quantiles as Table', state.quantiles, (quantiles) => change({ quantiles })));
  const distribution = h('div', { class: 'marginals' });

  function draw(): void {
    if (row === undefined || cell === undefined) {
      return;
    }
    const { width } = cell;
    const style = state.before ? 'before' : 'after';
    const { histogram: counts, quantiles } = cell[style];
    const when = `${style} rotation`;
    histogram.draw({
      label: `Histogram of the normalised tokens of ${row.layer} ${when} with the fixed marginal of width ${width}`, series: [{ name: when, histogram: counts, style }],
      curve: { name: 'fixed marginal', density: (x) => marginalDensity(x, width) },
    });
    qq.element.hidden = state.quantiles;
    twin.hidden = !state.quantiles;
    qq.draw({ label: `Q–Q plot of ${row.layer} ${when}: measured quantiles over those of the fixed marginal`, points: quantiles, style });
    twin.replaceChildren(h('table', { class: 'numbers' }, h('thead', {}, h('tr', {}, ...['Fixed marginal', 'Measured', 'Difference'].map((head) => h('th', { scope: 'col' }, head)))),
      h('tbody', {}, ...quantiles.map(({ expected, measured }) => h('tr', {}, ...[expected, measured, measured - expected].map((value) => h('td', {}, formatNumber(value))))))));
  }

  return {
    element,
    show: (next, steps) => {
      [row, cell] = [next, undefined];
      element.replaceChildren(...(next === undefined ? [h('p', { class: 'muted hint' }, 'Select a layer at a step to see its numbers.')] : [...numbers(next, steps), distribution]));
      distribution.replaceChildren();
    },
    fill: (found) => {
      if (typeof found === 'string') {
        distribution.replaceChildren(notice('error', found));
      } else if (row !== undefined) {
        cell = found;
        channels.replaceChildren(channelTable(row, found));
        distribution.replaceChildren(controls, histogram.element, h('h3', {}, 'Q–Q: quantiles at every edge of the histogram, 0.125 standard deviations apart'), qq.element, twin, h('h3', {}, 'Channels with the largest inputs'), channels);
        draw();
      }
    },
  };
}

function numbers(row: CaptureRow, steps: number): HTMLElement[] {
  const hint = (id: string): string => captureMetric(id).hint;
  return [
    h('h2', {}, row.layer),
    h('p', { class: 'muted' }, captureTitle(row, steps)),
    facts([
      ['Largest magnitude', formatNumber(row.absMax)],
      ['Range over channels', row.channelRange === null ? NONE : formatRatio(row.channelRange), hint('channelRange')],
      ['Range over the steps', row.timeRange === null ? NONE : formatRatio(row.timeRange), hint('timeRange')],
      ['Energy in one channel', `${formatPercent(row.topEnergy.share)} in channel ${row.topEnergy.channel}`, hint('topEnergy')],
      ['Beyond 3 deviations', tailText(row.tails, 'beyond3'), 'Share of the normalised coordinates before → after rotation, and of the fixed marginal.'],
      ['Beyond 4 deviations', tailText(row.tails, 'beyond4'), 'Share of the normalised coordinates before → after rotation, and of the fixed marginal.'],
      ['Agreement with weights', formatNumber(row.salienceCorrelation), hint('salienceCorrelation')],
      ['ρ of Proposition 1', formatNumber(row.rho), hint('rho')],
      ['NaN or infinite', formatInteger(row.nonFinite)],
      ['Tokens', `${formatInteger(row.rows)}, as ${formatNumber(row.effectiveRows)} independent ones`, 'Rows of activations, over all items. Tokens that point the same way count once; at most as many as were sampled of the first item.'],
    ]),
    h('h3', {}, 'Normalised tokens of the first item against the fixed marginal'),
    shapeTable(row.before, row.after, ['before rotation', 'after rotation']),
  ];
}

function channelTable(row: CaptureRow, { channels }: CaptureCell): HTMLElement {
  const heads = ['Channel', 'Max |x|', '× median', 'Energy', 'Max |w|', ''];
  return h('table', { class: 'numbers channels' }, h('thead', {}, h('tr', {}, ...heads.map((head) => h('th', { scope: 'col' }, head)))),
    h('tbody', {}, ...channels.map(({ channel, absMax, ratio, energy, weight }) => h('tr', {}, h('th', { scope: 'row' }, String(channel)),
      ...[formatNumber(absMax), ratio === null ? NONE : formatRatio(ratio), formatPercent(energy), formatNumber(weight), channelKind(row, channel)].map((text) => h('td', {}, text))))));
}

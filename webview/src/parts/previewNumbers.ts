/** The tables of a preview: agreement of each candidate, and the per-step numbers that are the curves' twin. */
import { seriesKey } from '../charts/stepCurve';
import { h } from '../dom';
import type { PreviewSummary } from '../messages';
import { measuredOn, metricRows, STEP_METRICS } from '../model/previewMetrics';
import { stepTitle } from '../model/previewPlace';

/** @param series of each candidate's key, where candidates are some of those drawn */
export function metricTable(result: PreviewSummary, caption = `Agreement with full precision: ${measuredOn(result)}`, series?: readonly number[]): HTMLElement {
  return h('table', { class: 'numbers metrics' },
    h('caption', {}, caption),
    h('thead', {}, h('tr', {}, h('td', {}), h('td', {}), ...headers(result, series))),
    h('tbody', {}, ...metricRows(result).map(({ metric, title, texts }) => h('tr', {},
      h('th', { scope: 'row', title: metric.hint }, title), h('td', { class: 'better' }, `${metric.better === 'higher is better' ? '↑' : '↓'} ${metric.better}`),
      ...texts.map((text) => h('td', {}, text))))));
}

/** Every metric of every step, one table for each candidate. A step's name is a button that shows its pictures. */
export function createStepTables(onSelect: (step: number) => void): { element: HTMLElement; show(result: PreviewSummary, selected: number | null, series?: readonly number[]): void } {
  const element = h('div', { class: 'table-pane' });
  let drawn: PreviewSummary | undefined;
  return {
    element,
    show: (result, selected, series) => {
      // Made anew only for a new result, so that the button just pressed keeps the focus.
      if (result !== drawn) {
        drawn = result;
        element.replaceChildren(...result.candidates.map((_candidate, index) => stepTable(result, index, series?.[index] ?? index, onSelect)));
      }
      for (const row of element.querySelectorAll<HTMLElement>('tbody tr')) {
        row.setAttribute('aria-current', row.dataset['step'] === String(selected) ? 'step' : 'false');
      }
    },
  };
}

function stepTable({ candidates, settings }: PreviewSummary, index: number, series: number, onSelect: (step: number) => void): HTMLElement {
  const { label, perStep } = candidates[index] ?? { label: '', perStep: [] };
  return h('table', { class: 'numbers steps' },
    h('caption', {}, seriesKey(series), label),
    h('thead', {}, h('tr', {}, h('th', { scope: 'col', class: 'name' }, 'Step'),
      ...STEP_METRICS.map(({ title, better, hint }) => h('th', { scope: 'col', title: hint }, title, h('span', { class: 'direction' }, better))))),
    h('tbody', {}, ...perStep.map((step) => {
      const button = h('button', { type: 'button', class: 'link' }, stepTitle(step.step, settings.steps, step.timestep));
      button.addEventListener('click', () => onSelect(step.step));
      return h('tr', { 'data-step': step.step }, h('th', { scope: 'row' }, button), ...STEP_METRICS.map(({ id, format }) => h('td', {}, format(step[id]))));
    })));
}

function headers({ candidates }: PreviewSummary, series?: readonly number[]): HTMLElement[] {
  return candidates.map(({ label }, index) => h('th', { scope: 'col' }, seriesKey(series?.[index] ?? index), ' ', label));
}

/** Errors of the weights alone: every layer against the expected one as bars, map of roles and blocks, and table. */
import type { ChartEvents } from '../charts/marks';
import { createBars } from '../charts/bars';
import { createHeatmap } from '../charts/heatmap';
import { button, dropdown, progressRing, toggle } from '../controls';
import { h, notice } from '../dom';
import { layerBars } from '../model/bars';
import type { LayerRow } from '../model/layers';
import { roleHeat } from '../model/matrix';
import { metricById, METRICS, rank } from '../model/metrics';
import { createLayerTable } from './layerTable';

export interface WeightsView { metric: string; table: boolean }
export interface WeightsData { rows: readonly LayerRow[]; running: boolean; measured: number; failed: number }

export function createWeightsTab(view: WeightsView, events: Omit<ChartEvents, 'onLeave'> & { onAnalyze: () => void; onView: (change: Partial<WeightsView>) => void }): { element: HTMLElement; draw(data: WeightsData): void; select(name: string | null): void } {
  const metricChoice = dropdown('Metric', METRICS, view.metric, (metric) => change({ metric }));
  const chartEvents = { ...events, onLeave: () => metricChoice.focus() };
  const bars = createBars('Layers, ranked by the chosen metric', chartEvents);
  const heatmap = createHeatmap(chartEvents);
  const table = createLayerTable(chartEvents);
  const analyze = button('Analyze Layers', events.onAnalyze, 'primary');
  const busy = progressRing('Analyzing layers');
  const hint = h('p', { class: 'muted metric-hint' });
  const notices = h('div', { class: 'notices' });
  const charts = h('div', { class: 'charts' },
    h('section', { class: 'bars-pane', 'aria-label': 'Layers ranked' }, bars.element),
    h('section', { class: 'heatmap-pane', 'aria-label': 'Layers by role and block' }, heatmap.element));
  const element = h('section', { class: 'panel' },
    h('div', { class: 'panel-head' }, h('div', { class: 'toolbar' }, metricChoice, toggle('Table', view.table, (shown) => change({ table: shown })), h('span', { class: 'spring' }), busy, analyze), hint, notices),
    charts, table.element);
  let shown = view;
  let data: WeightsData = { rows: [], running: false, measured: 0, failed: 0 };

  function change(next: Partial<WeightsView>): void {
    shown = { ...shown, ...next };
    events.onView(next);
    draw();
  }

  function draw(): void {
    const { rows, running, measured, failed } = data;
    const metric = metricById(shown.metric);
    analyze.disabled = running || rows.length === 0;
    busy.hidden = !running;
    hint.textContent = metric.hint;
    notices.replaceChildren(
      ...(rows.length > 0 && measured === 0 && !running ? [notice('info', 'Nothing is measured yet. Analyze Layers measures every layer as the config quantizes it.')] : []),
      ...(failed > 0 ? [notice('warning', `${failed} layers could not be measured; each says why when it is selected.`)] : []));
    charts.hidden = shown.table;
    table.element.hidden = !shown.table;
    element.classList.toggle('with-table', shown.table);
    bars.draw(layerBars(rank(rows, metric), metric), metric);
    heatmap.draw(roleHeat(rows, metric));
    table.show(rows);
  }

  return {
    element,
    draw: (next) => {
      data = next;
      draw();
    },
    select: (name) => {
      bars.select(name);
      heatmap.select(name);
      table.select(name);
    },
  };
}

/** The sensitivity panel: every layer's error against the expected one as bars, heat map and table, with one selection through all of them. */
import './sensitivity.css';
import type { LayerReport } from '../../../server/src/protocol';
import { createBars } from '../charts/bars';
import { createHeatmap } from '../charts/heatmap';
import { button, dropdown, progressRing, toggle } from '../controls';
import { announcer, h, notice, onFrame } from '../dom';
import type { SensitivityEvent, SensitivityState } from '../messages';
import { formatBits, formatBytes, formatInteger, formatPercent } from '../model/format';
import { joinLayers, summarize } from '../model/layers';
import type { LayerRow } from '../model/layers';
import { roleHeat } from '../model/matrix';
import { metricById, METRICS, rank } from '../model/metrics';
import { root, saveState, savedState, transport } from '../page';
import { connect } from '../rpc';
import { createDetail } from '../parts/detail';
import { createLayerTable } from '../parts/layerTable';

const view = savedState({ uri: '', metric: 'ratio', table: false, selected: null as string | null });
let state: SensitivityState | undefined;
let progress: { done: number; total: number } | undefined;
let ended: string | null = null;
const reports = new Map<string, LayerReport>();

const rpc = connect<'sensitivity'>(transport, receive);
const events = { onSelect: choose, onOpen: (name: string) => void open(name), onLeave: () => leave() };
const voice = announcer();
const bars = createBars(events);
const heatmap = createHeatmap(events);
const table = createLayerTable(events);
const detail = createDetail(events.onOpen);

const summary = h('p', { class: 'summary' });
const notices = h('div', { class: 'notices' });
const hint = h('p', { class: 'muted metric-hint' });
const analyze = button('Analyze Layers', () => void rpc.request('analyze', null, { timeout: 3_600_000 }).catch(fail), 'primary');
const busy = progressRing('Analyzing layers');
const preview = button('Preview', () => void rpc.request('preview', null).catch(fail));
const metricChoice = dropdown('Metric', METRICS, view.metric, (metric) => {
  remember({ metric });
  draw();
});
const twin = toggle('Table', view.table, (shown) => {
  remember({ table: shown });
  draw();
});
const charts = h('div', { class: 'charts' },
  h('section', { class: 'bars-pane', 'aria-label': 'Layers ranked' }, bars.element),
  h('section', { class: 'heatmap-pane', 'aria-label': 'Layers by role and block' }, heatmap.element));
const content = h('div', { class: 'content' }, charts, table.element, detail.element);

const page = root();
page.append(
  h('header', { class: 'header' }, summary, h('div', { class: 'toolbar' }, metricChoice, twin, h('span', { class: 'spring' }), busy, preview, analyze), hint, notices),
  content, voice.element,
);
const draw = onFrame(render);
void rpc.request('load', null).then((loaded) => receive({ type: 'state', state: loaded })).catch(fail);

function remember(change: Partial<typeof view>): void {
  Object.assign(view, change);
  saveState(view);
}

function receive(event: SensitivityEvent): void {
  switch (event.type) {
    case 'state':
      state = event.state;
      progress = event.state.running ? (progress ?? { done: 0, total: 0 }) : undefined;
      remember({ uri: event.state.uri });
      reports.clear();
      addReports(event.state.reports);
      break;
    case 'running':
      ended = null;
      progress = { done: 0, total: 0 };
      break;
    case 'reports':
      // Reports also come from runs nobody started here, such as writing the evidence report: they fill the charts only.
      if (progress !== undefined) {
        progress = { done: event.done, total: event.total };
      }
      addReports(event.layers);
      break;
    case 'ended':
      progress = undefined;
      ended = event.reason === 'cancelled' ? 'The analysis was cancelled; what was measured so far is shown.' : event.message;
      voice.say(event.reason === 'finished' ? `Analysis finished, ${reports.size} layers measured.` : (ended ?? ''));
      break;
  }
  draw();
}

function addReports(layers: readonly LayerReport[]): void {
  for (const report of layers) {
    reports.set(report.name, report);
  }
}

function rows(): LayerRow[] {
  return state?.plan === null || state === undefined ? [] : joinLayers(state.plan, reports, new Map(state.failures.map((failure) => [failure.name, failure.message])));
}

function render(): void {
  const all = rows();
  const metric = metricById(view.metric);
  const running = progress !== undefined;
  analyze.disabled = running || state?.plan === null;
  preview.disabled = state?.plan === null;
  page.dataset['state'] = running ? 'running' : reports.size > 0 ? 'measured' : 'empty';
  hint.textContent = metric.hint;
  renderSummary(all);
  busy.hidden = !running;
  renderNotices(all, running);
  content.hidden = all.length === 0;
  charts.hidden = view.table;
  table.element.hidden = !view.table;
  content.classList.toggle('with-table', view.table);
  const ranked = rank(all, metric);
  bars.draw(ranked, metric);
  heatmap.draw(roleHeat(all, metric));
  table.show(all);
  mark(all);
}

function renderSummary(all: readonly LayerRow[]): void {
  const plan = state?.plan ?? null;
  if (plan === null) {
    summary.replaceChildren(...(state === undefined ? [progressRing('Reading the plan')] : []));
    return;
  }
  const totals = summarize(plan, all);
  const count = progress !== undefined && progress.total > 0 ? `${progress.done} of ${progress.total}` : String(totals.measured);
  const parts = [
    plan.architecture, `${formatInteger(totals.layers)} layers`, `${formatPercent(totals.quantizedShare)} of the linear parameters quantized`,
    `${formatBits(totals.averageBits)} bits on average, side data included`, `${formatBytes(totals.packedBytes)} of ${formatBytes(totals.baselineBytes)}`, `${count} measured`,
  ];
  summary.replaceChildren(...parts.map((part) => h('span', { class: 'fact' }, part)));
}

function renderNotices(all: readonly LayerRow[], running: boolean): void {
  const list: HTMLElement[] = [];
  if (state !== undefined && state.error !== null) {
    list.push(notice('error', state.error));
  } else if (state !== undefined && all.length === 0) {
    list.push(notice('info', 'This config has no layers: its checkpoint has no linear layer that QuantScope knows.'));
  } else if (all.length > 0 && reports.size === 0 && !running) {
    list.push(notice('info', 'Nothing is measured yet. Analyze Layers measures every layer as the config quantizes it.'));
  }
  if (ended !== null) {
    list.push(notice('warning', ended));
  }
  const failed = state?.failures.length ?? 0;
  if (failed > 0) {
    list.push(notice('warning', `${failed} layers could not be measured; each says why when it is selected.`));
  }
  notices.replaceChildren(...list);
}

function choose(name: string): void {
  remember({ selected: name });
  mark(rows());
}

function mark(all: readonly LayerRow[]): void {
  const row = all.find(({ plan }) => plan.name === view.selected);
  const name = row?.plan.name ?? null;
  bars.select(name);
  heatmap.select(name);
  table.select(name);
  detail.show(row);
}

async function open(name: string): Promise<void> {
  choose(name);
  try {
    await rpc.request('reveal', { layer: name });
  } catch (error) {
    fail(error);
  }
}

function leave(): void {
  metricChoice.focus();
}

function fail(error: unknown): void {
  const text = error instanceof Error ? error.message : String(error);
  notices.replaceChildren(notice('warning', text));
  voice.say(text);
}

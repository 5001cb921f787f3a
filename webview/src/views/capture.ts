/** A capture of activations: each layer at each step as heat map and table, the highest first, with one selection through both. */
import './capture.css';
import type { CaptureResult } from '../../../server/src/protocol';
import { createHeatmap } from '../charts/heatmap';
import { button, dropdown, progressRing, searchField, toggle } from '../controls';
import { announcer, h, notice, onFrame } from '../dom';
import { captureHeat, captureKey, captureMetric, captureRows, CAPTURE_METRICS, filterLayers, findingCell } from '../model/capture';
import type { CaptureRow } from '../model/capture';
import { formatInteger } from '../model/format';
import { root, saveState, savedState, transport } from '../page';
import { createCaptureDetail } from '../parts/captureDetail';
import { createCaptureTable } from '../parts/captureTable';
import { createFindingList } from '../parts/findingList';
import { connect } from '../rpc';

/** More rows than anyone looks at; the table has them all. */
const SHOWN = 100;

/** `uri` and `config` are what the serializer reopens the panel with. */
const view = savedState({ uri: '', config: '', metric: 'absMax', query: '', table: false, selected: null as string | null, before: false, quantiles: false });
let capture: CaptureResult | undefined;
let all: CaptureRow[] = [];
let filled: string | null = null;

const rpc = connect<'capture'>(transport, ({ type }) => void load(type === 'edited'));
const voice = announcer();
const events = { onSelect: choose, onOpen: choose, onLeave: () => metricChoice.focus() };
const heatmap = createHeatmap(events);
const table = createCaptureTable(view.metric, events);
const detail = createCaptureDetail(view, () => saveState(view));
const findings = createFindingList({
  onSelect: (finding) => {
    const cell = findingCell(all, finding);
    if (cell !== undefined) {
      reveal(captureKey(cell));
    }
  },
  onLeave: () => metricChoice.focus(),
});

const summary = h('p', { class: 'summary' });
const notices = h('div', { class: 'notices' });
const hint = h('p', { class: 'muted metric-hint' });
const count = h('span', { class: 'muted' });
const metricChoice = dropdown('Metric', CAPTURE_METRICS, view.metric, (metric) => {
  remember({ metric });
  table.sort({ column: metric, descending: true });
  draw();
});
const filter = searchField('Filter layers', 'Filter layers by name', view.query, (query) => {
  remember({ query });
  draw();
});
const twin = toggle('Table', view.table, (shown) => {
  remember({ table: shown });
  draw();
});
const pane = h('section', { class: 'heatmap-pane', 'aria-label': 'Layers by step' }, heatmap.element);
const content = h('div', { class: 'content' }, pane, table.element, detail.element);

const page = root();
page.append(h('header', { class: 'header' }, summary, h('div', { class: 'toolbar' }, metricChoice, filter, count, h('span', { class: 'spring' }), twin), hint, notices, findings.element), content, voice.element);
const draw = onFrame(render);
summary.append(progressRing('Reading the capture'));
content.hidden = true;
void load();

function remember(change: Partial<typeof view>): void {
  Object.assign(view, change);
  saveState(view);
}

/** @param edited nothing but thresholds can be new */
async function load(edited = false): Promise<void> {
  try {
    const loaded = await rpc.request('load', null);
    if (edited && JSON.stringify(loaded.capture.thresholds) === JSON.stringify(capture?.thresholds)) {
      return;
    }
    capture = loaded.capture;
    all = captureRows(capture);
    filled = null;
    remember({ uri: loaded.uri, config: loaded.config });
    findings.show(capture.findings, 'No findings at these thresholds.');
    notices.replaceChildren();
    draw();
  } catch (error) {
    page.dataset['state'] = 'failed';
    const text = error instanceof Error ? error.message : String(error);
    notices.replaceChildren(notice('error', text), button('Try Again', () => void load()));
    voice.say(text);
  }
}

function render(): void {
  if (capture === undefined) {
    return;
  }
  const { architecture, items, steps, device } = capture;
  const layers = all;
  const metric = captureMetric(view.metric);
  const rows = filterLayers(layers, view.query);
  const heat = captureHeat(rows, metric, steps, SHOWN);
  const names = new Set(rows.map(({ layer }) => layer));
  page.dataset['state'] = 'shown';
  summary.replaceChildren(...[architecture, ...items, `${formatInteger(new Set(layers.map(({ layer }) => layer)).size)} layers`,
    `${new Set(layers.map(({ step }) => step)).size} of ${steps} steps`, ...(device ? [`bfloat16 on ${device.name}`] : [])].map((fact) => h('span', { class: 'fact', title: fact }, fact)));
  hint.textContent = metric.hint;
  count.textContent = view.table ? `${formatInteger(rows.length)} rows` : heat.rows.length < names.size ? `the ${heat.rows.length} highest of ${formatInteger(names.size)} layers; the table has all` : `${formatInteger(names.size)} layers`;
  renderNotices(layers);
  content.hidden = false;
  pane.hidden = view.table;
  table.element.hidden = !view.table;
  content.classList.toggle('with-table', view.table);
  heatmap.draw(heat);
  table.show(rows);
  mark(layers);
}

function renderNotices(layers: readonly CaptureRow[]): void {
  const broken = layers.filter(({ nonFinite }) => nonFinite > 0);
  const [first] = broken;
  notices.replaceChildren(...(first === undefined ? [] : [notice('warning',
    `${formatInteger(broken.length)} of ${formatInteger(layers.length)} rows hold NaN or infinite values; the first is ${first.layer}, ${first.half}, step ${first.step + 1}. Their tokens are left out of every other number.`)]));
}

function choose(selected: string): void {
  remember({ selected });
  mark(all);
}

/** Selects a cell that filter and limit may hide. */
function reveal(selected: string): void {
  choose(selected);
  voice.say(`Selected ${selected}`);
  if (!view.table && !heatmap.shows(selected)) {
    remember({ query: all.find((each) => captureKey(each) === selected)?.layer ?? '' });
    (filter as HTMLElement & { value: string }).value = view.query;
    draw();
  }
}

function mark(layers: readonly CaptureRow[]): void {
  const row = layers.find((each) => captureKey(each) === view.selected);
  const key = row === undefined ? null : view.selected;
  heatmap.select(key);
  table.select(key);
  if (key === null || key !== filled) {
    filled = key;
    detail.show(row, capture?.steps ?? 0);
    if (row !== undefined) {
      void fill(row, captureKey(row));
    }
  }
}

async function fill({ layer, half, step }: CaptureRow, key: string): Promise<void> {
  const cell = await rpc.request('cell', { layer, half, step }).catch((error: unknown) => (error instanceof Error ? error.message : String(error)));
  if (filled === key) {
    detail.fill(cell);
  }
}

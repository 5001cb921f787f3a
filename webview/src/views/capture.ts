/** A capture of activations: each layer at each step as heat map and table, the highest first, with one selection through both. */
import './capture.css';
import type { Capture, CaptureNumbers } from '../../../server/src/protocol';
import { createHeatmap } from '../charts/heatmap';
import { button, dropdown, progressRing, searchField, toggle } from '../controls';
import { announcer, facts, h, notice, onFrame } from '../dom';
import { captureHeat, captureKey, captureMetric, CAPTURE_METRICS, captureTitle, filterLayers } from '../model/capture';
import { formatInteger, formatNumber, formatRatio, NONE } from '../model/format';
import { root, saveState, savedState, transport } from '../page';
import { createCaptureTable } from '../parts/captureTable';
import { shapeTable } from '../parts/shapeTable';
import { connect } from '../rpc';

/** More rows than anyone looks at; the table has them all. */
const SHOWN = 100;

/** `uri` is what the serializer reopens the panel with. */
const view = savedState({ uri: '', metric: 'absMax', query: '', table: false, selected: null as string | null });
let capture: Capture | undefined;

const rpc = connect<'capture'>(transport, () => void load());
const voice = announcer();
const events = { onSelect: choose, onOpen: choose, onLeave: () => metricChoice.focus() };
const heatmap = createHeatmap(events);
const table = createCaptureTable(view.metric, events);
const detail = h('section', { class: 'detail', 'aria-label': 'Selected activations' });

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
const content = h('div', { class: 'content' }, pane, table.element, detail);

const page = root();
page.append(h('header', { class: 'header' }, summary, h('div', { class: 'toolbar' }, metricChoice, filter, count, h('span', { class: 'spring' }), twin), hint, notices), content, voice.element);
const draw = onFrame(render);
summary.append(progressRing('Reading the capture'));
content.hidden = true;
void load();

function remember(change: Partial<typeof view>): void {
  Object.assign(view, change);
  saveState(view);
}

async function load(): Promise<void> {
  try {
    const loaded = await rpc.request('load', null);
    capture = loaded.capture;
    remember({ uri: loaded.uri });
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
  const { architecture, items, steps, layers } = capture;
  const metric = captureMetric(view.metric);
  const rows = filterLayers(layers, view.query);
  const heat = captureHeat(rows, metric, steps, SHOWN);
  const names = new Set(rows.map(({ layer }) => layer));
  page.dataset['state'] = 'shown';
  summary.replaceChildren(...[architecture, ...items, `${formatInteger(new Set(layers.map(({ layer }) => layer)).size)} layers`,
    `${new Set(layers.map(({ step }) => step)).size} of ${steps} steps`].map((fact) => h('span', { class: 'fact', title: fact }, fact)));
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

function renderNotices(layers: readonly CaptureNumbers[]): void {
  const broken = layers.filter(({ nonFinite }) => nonFinite > 0);
  const [first] = broken;
  notices.replaceChildren(...(first === undefined ? [] : [notice('warning',
    `${formatInteger(broken.length)} of ${formatInteger(layers.length)} rows hold NaN or infinite values; the first is ${first.layer}, ${first.half}, step ${first.step + 1}. Their tokens are left out of every other number.`)]));
}

function choose(selected: string): void {
  remember({ selected });
  mark(capture?.layers ?? []);
}

function mark(layers: readonly CaptureNumbers[]): void {
  const row = layers.find((each) => captureKey(each) === view.selected);
  const key = row === undefined ? null : view.selected;
  heatmap.select(key);
  table.select(key);
  detail.replaceChildren(...(row === undefined ? [h('p', { class: 'muted hint' }, 'Select a layer at a step to see its numbers.')] : numbers(row, capture?.steps ?? 0)));
}

function numbers(row: CaptureNumbers, steps: number): HTMLElement[] {
  return [
    h('h2', {}, row.layer),
    h('p', { class: 'muted' }, captureTitle(row, steps)),
    facts([
      ['Largest magnitude', formatNumber(row.absMax)],
      ['Range over channels', row.channelRange === null ? NONE : formatRatio(row.channelRange), captureMetric('channelRange').hint],
      ['ρ of Proposition 1', formatNumber(row.rho), captureMetric('rho').hint],
      ['NaN or infinite', formatInteger(row.nonFinite)],
      ['Tokens', formatInteger(row.rows), 'Rows of activations, over all items.'],
    ]),
    h('h3', {}, 'Normalised tokens of the first item against the fixed marginal'),
    shapeTable(row.before, row.after, ['before rotation', 'after rotation']),
  ];
}

/** The sensitivity panel: which layers break (effect on the final output), why (errors of their weights), and the cheapest fix (allocation), with one selection through all of them. */
import './sensitivity.css';
import type { LayerReport, SensitivityUnit } from '../../../server/src/protocol';
import { button, progressRing } from '../controls';
import { announcer, h, notice, onFrame } from '../dom';
import type { Diagnosis, SensitivityEvent, SensitivityState, SensitivityTab } from '../messages';
import { rowFor } from '../model/effect';
import { formatBits, formatBytes, formatInteger, formatPercent } from '../model/format';
import { joinLayers, summarize } from '../model/layers';
import type { LayerRow } from '../model/layers';
import { root, saveState, savedState, transport } from '../page';
import { connect } from '../rpc';
import { createAllocationTab } from '../parts/allocationTab';
import type { AllocationView } from '../parts/allocationTab';
import { createDetail } from '../parts/detail';
import { createEffectTab } from '../parts/effectTab';
import { layerDiagnosis, unitDetail } from '../parts/layerDiagnosis';
import { createTabs } from '../parts/tabs';
import { createWeightsTab } from '../parts/weightsTab';

const none: Diagnosis = { ranking: null, firstBad: null, allocation: null };
/** `uri` and `diagnosis` are what the serializer reopens the panel with. */
const view = savedState({
  uri: '', tab: 'effect' as SensitivityTab, selected: null as string | null, diagnosis: none,
  metric: 'ratio', table: false, by: 'layer' as SensitivityUnit, effectTable: false, loss: 'sensitivity' as AllocationView['loss'], budget: '', verify: true, planTable: false,
});
let state: SensitivityState | undefined;
let progress: { done: number; total: number } | undefined;
let ended: string | null = null;
let failure: string | null = null;
const reports = new Map<string, LayerReport>();

const rpc = connect<'sensitivity'>(transport, receive);
const ask = (request: Promise<unknown>): void => void request.catch(fail);
const voice = announcer();
const events = { onSelect: choose, onOpen: (name: string) => void open(name), onView: remember };
const effect = createEffectTab(view, { ...events, onRank: (by) => ask(rpc.request('rank', { by })), onFindBad: () => ask(rpc.request('findBad', null)) });
const weights = createWeightsTab(view, { ...events, onAnalyze: () => ask(rpc.request('analyze', null, { timeout: 3_600_000 })) });
const allocation = createAllocationTab(view, { ...events, onAllocate: (options) => ask(rpc.request('allocate', options)), onApply: () => ask(rpc.request('apply', null)) });
const tabs = createTabs<SensitivityTab>('Sensitivity', [
  { id: 'effect', title: 'Effect on Output', panel: effect.element }, { id: 'weights', title: 'Weight Error', panel: weights.element }, { id: 'allocation', title: 'Bit Allocation', panel: allocation.element },
], view.tab, showTab);
const detail = createDetail(events.onOpen, (layer) => void rpc.request('explain', { layer }));

const summary = h('p', { class: 'summary' });
const notices = h('div', { class: 'notices' });
const preview = button('Preview', () => ask(rpc.request('preview', null)));
const content = h('div', { class: 'content' }, tabs.panels, detail.element);

const page = root();
page.append(h('header', { class: 'header' }, summary, h('div', { class: 'toolbar' }, tabs.list, h('span', { class: 'spring' }), preview), notices), content, voice.element);
const draw = onFrame(render);
void rpc.request('load', null).then((loaded) => receive({ type: 'state', state: loaded })).catch(fail);

function remember(change: Partial<typeof view>): void {
  Object.assign(view, change);
  saveState(view);
}

function receive(event: SensitivityEvent): void {
  failure = null;
  switch (event.type) {
    case 'state':
      state = event.state;
      progress = event.state.running ? (progress ?? { done: 0, total: 0 }) : undefined;
      remember({ uri: event.state.uri, diagnosis: event.state.diagnosis });
      reports.clear();
      addReports(event.state.reports);
      if (event.state.tab !== null) {
        showTab(event.state.tab);
      }
      break;
    case 'show':
      showTab(event.tab);
      break;
    case 'diagnosis':
      remember({ diagnosis: { ...view.diagnosis, ...event.change } });
      announce(event.change);
      break;
    case 'progress':
      Object.assign(view.diagnosis[event.job] ?? {}, { message: event.message, percent: event.percent });
      break;
    case 'scores':
      addScores(event);
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

function addScores({ scores, measured, total }: Extract<SensitivityEvent, { type: 'scores' }>): void {
  const { ranking } = view.diagnosis;
  if (ranking !== null) {
    const names = new Set(scores.map(({ name }) => name));
    Object.assign(ranking, { measured, total, scores: [...ranking.scores.filter(({ name }) => !names.has(name)), ...scores] });
  }
}

function announce({ ranking, firstBad, allocation: allocated }: Partial<Diagnosis>): void {
  const finished = [
    ranking?.phase === 'finished' && `Ranking finished, ${ranking.total} measured.`,
    firstBad?.phase === 'finished' && (firstBad.result?.firstBad.first ? `First bad layer: ${firstBad.result.firstBad.first.layer}.` : 'No bad layer.'),
    allocated?.phase === 'finished' && `Allocation finished, ${allocated.result?.changes.length ?? 0} layers change.`,
  ].filter((text) => typeof text === 'string');
  if (finished.length > 0) {
    voice.say(finished.join(' '));
  }
}

function showTab(tab: SensitivityTab): void {
  remember({ tab });
  tabs.choose(tab);
  draw();
}

function rows(): LayerRow[] {
  return state === undefined || state.plan === null ? [] : joinLayers(state.plan, reports, new Map(state.failures.map((each) => [each.name, each.message])));
}

function render(): void {
  const all = rows();
  const plan = state?.plan ?? null;
  const running = progress !== undefined;
  const { diagnosis } = view;
  preview.disabled = plan === null;
  page.dataset['state'] = running ? 'running' : reports.size > 0 ? 'measured' : 'empty';
  page.dataset['ranking'] = diagnosis.ranking?.phase ?? 'none';
  page.dataset['allocation'] = diagnosis.allocation?.phase ?? 'none';
  renderSummary(all);
  renderNotices(all);
  content.hidden = all.length === 0;
  effect.draw({ plan, ranking: diagnosis.ranking, firstBad: diagnosis.firstBad });
  weights.draw({ rows: all, running, measured: reports.size, failed: state?.failures.length ?? 0 });
  allocation.draw({ plan, budgetBytes: state?.budgetBytes ?? null, allocation: diagnosis.allocation });
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
    `${formatBits(totals.averageBits)} bits on average, side data included`, `${formatBytes(totals.packedBytes)} of ${formatBytes(totals.baselineBytes)}`,
    ...(totals.measured > 0 || progress !== undefined ? [`${count} weights measured`] : []),
  ];
  summary.replaceChildren(...parts.map((part) => h('span', { class: 'fact' }, part)));
}

function renderNotices(all: readonly LayerRow[]): void {
  const list: HTMLElement[] = [];
  if (state !== undefined && state.error !== null) {
    list.push(notice('error', state.error));
  } else if (state !== undefined && all.length === 0) {
    list.push(notice('info', 'This config has no layers: its checkpoint has no linear layer that QuantScope knows.'));
  }
  list.push(...[ended, failure].filter((text) => text !== null).map((text) => notice('warning', text)));
  notices.replaceChildren(...list);
}

function choose(name: string): void {
  remember({ selected: name });
  mark(rows());
}

/** A block or role stands for its layers; charts of layers show its first. */
function layersOf(name: string): readonly string[] {
  const score = rowFor(view.diagnosis.ranking?.scores ?? [], name);
  return score?.name === name ? score.layers : [name];
}

function mark(all: readonly LayerRow[]): void {
  const name = view.selected;
  const layers = name === null ? [] : layersOf(name);
  const row = all.find(({ plan }) => plan.name === layers[0]);
  const single = layers.length === 1 && row !== undefined;
  effect.select(row === undefined ? null : name);
  weights.select(row?.plan.name ?? null);
  allocation.select(single ? row.plan.name : null);
  const more = name === null || row === undefined ? [] : layerDiagnosis(name, view.diagnosis);
  detail.show(single ? row : undefined, name === null || single || row === undefined ? more : [...unitDetail(name, layers), ...more]);
}

async function open(name: string): Promise<void> {
  choose(name);
  try {
    await rpc.request('reveal', { layer: layersOf(name)[0] ?? name });
  } catch (error) {
    fail(error);
  }
}

function fail(error: unknown): void {
  failure = error instanceof Error ? error.message : String(error);
  voice.say(failure);
  draw();
}

/** The preview panel: pictures of the quantized model beside full precision, and the numbers that say how far they are apart. */
import './preview.css';
import { createStepCurve, seriesKey } from '../charts/stepCurve';
import { button, dropdown, progressRing, toggle } from '../controls';
import { announcer, h, notice, onFrame } from '../dom';
import type { PictureFile, PreviewEvent, PreviewState, PreviewSummary } from '../messages';
import { drawnCandidates, executionText, numbersOf } from '../model/previewDeployed';
import { previewMarkdown } from '../model/previewMarkdown';
import { AGREEMENT, curve, metricRows, OUTPUT_ERROR, referenceWarning, scopeText, settingTexts } from '../model/previewMetrics';
import { createDeployedPart } from '../parts/deployed';
import { root, saveState, savedState, transport } from '../page';
import { createStepTables, metricTable } from '../parts/previewNumbers';
import { createStage, STAGE_DEFAULTS } from '../parts/previewStage';
import { connect } from '../rpc';

/** A save dialog waits for the user, not for the machine. */
const PATIENCE = { timeout: 3_600_000 };

/** `candidates`, `asDeployed` and `result` are what the serializer reopens the panel with. */
const view = savedState({ candidates: [] as PreviewState['candidates'], asDeployed: false, result: null as PreviewSummary | null, ...STAGE_DEFAULTS, metric: 'psnrDb', table: false });
let state: PreviewState | undefined;
let told: string | null = null;

const rpc = connect<'preview'>(transport, receive);
const voice = announcer();
const stage = createStage({ onChange: change, onRemember: remember, onSave: (files) => void savePicture(files) });
const curveEvents = {
  onSelect: (step: number, candidate: number) => change({ step, candidate }),
  onLeave: () => twin.focus(),
};
const errorCurve = createStepCurve(curveEvents);
const agreementCurve = createStepCurve(curveEvents);

const summary = h('p', { class: 'summary' });
const scopes = h('div', { class: 'scopes' });
const notices = h('div', { class: 'notices' });
const doing = h('span', {});
const busy = h('span', { class: 'busy' }, progressRing('Preview running'), doing);
const cancel = button('Cancel', () => {
  cancel.disabled = true;
  void rpc.request('cancel', null).catch(fail);
});
const deployed = toggle('As Deployed', view.asDeployed, deploy);
deployed.title = 'Also runs quantized layers on integer kernels, as a deployed model does, and shows how far that is from fake quantization';
const again = button('Run Again', () => void rpc.request('run', null).catch(fail), 'primary');
const copy = button('Copy as Markdown', () => void copyMarkdown());
const metrics = h('div', { class: 'metric-pane' });
const agreementChoice = dropdown('Agreement to draw', AGREEMENT, view.metric, (metric) => change({ metric }));
const twin = toggle('Table', view.table, (table) => change({ table }));
const agreementHint = h('span', { class: 'muted' });
const curves = h('div', { class: 'curves' },
  h('h3', {}, `${OUTPUT_ERROR.title}, ${OUTPUT_ERROR.better}`), errorCurve.element,
  h('div', { class: 'toolbar' }, agreementChoice, agreementHint), agreementCurve.element);
const stepTables = createStepTables((step) => change({ step }));
const perStep = h('section', { class: 'per-step', 'aria-label': 'Per step' }, h('div', { class: 'title' }, h('h3', {}, 'Per step'), twin), curves, stepTables.element);
const deployedPart = createDeployedPart((step) => change({ step }));
const numbers = h('section', { class: 'numbers-pane', 'aria-label': 'Numbers' }, metrics, h('div', { class: 'toolbar' }, copy), deployedPart.element, perStep);
const content = h('div', { class: 'preview-content' }, stage.element, numbers);

const page = root();
page.append(h('header', { class: 'header' }, h('div', { class: 'preview-title' }, summary, deployed, cancel, again), busy, scopes, notices), content, voice.element);
const draw = onFrame(render);
void rpc.request('load', null).then((loaded) => receive({ type: 'state', state: loaded })).catch(fail);

function remember(next: Partial<typeof view>): void {
  Object.assign(view, next);
  saveState(view);
}

function change(next: Partial<typeof view>): void {
  remember(next);
  render();
}

function receive(event: PreviewEvent): void {
  if (event.type === 'state') {
    state = event.state;
    remember({ candidates: state.candidates, asDeployed: state.asDeployed, result: state.result });
  } else if (state !== undefined) {
    switch (event.type) {
      case 'progress':
        state.activity = event.activity;
        break;
      case 'frame':
        state.frames.push(event.frame);
        state.items = event.items;
        break;
      case 'ended':
        Object.assign(state, { phase: event.phase, message: event.message, result: event.result, ...(event.result === null ? {} : { items: event.result.items }) });
        remember({ result: event.result });
        voice.say(spoken(event.phase, drawnNumbers(), event.message));
        break;
      case 'outdated':
        state.outdated = true;
        break;
    }
  }
  told = null;
  draw();
}

function spoken(phase: PreviewState['phase'], result: PreviewSummary | null, message: string | null): string {
  const found = result === null ? '' : metricRows(result).map(({ title, texts }) => `${title} ${texts.join(' and ')}`).join(', ');
  return { idle: 'Not run.', running: '', finished: `Preview finished. ${found}`, cancelled: 'Preview cancelled.', failed: `Preview failed. ${message ?? ''}` }[phase];
}

/** Pictures and numbers that are there are shown or hidden at once; the extension runs what is missing. The candidate in view stays that of its config. */
function deploy(on: boolean): void {
  if (state !== undefined) {
    state.asDeployed = on;
    change({ asDeployed: on, candidate: on ? 2 * view.candidate + 1 : Math.floor(view.candidate / 2) });
    void rpc.request('deploy', { on }).catch(fail);
  }
}

let drawnLast: { of: PreviewSummary; key: string; numbers: PreviewSummary } | undefined;

/** The result as far as it is drawn; the same object until that changes. */
function drawnNumbers(): PreviewSummary | null {
  if (state === undefined || state.result === null) {
    return null;
  }
  const drawn = drawnCandidates(state);
  const key = String(drawn.map(({ index }) => index));
  if (drawnLast?.of !== state.result || drawnLast.key !== key) {
    drawnLast = { of: state.result, key, numbers: numbersOf(state.result, drawn) };
  }
  return drawnLast.numbers;
}

function render(): void {
  if (state === undefined) {
    return;
  }
  const { phase, frames } = state;
  const result = drawnNumbers();
  const running = phase === 'running';
  page.dataset['state'] = phase;
  page.dataset['pictures'] = String(frames.length);
  renderButtons(running);
  deployed.setAttribute('aria-pressed', String(state.asDeployed));
  renderHeader(state, result);
  const pictures = frames.length > 0 || running;
  stage.element.hidden = !pictures;
  numbers.hidden = result === null;
  content.classList.toggle('alone', result === null || !pictures);
  if (pictures) {
    stage.show(state, view);
  }
  if (result !== null) {
    renderNumbers(result, pictures ? stage.step() : typeof view.step === 'number' ? view.step : null);
  }
}

/** The button that goes away hands the focus to the one that comes. */
function renderButtons(running: boolean): void {
  const held = [cancel, again].includes(document.activeElement as typeof cancel);
  if (cancel.hidden === running) {
    cancel.disabled = false;
  }
  cancel.hidden = !running;
  again.hidden = running;
  again.textContent = state?.phase === 'idle' ? 'Run' : 'Run Again';
  busy.hidden = !running;
  if (held) {
    (running ? cancel : again).focus();
  }
}

function renderHeader(current: PreviewState, result: PreviewSummary | null): void {
  const { phase, message, activity, frames, outdated } = current;
  const facts = result === null ? [phase === 'running' ? 'Preview running' : 'Preview'] : [result.architecture, ...settingTexts(result.settings), result.reference.cached ? 'reference from the cache' : 'reference computed',
    `${(result.milliseconds / 1000).toFixed(1)} s`];
  if (result === null && frames.length > 0) {
    facts.push(`${frames.length} ${frames.length === 1 ? 'picture' : 'pictures'}, partial`);
  }
  summary.replaceChildren(...facts.map((fact) => h('span', { class: 'fact' }, fact)));
  scopes.replaceChildren(...drawnCandidates(current).map(({ label, source, deployed: onIntegers }, index) => {
    const measured = result?.candidates[index];
    if (onIntegers) {
      return h('p', { class: 'scope' }, seriesKey(index), h('span', { class: 'label' }, label), measured?.deployed === undefined ? null : h('span', { class: 'muted' }, executionText(measured.deployed)));
    }
    const link = h('button', { type: 'button', class: 'link' }, 'Go to Config');
    link.addEventListener('click', () => void rpc.request('goToConfig', { candidate: source }).catch(fail));
    return h('p', { class: 'scope' }, seriesKey(index), h('span', { class: 'label' }, label), measured === undefined ? null : h('span', { class: 'muted' }, scopeText(measured)), link);
  }));
  doing.textContent = activity.percent === null ? activity.message : `${Math.floor(activity.percent)} % · ${activity.message}`;
  doing.title = doing.textContent;
  const list: HTMLElement[] = [];
  const broken = result === null ? null : referenceWarning(result.reference);
  if (broken !== null) {
    list.push(notice('warning', broken));
  }
  if (phase === 'failed') {
    list.push(notice('error', message ?? 'The preview failed.'));
  } else if (phase === 'cancelled') {
    list.push(notice('warning', frames.length === 0 ? 'Cancelled before the first picture.' : 'Cancelled. The pictures that were ready stay; they are partial, and there are no metrics.'));
  } else if (phase === 'idle') {
    list.push(notice('info', 'Nothing has been run yet. Run shows the pictures of the quantized model beside full precision.'));
  } else if (phase === 'finished' && frames.length === 0) {
    list.push(notice('info', 'These are the numbers of the last run. Its pictures are not kept when the window reloads; Run Again brings them back.'));
  }
  if (outdated) {
    list.push(notice('info', 'The config was edited after this run began.'));
  }
  if (told !== null) {
    list.push(notice('warning', told));
  }
  notices.replaceChildren(...list);
}

function renderNumbers(result: PreviewSummary, selected: number | null): void {
  metrics.replaceChildren(metricTable(result));
  deployedPart.show(result, selected);
  const steps = result.candidates.some((candidate) => candidate.perStep.length > 0);
  perStep.hidden = !steps;
  curves.hidden = view.table;
  stepTables.element.hidden = !view.table;
  const metric = AGREEMENT.find(({ id }) => id === view.metric) ?? OUTPUT_ERROR;
  agreementHint.textContent = metric.better;
  for (const [plot, drawn] of [[errorCurve, OUTPUT_ERROR], [agreementCurve, metric]] as const) {
    plot.draw({ metric: drawn, steps: result.settings.steps, selected, series: result.candidates.map(({ label, perStep: points }) => ({ label, points: curve(points, drawn) })) });
  }
  stepTables.show(result, selected);
}

async function savePicture(files: PictureFile[]): Promise<void> {
  try {
    const saved = await rpc.request('save', { pictures: files }, PATIENCE);
    voice.say(saved === null ? 'Nothing was saved.' : `Saved as ${saved}.`);
  } catch (error) {
    fail(error);
  }
}

async function copyMarkdown(): Promise<void> {
  const result = drawnNumbers();
  if (state !== undefined && result !== null) {
    try {
      await rpc.request('copy', { markdown: previewMarkdown(result, state.outdated) });
      voice.say('Copied as Markdown.');
      copy.textContent = 'Copied';
      copy.addEventListener('blur', () => {
        copy.textContent = 'Copy as Markdown';
      }, { once: true });
    } catch (error) {
      fail(error);
    }
  }
}

function fail(error: unknown): void {
  told = error instanceof Error ? error.message : String(error);
  voice.say(told);
  if (state === undefined) {
    notices.replaceChildren(notice('error', told));
  }
  draw();
}

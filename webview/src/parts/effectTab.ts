/** What each layer, block or role does to the final output: bars and heat map over time steps, controls in words, and the first layer that goes wrong. */
import type { Plan, Score, Sensitivity, SensitivityUnit } from '../../../server/src/protocol';
import { createBars } from '../charts/bars';
import { createHeatmap } from '../charts/heatmap';
import type { ChartEvents } from '../charts/marks';
import { button, dropdown, progressRing, toggle } from '../controls';
import { h, notice } from '../dom';
import type { FirstBadState, RankingState } from '../messages';
import { controlsInWords, controlsSummary, EFFECT_HINT, EFFECT_SCALE, effectBars, effectHeat, outdated, rankingText, rowFor, UNITS, worstFirst } from '../model/effect';
import { createEffectTable } from './effectTable';
import { layerLink } from './layerLink';

export interface EffectView { by: SensitivityUnit; effectTable: boolean }
export interface EffectData { plan: Plan | null; ranking: RankingState | null; firstBad: FirstBadState | null }
export interface EffectEvents extends Omit<ChartEvents, 'onLeave'> { onRank: (by: SensitivityUnit) => void; onFindBad: () => void; onView: (change: Partial<EffectView>) => void }

export function createEffectTab(view: EffectView, events: EffectEvents): { element: HTMLElement; draw(data: EffectData): void; select(name: string | null): void } {
  const unitChoice = dropdown('Swap one at a time', UNITS, view.by, (by) => change({ by: by as SensitivityUnit }));
  const onLeave = (): void => unitChoice.focus();
  const bars = createBars('Ranked by effect on the final output', { ...events, onLeave });
  // A cell is named by its row and step; a selection is the row.
  const ofCell = (name: string): string => rowFor(scores, name)?.name ?? name.slice(0, name.lastIndexOf(' '));
  const heatmap = createHeatmap({ onSelect: (name) => pick(name), onOpen: (name) => events.onOpen(ofCell(name)), onLeave });
  const table = createEffectTable({ ...events, onLeave });
  const rank = button('Rank Layers', () => events.onRank(shown.by), 'primary');
  const findBad = button('Find First Bad Layer', events.onFindBad);
  const busy = progressRing('Working');
  const status = h('p', { class: 'ranking-status' });
  const hint = h('p', { class: 'muted metric-hint' }, EFFECT_HINT);
  const notices = h('div', { class: 'notices' });
  const controls = h('section', { class: 'controls', 'aria-label': 'Controls' });
  const heatPane = h('section', { class: 'heatmap-pane', 'aria-label': 'Effect by time step' }, heatmap.element);
  const charts = h('div', { class: 'charts' }, h('section', { class: 'bars-pane', 'aria-label': 'Ranked by effect' }, bars.element), heatPane);
  const element = h('section', { class: 'panel' },
    h('div', { class: 'panel-head' },
      h('div', { class: 'toolbar' }, unitChoice, toggle('Table', view.effectTable, (effectTable) => change({ effectTable })), h('span', { class: 'spring' }), busy, findBad, rank), hint, status, notices, controls),
    charts, table.element);
  let shown = view;
  let data: EffectData = { plan: null, ranking: null, firstBad: null };
  let scores: Score[] = [];
  let cell: string | null = null;
  let told: Sensitivity | undefined;

  function change(next: Partial<EffectView>): void {
    shown = { ...shown, ...next };
    events.onView(next);
    draw();
  }

  function pick(name: string): void {
    cell = name;
    events.onSelect(ofCell(name));
  }

  function draw(): void {
    const { plan, ranking, firstBad } = data;
    scores = worstFirst(ranking?.scores ?? []);
    const running = ranking?.phase === 'running';
    const searching = firstBad?.phase === 'running';
    const plural = UNITS.find(({ id }) => id === shown.by)?.plural ?? '';
    rank.textContent = `Rank ${plural.charAt(0).toUpperCase()}${plural.slice(1)}`;
    rank.disabled = plan === null || running;
    findBad.disabled = plan === null || searching;
    busy.hidden = !running && !searching;
    status.textContent = ranking === null ? '' : [rankingText(ranking), running && ranking.message !== '' ? `${Math.round(ranking.percent)} %: ${ranking.message}` : ''].filter(Boolean).join(' ');
    notices.replaceChildren(...noticesOf(data, events));
    const sensitivity = ranking?.result?.sensitivity;
    controls.hidden = sensitivity === undefined || sensitivity.additivity === null;
    if (sensitivity !== told) {
      told = sensitivity;
      controls.replaceChildren(...(sensitivity === undefined ? [] : [controlsOf(sensitivity)]));
    }
    charts.hidden = shown.effectTable || scores.length === 0;
    table.element.hidden = !shown.effectTable || scores.length === 0;
    element.classList.toggle('with-table', shown.effectTable);
    bars.draw(effectBars(scores), EFFECT_SCALE);
    const heat = effectHeat(scores, ranking?.by ?? 'layer');
    heatPane.hidden = heat.cells.length === 0;
    heatmap.draw(heat);
    table.show(scores);
  }

  return {
    element,
    draw: (next) => {
      data = next;
      draw();
    },
    select: (name) => {
      const row = rowFor(scores, name)?.name ?? null;
      bars.select(row);
      table.select(row);
      heatmap.select(cell !== null && ofCell(cell) === row ? cell : row);
    },
  };
}

/** One line, and what it means; open from the start when a control says that the numbers do not mean what they seem to. */
function controlsOf(sensitivity: Sensitivity): HTMLElement {
  const all = controlsInWords(sensitivity);
  return h('details', { open: all.some(({ severity }) => severity !== 'info') }, h('summary', {}, `Controls: ${controlsSummary(sensitivity)}`), ...all.map(({ severity, text }) => notice(severity, text)));
}

function noticesOf({ plan, ranking, firstBad }: EffectData, events: EffectEvents): HTMLElement[] {
  const list: HTMLElement[] = [];
  if (ranking === null && firstBad === null && plan !== null) {
    list.push(notice('info', 'Nothing is ranked yet. Rank Layers swaps each into the clean model and reruns what comes after it: estimates within seconds, then measured numbers.'));
  }
  if (ranking !== null && outdated(ranking.planHash, plan)) {
    list.push(notice('warning', 'The config has changed since this ranking. Rank again: what stayed the same comes from the cache.'));
  }
  if (ranking?.phase === 'failed') {
    list.push(notice('error', ranking.message));
  } else if (ranking?.phase === 'cancelled') {
    list.push(notice('warning', 'The ranking was stopped; what was measured is kept, and the next one goes on from there.'));
  }
  if (firstBad?.phase === 'failed') {
    list.push(notice('error', firstBad.message));
  } else if (firstBad?.phase === 'cancelled') {
    list.push(notice('warning', 'The search for the first bad layer was stopped.'));
  } else if (firstBad?.phase === 'running') {
    list.push(notice('info', `Looking for the first bad layer: ${Math.round(firstBad.percent)} % ${firstBad.message}`));
  }
  const found = firstBad?.result ?? null;
  return found === null ? list : [...list, badLayers(found, plan, events)];
}

function badLayers({ firstBad: { findings, bounds }, planHash }: NonNullable<FirstBadState['result']>, plan: Plan | null, events: EffectEvents): HTMLElement {
  const old = outdated(planHash, plan) ? ' The config has changed since.' : '';
  if (findings.length === 0) {
    return notice('info', `No bad layer: weights are finite, and no output departs from the clean one by more than ${100 * bounds.relativeMse} % of its energy.${old}`);
  }
  return h('div', { class: 'findings' }, ...findings.map(({ layer, kind, at, explanation }) => {
    const entry = notice(kind === 'outlier' ? 'warning' : 'error', '');
    entry.lastElementChild?.replaceChildren(layerLink(layer, events), at === null ? ` (weights): ${explanation}` : ` (step ${at.step + 1}, ${at.half}, item ${at.item + 1}): ${explanation}`, old);
    return entry;
  }));
}

/** The cheapest fix under a budget: the curve of best plans with the user's plan on it, what would change, and the button that changes it. */
import type { AllocateParams, Plan } from '../../../server/src/protocol';
import type { ChartEvents } from '../charts/marks';
import { createPareto } from '../charts/pareto';
import { button, dropdown, progressRing, searchField, toggle } from '../controls';
import { h, notice } from '../dom';
import type { AllocationState } from '../messages';
import { formatBytes } from '../model/format';
import { namedPlans, paretoMarks, pointText, readBudget, sizesShown } from '../model/pareto';
import { finalistTable } from './finalists';
import { planDiff, planSummary } from './planDiff';
import { createPlanTable, planRows } from './planTable';

type Loss = AllocateParams['loss'];

const LOSSES: readonly { id: Loss; title: string }[] = [
  { id: 'sensitivity', title: 'Effect on output (measured)' }, { id: 'outputs', title: 'Error of layer outputs (local)' }, { id: 'weights', title: 'Error of weights (local)' },
];

export interface AllocationView { loss: Loss; budget: string; verify: boolean; planTable: boolean }
export interface AllocationData { plan: Plan | null; budgetBytes: number | null; allocation: AllocationState | null }
export interface AllocationEvents extends Omit<ChartEvents, 'onLeave'> {
  onAllocate: (options: { loss: Loss; budget: ReturnType<typeof readBudget>; verify: boolean }) => void;
  onApply: () => void;
  onView: (change: Partial<AllocationView>) => void;
}

export function createAllocationTab(view: AllocationView, events: AllocationEvents): { element: HTMLElement; draw(data: AllocationData): void; select(name: string | null): void } {
  const budget = searchField('Budget', 'Budget of the config', view.budget, (text) => change({ budget: text }));
  const loss = dropdown('Loss to minimise', LOSSES, view.loss, (id) => change({ loss: id as Loss }));
  const allocate = button('Allocate', () => events.onAllocate({ loss: shown.loss, budget: readBudget(shown.budget), verify: shown.verify }), 'primary');
  const apply = button('Apply to Config', events.onApply, 'primary');
  const busy = progressRing('Allocating bits');
  const status = h('p', { class: 'allocation-status' });
  const notices = h('div', { class: 'notices' });
  const about = h('p', { class: 'muted plan-about', 'aria-live': 'polite' });
  const choosePlan = (id: string): void => {
    chosen = id;
    draw();
  };
  const takeSize = (bytes: number): void => {
    budget.value = `${bytes}B`;
    change({ budget: budget.value });
    budget.focus();
  };
  const pareto = createPareto({ onSelect: ({ id }) => choosePlan(id), onOpen: ({ point }) => takeSize(point.bytes), onLeave: () => loss.focus() });
  const table = createPlanTable({ onSelect: ({ name }) => choosePlan(name), onEnter: ({ point }) => takeSize(point.bytes), onLeave: () => loss.focus() });
  const summary = h('section', { class: 'plan-summary', 'aria-label': 'Your plan and the recommended one' });
  const diff = h('section', { class: 'plan-diff', 'aria-label': 'What would change' });
  const finalists = h('section', { class: 'finalists-pane', 'aria-label': 'Plans run end to end' });
  const chart = h('section', { class: 'pareto-pane', 'aria-label': 'Size against loss' }, pareto.element);
  const body = h('div', { class: 'allocation-body' }, chart, table.element, about, summary, finalists, diff);
  const element = h('section', { class: 'panel allocation' },
    h('div', { class: 'panel-head' },
      h('div', { class: 'toolbar' }, budget, loss, toggle('Run Finalists', view.verify, (verify) => change({ verify })), toggle('Table', view.planTable, (planTable) => change({ planTable })), h('span', { class: 'spring' }), busy, allocate, apply),
      h('p', { class: 'muted metric-hint' }, 'A budget is a size of the whole checkpoint ("1.6MB") or average bits per linear weight ("4.5 bits"). Effect on output takes longest and is the one to trust; local errors are nearly the same in every layer behind a rotation. Run Finalists previews the best plans and simple rules end to end, and recommends the best of them.'),
      status, notices),
    body);
  let shown = view;
  let data: AllocationData = { plan: null, budgetBytes: null, allocation: null };
  let drawn: unknown;
  let chosen: string | null = null;
  let marked: string | null = null;

  function change(next: Partial<AllocationView>): void {
    shown = { ...shown, ...next };
    events.onView(next);
    draw();
  }

  function draw(): void {
    const { plan, allocation } = data;
    const result = allocation?.result ?? null;
    const running = allocation?.phase === 'running';
    const applied = result !== null && plan?.hash === result.newPlanHash;
    allocate.disabled = plan === null || running;
    busy.hidden = !running;
    apply.hidden = result === null || result.edits.length === 0;
    apply.disabled = result === null || plan?.hash !== result.planHash || applied;
    budget.setAttribute('placeholder', data.budgetBytes === null ? 'Budget, such as 1.6MB' : `${formatBytes(data.budgetBytes)} (config)`);
    status.textContent = running ? `${Math.round(allocation.percent)} %: ${allocation.message === '' ? 'preparing' : allocation.message}` : '';
    notices.replaceChildren(...noticesOf(data, applied));
    body.hidden = result === null;
    chart.hidden = shown.planTable;
    table.element.hidden = !shown.planTable;
    if (result !== null) {
      const { allocation: found } = result;
      const marks = paretoMarks(found);
      const mark = marks.find(({ id, names }) => id === chosen || (chosen !== null && names.includes(chosen))) ?? marks.find(({ kind }) => kind === 'recommended');
      pareto.draw({ marks, curve: found.pareto, sizes: sizesShown(found), budgetBytes: found.budgetBytes, selected: mark?.id ?? null });
      const plans = planRows(found);
      const row = plans.find(({ name }) => name === chosen) ?? namedPlans(found).find(({ name }) => name === mark?.id);
      about.textContent = `${row ? `${row.name}: ${pointText(row.point)}. ${row.about}` : (mark?.description ?? '')} Enter takes its size as the next budget.`;
      if (drawn !== result) {
        drawn = result;
        table.show(plans);
        summary.replaceChildren(...planSummary(found));
        diff.replaceChildren(...planDiff(result, events));
        finalists.replaceChildren(...finalistTable(found));
        markLayer();
      }
    }
  }

  /** Opens the group that holds the selected layer. */
  function markLayer(): void {
    for (const link of diff.querySelectorAll<HTMLElement>('.layer-link')) {
      const own = link.dataset['layer'] === marked;
      link.classList.toggle('selected', own);
      link.setAttribute('aria-current', String(own));
      const group = own ? link.closest('details') : null;
      if (group !== null) {
        group.open = true;
      }
    }
  }

  return {
    element,
    draw: (next) => {
      data = next;
      draw();
    },
    select: (name) => {
      marked = name;
      markLayer();
    },
  };
}

function noticesOf({ plan, allocation }: AllocationData, applied: boolean): HTMLElement[] {
  if (allocation === null) {
    return plan === null ? [] : [notice('info', 'No plan was made yet. Allocate chooses the bits of every layer that no rule of yours decides, so that the loss is least and the budget holds to the byte.')];
  }
  const { phase, message, result } = allocation;
  const list: HTMLElement[] = [];
  if (phase === 'failed') {
    list.push(notice('error', message));
  } else if (phase === 'cancelled') {
    list.push(notice('warning', 'The allocation was stopped; what was measured is kept, and the next one goes on from there.'));
  }
  if (result !== null) {
    if (applied && result.edits.length > 0) {
      list.push(notice('info', 'The config says this plan now. Undo in its editor takes it back; nothing was saved.'));
    } else if (plan !== null && plan.hash !== result.planHash) {
      list.push(notice('warning', 'The config has changed since this plan was made. Allocate again: what stayed the same comes from the cache.'));
    }
    if (result.allocation.noCurrent !== null) {
      list.push(notice('info', `Your plan is not in the chart: ${result.allocation.noCurrent}`));
    }
  }
  return list;
}

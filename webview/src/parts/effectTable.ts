/** The ranking as a table: the score, how it was found, and every time step. */
import type { Score } from '../../../server/src/protocol';
import type { ChartEvents } from '../charts/marks';
import { formatInteger, formatNumber } from '../model/format';
import { createSortedTable, numberColumn } from './sortedTable';
import type { SortedTable, ValueColumn } from './sortedTable';

const NOT_FINITE = 'not finite';
const stepsOf = ({ perStep }: Score): readonly (number | null)[] => perStep.map(({ latentRelativeMse }) => latentRelativeMse);

const COLUMNS: readonly ValueColumn<Score>[] = [
  { id: 'name', title: 'Swapped', width: 200, tail: true, text: ({ name }) => name, value: ({ name }) => name },
  { id: 'score', title: 'Effect', width: 84, numeric: true, hint: 'Mean error of the clean picture the output leads to, lower is better', text: ({ score }) => (score === null ? NOT_FINITE : formatNumber(score)), value: ({ score }) => score ?? Infinity },
  { id: 'how', title: 'Known by', width: 76, text: ({ estimate }) => (estimate ? 'estimate' : 'measured'), value: ({ estimate }) => (estimate ? 'estimate' : 'measured') },
  { id: 'worst', title: 'Worst step', width: 76, numeric: true, hint: 'Step of the trajectory, counted from 1', text: (row) => worstStep(row)?.toString() ?? '–', value: worstStep },
  { id: 'highest', title: 'There', width: 84, numeric: true, hint: 'Effect at the worst step, lower is better', text: (row) => (stepsOf(row).includes(null) ? NOT_FINITE : formatNumber(highest(row))), value: highest },
  { id: 'steps', title: 'By step', width: 300, hint: 'Effect at each compared step, first to last, lower is better', text: (row) => stepsOf(row).map((value) => (value === null ? NOT_FINITE : formatNumber(value))).join('  '), value: highest },
  numberColumn('layers', 'Layers', 56, 'Swapped together', ({ layers }) => layers.length, formatInteger),
];

function highest(row: Score): number | null {
  const values = stepsOf(row);
  return values.length === 0 ? null : Math.max(...values.map((value) => value ?? Infinity));
}

function worstStep(row: Score): number | null {
  const at = stepsOf(row).findIndex((value) => (value ?? Infinity) === highest(row));
  return at < 0 ? null : (row.perStep[at]?.step ?? 0) + 1;
}

export function createEffectTable(events: ChartEvents): SortedTable<Score> {
  return createSortedTable<Score>({
    label: 'Ranking', columns: COLUMNS, first: { column: 'score', descending: true }, key: ({ name }) => name,
    onSelect: ({ name }) => events.onSelect(name), onEnter: ({ name }) => events.onOpen(name), onLeave: events.onLeave,
  });
}

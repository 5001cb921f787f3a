/** The Pareto chart's twin: every plan with a name, and the curve, with size, loss and what was measured end to end. */
import type { Allocation } from '../../../server/src/protocol';
import { formatBits, formatBytes, formatInteger, formatNumber } from '../model/format';
import { curveRows, namedPlans } from '../model/pareto';
import type { PlanRow, PointKind } from '../model/pareto';
import { createSortedTable, numberColumn } from './sortedTable';
import type { SortedTable, ValueColumn } from './sortedTable';

/** In order of standing. */
const KINDS: Readonly<Record<PointKind, string>> = { recommended: 'recommended', current: 'as written', finalist: 'run end to end', baseline: 'simple rule', curve: 'best of size' };

const COLUMNS: readonly ValueColumn<PlanRow>[] = [
  { id: 'name', title: 'Plan', width: 150, hint: 'What it is is shown when it is selected', text: ({ name }) => name, value: ({ name }) => name },
  numberColumn('bytes', 'Checkpoint', 84, 'Size of the whole checkpoint', ({ point }) => point.bytes, formatBytes),
  numberColumn('exact', 'Bytes', 92, 'Size of the whole checkpoint', ({ point }) => point.bytes, formatInteger),
  numberColumn('bits', 'Bits', 56, 'Average of linear weights, side data included', ({ point }) => point.averageBits, formatBits),
  numberColumn('loss', 'Loss ↓', 84, 'Lower is better', ({ point }) => point.objective, formatNumber),
  { id: 'kind', title: 'Kind', width: 104, text: ({ kind }) => KINDS[kind], value: ({ kind }) => Object.keys(KINDS).indexOf(kind) },
];

export function createPlanTable(events: { onSelect: (row: PlanRow) => void; onEnter: (row: PlanRow) => void; onLeave: () => void }): SortedTable<PlanRow> {
  return createSortedTable<PlanRow>({ label: 'Plans', columns: COLUMNS, first: { column: 'kind', descending: false }, key: ({ name }) => name, ...events });
}

/** Named plans, then the points of the curve. */
export function planRows(allocation: Allocation): PlanRow[] {
  return [...namedPlans(allocation), ...curveRows(allocation)];
}

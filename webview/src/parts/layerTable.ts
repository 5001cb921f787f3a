/** The charts' twin for those who read rather than look: the same layers and numbers as a sortable table. */
import type { ChartEvents } from '../charts/marks';
import { createGrid } from './grid';
import type { Column } from './grid';
import { formatBits, formatNumber, formatRatio, NONE } from '../model/format';
import { recipeLabel } from '../model/layers';
import type { LayerRow } from '../model/layers';
import { compareNames } from '../model/tensorTable';
import type { Order } from '../model/tensorTable';

interface LayerColumn extends Column<LayerRow> { value: (row: LayerRow) => number | string | null }

function number(id: string, title: string, width: number, hint: string, value: (row: LayerRow) => number | null, format: (value: number) => string): LayerColumn {
  return {
    id, title, width, hint, value, numeric: true,
    text: (row) => {
      const found = value(row);
      return found === null ? NONE : format(found);
    },
  };
}

const COLUMNS: readonly LayerColumn[] = [
  { id: 'name', title: 'Layer', width: 200, tail: true, text: ({ plan }) => plan.name, value: ({ plan }) => plan.name },
  number('ratio', 'Ratio', 60, 'Measured over expected error', ({ ratio }) => ratio, formatRatio),
  number('mse', 'Rel. MSE', 76, '‖W − Ŵ‖² / ‖W‖², lower is better', ({ report }) => report?.weight.relativeMse ?? null, formatNumber),
  number('sqnr', 'SQNR (dB)', 72, 'Higher is better', ({ report }) => report?.weight.sqnrDb ?? null, (value) => value.toFixed(2)),
  number('ksBefore', 'KS before', 72, 'Before rotation, lower is better', ({ report }) => report?.marginal.before.ks ?? null, formatNumber),
  number('ksAfter', 'KS after', 72, 'After rotation, lower is better', ({ report }) => report?.marginal.after.ks ?? null, formatNumber),
  number('w1', 'W1 after', 72, 'Wasserstein-1 after rotation, lower is better', ({ report }) => report?.marginal.after.wasserstein1 ?? null, formatNumber),
  number('rho', 'ρ', 60, 'Proposition 1', ({ report }) => report?.marginal.rho ?? null, formatNumber),
  number('bits', 'Bits', 52, 'Packed bits of each weight, side data included', ({ plan }) => plan.averageBits, formatBits),
  { id: 'role', title: 'Role', width: 96, text: ({ plan }) => plan.role, value: ({ plan }) => plan.role },
  { id: 'recipe', title: 'Recipe', width: 128, text: ({ plan }) => recipeLabel(plan), value: ({ plan }) => recipeLabel(plan) },
];

export function createLayerTable(events: ChartEvents): { element: HTMLElement; show(rows: readonly LayerRow[]): void; select(name: string | null): void } {
  let order: Order = { column: 'ratio', descending: true };
  let rows: readonly LayerRow[] = [];
  const draw = (): void => grid.show(sorted(rows, order), order);
  const grid = createGrid<LayerRow>({
    label: 'Layers',
    columns: COLUMNS,
    key: ({ plan }) => plan.name,
    onSelect: ({ plan }) => events.onSelect(plan.name),
    onEnter: ({ plan }) => events.onOpen(plan.name),
    onLeave: events.onLeave,
    onSort: (next) => {
      order = next;
      draw();
    },
  });
  return {
    element: grid.element,
    show: (next) => {
      rows = next;
      draw();
    },
    select: grid.select,
  };
}

/** Layers without a value stay at the end in both directions. */
function sorted(rows: readonly LayerRow[], { column, descending }: Order): LayerRow[] {
  const value = COLUMNS.find(({ id }) => id === column)?.value ?? ((): null => null);
  const sign = descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const x = value(a);
    const y = value(b);
    if (x === null || y === null) {
      return Number(x === null) - Number(y === null);
    }
    return sign * (typeof x === 'number' && typeof y === 'number' ? x - y : compareNames(String(x), String(y)));
  });
}

/** The charts' twin for those who read rather than look: the same layers and numbers as a sortable table. */
import type { ChartEvents } from '../charts/marks';
import { formatBits, formatNumber, formatRatio } from '../model/format';
import { recipeLabel } from '../model/layers';
import type { LayerRow } from '../model/layers';
import { createSortedTable, numberColumn } from './sortedTable';
import type { SortedTable, ValueColumn } from './sortedTable';

const COLUMNS: readonly ValueColumn<LayerRow>[] = [
  { id: 'name', title: 'Layer', width: 200, tail: true, text: ({ plan }) => plan.name, value: ({ plan }) => plan.name },
  numberColumn('ratio', 'Ratio', 60, 'Measured over expected error', ({ ratio }) => ratio, formatRatio),
  numberColumn('mse', 'Rel. MSE', 76, '‖W − Ŵ‖² / ‖W‖², lower is better', ({ report }) => report?.weight.relativeMse ?? null, formatNumber),
  numberColumn('sqnr', 'SQNR (dB)', 72, 'Higher is better', ({ report }) => report?.weight.sqnrDb ?? null, (value) => value.toFixed(2)),
  numberColumn('ksBefore', 'KS before', 72, 'Before rotation, lower is better', ({ report }) => report?.marginal.before.ks ?? null, formatNumber),
  numberColumn('ksAfter', 'KS after', 72, 'After rotation, lower is better', ({ report }) => report?.marginal.after.ks ?? null, formatNumber),
  numberColumn('w1', 'W1 after', 72, 'Wasserstein-1 after rotation, lower is better', ({ report }) => report?.marginal.after.wasserstein1 ?? null, formatNumber),
  numberColumn('rho', 'ρ', 60, 'Proposition 1', ({ report }) => report?.marginal.rho ?? null, formatNumber),
  numberColumn('bits', 'Bits', 52, 'Packed bits of each weight, side data included', ({ plan }) => plan.averageBits, formatBits),
  { id: 'role', title: 'Role', width: 96, text: ({ plan }) => plan.role, value: ({ plan }) => plan.role },
  { id: 'recipe', title: 'Recipe', width: 128, text: ({ plan }) => recipeLabel(plan), value: ({ plan }) => recipeLabel(plan) },
];

export function createLayerTable(events: ChartEvents): SortedTable<LayerRow> {
  return createSortedTable<LayerRow>({
    label: 'Layers', columns: COLUMNS, first: { column: 'ratio', descending: true }, key: ({ plan }) => plan.name,
    onSelect: ({ plan }) => events.onSelect(plan.name), onEnter: ({ plan }) => events.onOpen(plan.name), onLeave: events.onLeave,
  });
}

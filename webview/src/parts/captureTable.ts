/** The capture as a table: every layer, half and step with every number. */
import { CAPTURE_METRICS, captureKey } from '../model/capture';
import type { CaptureRow } from '../model/capture';
import { formatInteger } from '../model/format';
import { createSortedTable, numberColumn } from './sortedTable';
import type { SortedTable, ValueColumn } from './sortedTable';

const COLUMNS: readonly ValueColumn<CaptureRow>[] = [
  { id: 'layer', title: 'Layer', width: 220, tail: true, text: ({ layer }) => layer, value: ({ layer }) => layer },
  { id: 'half', title: 'Half', width: 96, hint: 'Which half of guidance', text: ({ half }) => half, value: ({ half }) => half },
  numberColumn('step', 'Step', 40, 'Step of the trajectory, counted from 1', ({ step }) => step + 1, String),
  ...CAPTURE_METRICS.map(({ id, short, title, hint, value, format }) => numberColumn(id, short, 72, `${title}. ${hint}`, value, format)),
  numberColumn('rows', 'Tokens', 64, 'Rows of activations over all items', ({ rows }: CaptureRow) => rows, formatInteger),
];

export function createCaptureTable(metric: string, events: { onSelect: (key: string) => void; onLeave: () => void }): SortedTable<CaptureRow> {
  return createSortedTable<CaptureRow>({
    label: 'Captured activations', columns: COLUMNS, first: { column: metric, descending: true }, key: captureKey, onSelect: (row) => events.onSelect(captureKey(row)), onLeave: events.onLeave,
  });
}

/** What the heat map draws, whatever its rows and columns are. */
import type { Metric } from './metrics';

export interface HeatCell {
  row: number;
  column: number;
  /** What a selection may call the cell; the first name stands for it. */
  names: readonly [string, ...string[]];
  value: number | null;
  /** What its colour says, where that is not the value. */
  shade?: number;
  /** Instead of the value, where there is room. */
  text?: string;
  description: string;
}

export interface HeatData {
  label: string;
  rows: readonly string[];
  /** '' is the column of what is outside of every group. */
  columns: readonly string[];
  /** Titles over runs of columns. */
  groups: readonly { title: string; first: number }[];
  cells: readonly HeatCell[];
  metric: Pick<Metric, 'baseline' | 'scale' | 'format'>;
}

/** Where an arrow key leads from a cell: the nearest filled cell in that direction along its row or column, else the same cell. */
export function nextCell<C extends { row: number; column: number }>({ cells }: { cells: readonly C[] }, from: C, key: string): C {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  if (step === undefined) {
    return from;
  }
  const [dx = 0, dy = 0] = step;
  const ahead = cells.filter((cell) => (dx === 0
    ? cell.column === from.column && (cell.row - from.row) * dy > 0
    : cell.row === from.row && (cell.column - from.column) * dx > 0));
  const distance = (cell: C): number => Math.abs(cell.column - from.column) + Math.abs(cell.row - from.row);
  return ahead.reduce<C | undefined>((best, cell) => (best === undefined || distance(cell) < distance(best) ? cell : best), undefined) ?? from;
}

/** A table whose columns sort themselves: by number or, as people count, by name. */
import { createGrid } from './grid';
import type { Column, GridOptions } from './grid';
import { NONE } from '../model/format';
import { compareNames } from '../model/tensorTable';
import type { Order } from '../model/tensorTable';

export interface ValueColumn<T> extends Column<T> { value: (row: T) => number | string | null }

export function numberColumn<T>(id: string, title: string, width: number, hint: string, value: (row: T) => number | null, format: (value: number) => string): ValueColumn<T> {
  return {
    id, title, width, hint, value, numeric: true,
    text: (row) => {
      const found = value(row);
      return found === null ? NONE : format(found);
    },
  };
}

export interface SortedTable<T> {
  element: HTMLElement;
  show(rows: readonly T[]): void;
  select(key: string | null): void;
  /** As a click on the column's head would. */
  sort(order: Order): void;
}

export function createSortedTable<T>({ columns, first, ...options }: Omit<GridOptions<T>, 'columns' | 'onSort'> & { columns: readonly ValueColumn<T>[]; first: Order }): SortedTable<T> {
  let order = first;
  let rows: readonly T[] = [];
  const draw = (): void => grid.show(sorted(rows, columns, order), order);
  const sort = (next: Order): void => {
    order = next;
    draw();
  };
  const grid = createGrid<T>({ ...options, columns, onSort: sort });
  return {
    element: grid.element,
    show: (next) => {
      rows = next;
      draw();
    },
    select: grid.select,
    sort,
  };
}

/** Rows without a value stay at the end in both directions. */
export function sorted<T>(rows: readonly T[], columns: readonly ValueColumn<T>[], { column, descending }: Order): T[] {
  const value = columns.find(({ id }) => id === column)?.value ?? ((): null => null);
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

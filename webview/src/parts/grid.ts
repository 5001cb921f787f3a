/** A sortable table that draws only the rows in view, so that 10,000 tensors scroll as 10 do. Keyboard: arrows, page keys, Home, End; Enter opens. */
import { h, onFrame } from '../dom';
import type { Order } from '../model/tensorTable';
import { moveCursor, scrollFor, visibleRows } from '../model/window';

const ROW_HEIGHT = 22;
/** As in base.css: between columns, and on both sides of a row. */
const GAP = 12;
const PADDING = 16;

export interface Column<T> {
  id: string;
  title: string;
  /** What the column says, shown on hover. */
  hint?: string;
  /** Width in pixels; the first column takes what is left over. */
  width: number;
  numeric?: boolean;
  /** Too long a text loses its start instead of its end. */
  tail?: boolean;
  text: (row: T) => string;
}

export interface GridOptions<T> {
  label: string;
  columns: readonly Column<T>[];
  key: (row: T) => string;
  /** The cursor moved onto a row. */
  onSelect?: (row: T) => void;
  /** A row was clicked, or Enter was pressed without `onEnter`. */
  onOpen?: (row: T) => void;
  /** Enter, where it does something else than a click. */
  onEnter?: (row: T) => void;
  onSort: (order: Order) => void;
  /** Escape. */
  onLeave?: () => void;
}

export interface Grid<T> {
  element: HTMLElement;
  show(rows: readonly T[], order: Order): void;
  /** Marks a row without opening it and brings it into view. */
  select(key: string | null): void;
}

let grids = 0;

export function createGrid<T>(options: GridOptions<T>): Grid<T> {
  const id = `grid${++grids}`;
  const headers = options.columns.map((column) => {
    const button = h('button', { class: 'grid-sort', type: 'button', title: column.hint ?? `Sort by ${column.title.toLowerCase()}` }, column.title);
    button.addEventListener('click', () => options.onSort({ column: column.id, descending: order.column === column.id && !order.descending }));
    return h('div', { role: 'columnheader', class: column.numeric === true ? 'numeric' : undefined }, button);
  });
  const lines = h('div', { class: 'grid-lines', role: 'presentation' });
  const head = h('div', { class: 'grid-row grid-head', role: 'row', 'aria-rowindex': 1 }, ...headers);
  const body = h('div', { class: 'grid-body', role: 'grid', tabindex: 0, 'aria-label': options.label, 'aria-colcount': options.columns.length }, head, lines);
  const element = h('div', { class: 'grid' }, body);
  // Every row is a grid of its own, so all tracks are given in pixels and the rows line up.
  const widths = options.columns.map(({ width }) => width);
  element.style.setProperty('--columns', widths.map((width, index) => (index === 0 ? `minmax(${width}px, 1fr)` : `${width}px`)).join(' '));
  element.style.setProperty('--least', `${widths.reduce((sum, width) => sum + width + GAP, 2 * PADDING - GAP)}px`);

  let rows: readonly T[] = [];
  let order: Order = { column: '', descending: false };
  let cursor = -1;
  const viewport = (): number => Math.max(ROW_HEIGHT, body.clientHeight - head.offsetHeight);

  const draw = onFrame(() => {
    const { first, last } = visibleRows(body.scrollTop, viewport(), ROW_HEIGHT, rows.length);
    lines.style.height = `${rows.length * ROW_HEIGHT}px`;
    lines.replaceChildren(...rows.slice(first, last).map((row, index) => line(row, first + index)));
    body.setAttribute('aria-rowcount', String(rows.length + 1));
    if (cursor >= first && cursor < last) {
      body.setAttribute('aria-activedescendant', `${id}-${cursor}`);
    } else {
      body.removeAttribute('aria-activedescendant');
    }
  });

  function line(row: T, index: number): HTMLElement {
    const cells = options.columns.map((column) => {
      const text = column.text(row);
      const style = column.numeric === true ? 'numeric' : column.tail === true ? 'tail' : undefined;
      return h('div', { role: 'gridcell', class: style, title: text }, column.tail === true ? h('bdi', {}, text) : text);
    });
    const element = h('div', {
      id: `${id}-${index}`, class: 'grid-row', role: 'row', 'aria-rowindex': index + 2, 'aria-selected': String(index === cursor), 'data-key': options.key(row),
    }, ...cells);
    element.style.top = `${index * ROW_HEIGHT}px`;
    return element;
  }

  function move(next: number): void {
    cursor = next;
    body.scrollTop = scrollFor(next, body.scrollTop, viewport(), ROW_HEIGHT);
    draw();
    const row = rows[next];
    if (row !== undefined) {
      options.onSelect?.(row);
    }
  }

  function open(how: ((row: T) => void) | undefined): void {
    const row = rows[cursor];
    if (row !== undefined) {
      how?.(row);
    }
  }

  body.addEventListener('scroll', draw, { passive: true });
  new ResizeObserver(draw).observe(body);
  body.addEventListener('keydown', (event) => {
    if (event.target !== body) {
      return;
    }
    const next = moveCursor(event.key, cursor, rows.length, Math.floor(viewport() / ROW_HEIGHT));
    if (next !== undefined) {
      event.preventDefault();
      move(next);
    } else if (event.key === 'Enter') {
      open(options.onEnter ?? options.onOpen);
    } else if (event.key === 'Escape') {
      options.onLeave?.();
    }
  });
  lines.addEventListener('click', (event) => {
    const key = (event.target as HTMLElement).closest<HTMLElement>('.grid-row')?.dataset['key'];
    const index = rows.findIndex((row) => options.key(row) === key);
    if (index >= 0) {
      move(index);
      open(options.onOpen);
    }
  });

  return {
    element,
    show: (nextRows, nextOrder) => {
      const selected = rows[cursor];
      const key = selected === undefined ? undefined : options.key(selected);
      rows = nextRows;
      order = nextOrder;
      cursor = key === undefined ? -1 : rows.findIndex((row) => options.key(row) === key);
      options.columns.forEach((column, index) => {
        headers[index]?.setAttribute('aria-sort', column.id !== order.column ? 'none' : order.descending ? 'descending' : 'ascending');
      });
      draw();
    },
    select: (key) => {
      cursor = key === null ? -1 : rows.findIndex((row) => options.key(row) === key);
      if (cursor >= 0) {
        body.scrollTop = scrollFor(cursor, body.scrollTop, viewport(), ROW_HEIGHT);
      }
      draw();
    },
  };
}

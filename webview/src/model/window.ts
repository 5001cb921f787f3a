/** Which rows of a long list are worth drawing, and where the cursor goes. */

export interface Window { first: number; last: number }

/** Rows [first, last) that touch the viewport, with `margin` more on both sides so that scrolling does not flash. */
export function visibleRows(scrollTop: number, viewport: number, rowHeight: number, count: number, margin = 8): Window {
  const first = Math.max(0, Math.floor(scrollTop / rowHeight) - margin);
  const last = Math.min(count, Math.ceil((scrollTop + viewport) / rowHeight) + margin);
  return { first: Math.min(first, last), last };
}

/** New cursor for a key, or undefined when the key does not move it. An empty list has no cursor (-1). */
export function moveCursor(key: string, cursor: number, count: number, page: number): number | undefined {
  const target: Record<string, number> = {
    ArrowUp: cursor - 1, ArrowDown: cursor + 1, PageUp: cursor - page, PageDown: cursor + page, Home: 0, End: count - 1,
  };
  const next = target[key];
  return next === undefined ? undefined : Math.min(count - 1, Math.max(0, next));
}

/** Scroll position that brings a row fully into view, the present one when it already is. */
export function scrollFor(row: number, scrollTop: number, viewport: number, rowHeight: number): number {
  const top = row * rowHeight;
  return Math.max(Math.min(scrollTop, top), top + rowHeight - viewport);
}

/** The place of a chart that is read out: arrow keys, Home and End move it, Escape and a pointer that leaves take it away. */
import type { Selection } from 'd3';

export interface Cursor { /** −1 for none. */ readonly index: number; point(next: number): void; /** Without drawing. */ reset(): void }

/** @param first where an arrow key begins. @param draw shows it, whenever it has moved */
export function readingCursor(svg: Selection<SVGSVGElement, unknown, null, undefined>, { count, first, draw }: { count: () => number; first: () => number; draw: () => void }): Cursor {
  let index = -1;
  const point = (next: number): void => {
    if (next !== index) {
      index = next;
      draw();
    }
  };
  svg.on('keydown', (event: KeyboardEvent) => {
    const to = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: count() - 1 }[event.key];
    if (to !== undefined && count() > 0) {
      event.preventDefault();
      point(index < 0 && event.key.startsWith('Arrow') ? first() : Math.min(count() - 1, Math.max(0, to)));
    } else if (event.key === 'Escape') {
      point(-1);
    }
  });
  return {
    get index() { return index; },
    point,
    reset: () => { index = -1; },
  };
}

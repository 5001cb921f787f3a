/** What pointer and keyboard do on the marks of a chart: a click or Space selects, a double click or Enter opens, Escape leaves, and a chart's own keys move on. */
import { select } from 'd3';
import type { Selection } from 'd3';

/** What the charts of layers tell; a layer is named by its name. */
export interface ChartEvents {
  onSelect: (name: string) => void;
  onOpen: (name: string) => void;
  onLeave: () => void;
}

export interface Marks<D> {
  /** CSS selector of a mark's group. */
  selector: string;
  /** Tells the marks of one chart apart. */
  key: (datum: D) => string;
  /** Where a key leads from a mark; undefined when it leads nowhere. */
  next: (datum: D, key: string) => D | undefined;
  onSelect: (datum: D) => void;
  /** Without it, Enter is left to `next`. */
  onOpen?: (datum: D) => void;
  onLeave: () => void;
}

/** The mark that was selected has the focus afterwards. */
export function listenToMarks<D>(svg: Selection<SVGSVGElement, unknown, null, undefined>, { selector, key, next, onSelect, onOpen, onLeave }: Marks<D>): void {
  const at = (target: EventTarget | null): D | undefined => {
    const mark = (target as Element | null)?.closest<SVGGElement>(selector) ?? null;
    return mark === null ? undefined : select<SVGGElement, D>(mark).datum();
  };
  const choose = (datum: D): void => {
    onSelect(datum);
    svg.selectAll<SVGGElement, D>(selector).filter((other) => key(other) === key(datum)).node()?.focus();
  };
  svg.on('click', ({ target }: MouseEvent) => {
    const datum = at(target);
    if (datum !== undefined) {
      choose(datum);
    }
  }).on('dblclick', ({ target }: MouseEvent) => {
    const datum = at(target);
    if (datum !== undefined) {
      onOpen?.(datum);
    }
  }).on('keydown', (event: KeyboardEvent) => {
    const datum = at(event.target);
    if (datum === undefined) {
      return;
    }
    const target = event.key === ' ' ? datum : next(datum, event.key);
    if (target !== undefined) {
      event.preventDefault();
      choose(target);
    } else if (event.key === 'Enter') {
      onOpen?.(datum);
    } else if (event.key === 'Escape') {
      onLeave();
    }
  });
}

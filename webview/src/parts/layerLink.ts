/** A layer's name in running text: a click or Space selects it everywhere, Enter or a double click goes to its rule. */
import type { ChartEvents } from '../charts/marks';
import { h } from '../dom';

export function layerLink(name: string, { onSelect, onOpen }: Pick<ChartEvents, 'onSelect' | 'onOpen'>): HTMLElement {
  const link = h('button', { class: 'layer-link', type: 'button', 'data-layer': name, title: 'Click to select, Enter or double click to go to its rule' }, name);
  link.addEventListener('click', () => onSelect(name));
  link.addEventListener('dblclick', () => onOpen(name));
  link.addEventListener('keydown', (event) => {
    if (event.key === 'Enter') {
      event.preventDefault();
      onOpen(name);
    }
  });
  return link;
}

/** Findings as a list to choose from: a click, Space or Enter selects what a finding is about, arrow keys move on, Escape leaves. */
import type { Finding } from '../../../server/src/protocol';
import { h } from '../dom';

export interface FindingList { element: HTMLElement; show(findings: readonly Finding[], none: string): void }

export function createFindingList(events: { onSelect: (finding: Finding) => void; onLeave: () => void }): FindingList {
  const title = h('h3', { id: 'findings-title' });
  const list = h('ul', { class: 'finding-list', role: 'listbox', 'aria-labelledby': 'findings-title' });
  const element = h('section', { class: 'findings' }, title, list);
  let shown: readonly Finding[] = [];
  let current = -1;

  function mark(index: number): void {
    current = index;
    const stop = Math.max(0, current);
    [...list.children].forEach((item, i) => {
      item.setAttribute('aria-selected', String(i === current));
      item.setAttribute('tabindex', i === stop ? '0' : '-1');
    });
  }
  function choose(index: number): void {
    const finding = shown[index];
    if (finding !== undefined) {
      mark(index);
      (list.children[index] as HTMLElement | undefined)?.focus();
      events.onSelect(finding);
    }
  }
  const at = (target: EventTarget | null): number => [...list.children].findIndex((item) => item.contains(target as Node | null));
  list.addEventListener('click', ({ target }) => choose(at(target)));
  list.addEventListener('keydown', (event) => {
    const from = at(event.target);
    const to = { ArrowUp: from - 1, ArrowDown: from + 1, Home: 0, End: shown.length - 1, ' ': from, Enter: from }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      choose(Math.min(shown.length - 1, Math.max(0, to)));
    } else if (event.key === 'Escape') {
      events.onLeave();
    }
  });
  return {
    element,
    show: (findings, none) => {
      shown = findings;
      title.textContent = findings.length === 0 ? none : `${findings.length} ${findings.length === 1 ? 'finding' : 'findings'}`;
      list.hidden = findings.length === 0;
      list.replaceChildren(...findings.map(({ layer, text, code }) => h('li', { role: 'option', title: code }, h('span', { class: 'sign', 'aria-hidden': 'true' }, '⚠'), h('span', {}, h('code', {}, layer), ` ${text}`))));
      mark(Math.min(current, findings.length - 1));
    },
  };
}

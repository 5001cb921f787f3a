/** Tabs as the ARIA pattern has them: arrows move and choose, one of them takes the Tab key. Only the chosen panel is in the page. */
import { h } from '../dom';

export interface TabOption<I extends string> { id: I; title: string; panel: HTMLElement }

export function createTabs<I extends string>(label: string, tabs: readonly TabOption<I>[], chosen: I, onChoose: (id: I) => void): { list: HTMLElement; panels: HTMLElement; choose(id: I): void } {
  const list = h('div', { class: 'tabs', role: 'tablist', 'aria-label': label });
  const panels = h('div', { class: 'tab-panels' });
  const buttons = tabs.map(({ id, title, panel }) => {
    const tab = h('button', { class: 'tab', type: 'button', role: 'tab', id: `tab-${id}`, 'aria-controls': `panel-${id}` }, title);
    tab.addEventListener('click', () => onChoose(id));
    panel.id = `panel-${id}`;
    panel.setAttribute('role', 'tabpanel');
    panel.setAttribute('aria-labelledby', tab.id);
    return tab;
  });
  list.append(...buttons);
  list.addEventListener('keydown', (event) => {
    const at = buttons.findIndex((button) => button === event.target);
    const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: tabs.length - 1 }[event.key];
    const tab = next === undefined || at < 0 ? undefined : tabs[(next + tabs.length) % tabs.length];
    if (tab !== undefined) {
      event.preventDefault();
      onChoose(tab.id);
      buttons[tabs.indexOf(tab)]?.focus();
    }
  });
  const choose = (id: I): void => {
    tabs.forEach((tab, index) => {
      buttons[index]?.setAttribute('aria-selected', String(tab.id === id));
      buttons[index]?.setAttribute('tabindex', tab.id === id ? '0' : '-1');
    });
    const panel = tabs.find((tab) => tab.id === id)?.panel;
    if (panel !== undefined && panels.firstChild !== panel) {
      panels.replaceChildren(panel);
    }
  };
  choose(chosen);
  return { list, panels, choose };
}

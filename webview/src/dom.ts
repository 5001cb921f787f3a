/** Small helpers over the DOM: elements in one expression, and a polite voice for screen readers. */

type Attributes = Record<string, string | number | boolean | undefined>;
export type Child = Node | string | null | undefined;

/** `h('p', { class: 'muted' }, 'text')`. `true` sets an empty attribute; `false` and undefined set none. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? '' : String(value));
    }
  }
  element.append(...children.filter((child): child is Node | string => child !== null && child !== undefined));
  return element;
}

/** Names and values in two aligned columns. */
export function facts(rows: readonly (readonly [name: string, value: Child, title?: string])[]): HTMLDListElement {
  return h('dl', { class: 'facts' }, ...rows.flatMap(([name, value, title]) => [h('dt', { title }, name), h('dd', {}, value)]));
}

/** A notice with its severity as a word and as a sign, not only as a colour. */
export function notice(severity: 'error' | 'warning' | 'info' | 'hint', text: string, code?: string): HTMLElement {
  const signs = { error: '✕', warning: '⚠', info: 'ℹ', hint: '·' };
  return h('p', { class: `notice ${severity}` }, h('span', { class: 'sign', role: 'img', 'aria-label': severity }, signs[severity]),
    h('span', {}, text, code === undefined ? null : h('code', { class: 'code' }, code)));
}

/** A live region; what is put into it is read out, the last text wins. */
export function announcer(): { element: HTMLElement; say: (text: string) => void } {
  const element = h('div', { class: 'sr-only', 'aria-live': 'polite', role: 'status' });
  return {
    element,
    say: (text) => {
      element.textContent = text;
    },
  };
}

/** Calls `draw` at most once for each frame, however often it is asked for. */
export function onFrame(draw: () => void): () => void {
  let waiting = false;
  return () => {
    if (!waiting) {
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        draw();
      });
    }
  };
}

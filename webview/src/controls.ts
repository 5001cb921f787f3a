/** The only file that knows the toolkit: registers its web components, which must happen before one is made, and makes them typed and labelled. */
import { provideVSCodeDesignSystem, vsCodeButton, vsCodeDropdown, vsCodeOption, vsCodeProgressRing, vsCodeTextField } from '@vscode/webview-ui-toolkit';
import type { Button, Dropdown, Option, TextField } from '@vscode/webview-ui-toolkit';

provideVSCodeDesignSystem().register(vsCodeButton(), vsCodeDropdown(), vsCodeOption(), vsCodeProgressRing(), vsCodeTextField());

function create<E extends HTMLElement>(tag: string): E {
  return document.createElement(tag) as E;
}

export function button(text: string, onClick: () => void, appearance: 'primary' | 'secondary' = 'secondary'): HTMLElement & { disabled: boolean } {
  const element = create<Button>('vscode-button');
  element.appearance = appearance;
  element.textContent = text;
  element.addEventListener('click', onClick);
  return element;
}

/** A button that stays pressed. The text says what pressing shows. */
export function toggle(text: string, pressed: boolean, onChange: (pressed: boolean) => void): HTMLElement {
  const element = button(text, () => {
    const next = element.getAttribute('aria-pressed') !== 'true';
    element.setAttribute('aria-pressed', String(next));
    onChange(next);
  });
  element.setAttribute('aria-pressed', String(pressed));
  return element;
}

export function dropdown(label: string, options: readonly { id: string; title: string }[], selected: string, onChange: (id: string) => void): HTMLElement & { value: string } {
  const element = create<Dropdown>('vscode-dropdown');
  element.setAttribute('aria-label', label);
  for (const { id, title } of options) {
    const option = create<Option>('vscode-option');
    option.setAttribute('value', id);
    option.toggleAttribute('selected', id === selected);
    option.textContent = title;
    element.append(option);
  }
  element.addEventListener('change', () => onChange(element.value));
  return element;
}

export function searchField(label: string, placeholder: string, value: string, onInput: (text: string) => void): HTMLElement & { value: string } {
  const element = create<TextField>('vscode-text-field');
  // When it is put into the page, the toolkit names a field without inner text 'Text field'; the name is given after that.
  requestAnimationFrame(() => element.setAttribute('aria-label', label));
  element.placeholder = placeholder;
  element.value = value;
  element.spellcheck = false;
  element.addEventListener('input', () => onInput(element.value));
  return element;
}

export function progressRing(label: string): HTMLElement {
  const element = create<HTMLElement>('vscode-progress-ring');
  element.setAttribute('aria-label', label);
  return element;
}

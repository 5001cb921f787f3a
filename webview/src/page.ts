/** What every view's page needs from VS Code: messages, saved state, and its root element. */
import type { Transport } from './rpc';

interface VsCodeApi { postMessage(message: unknown): void; getState(): unknown; setState(state: unknown): void }
declare function acquireVsCodeApi(): VsCodeApi;

const vscode = acquireVsCodeApi();

export const transport: Transport = {
  post: (message) => vscode.postMessage(message),
  listen: (receive) => window.addEventListener('message', (event: MessageEvent<unknown>) => receive(event.data)),
};

/** The state of the last time this view was shown, laid over the defaults; anything that is not an object counts as nothing. */
export function savedState<S extends object>(defaults: S): S {
  const saved = vscode.getState();
  return typeof saved === 'object' && saved !== null ? { ...defaults, ...saved } : defaults;
}

export function saveState(state: object): void {
  vscode.setState(state);
}

export function root(): HTMLElement {
  const element = document.getElementById('root');
  if (element === null) {
    throw new Error('The page has no element #root.');
  }
  return element;
}

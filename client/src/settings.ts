// The one reader of the extension's settings. `quantscope.trace.server` is read by the language client itself.
import * as vscode from 'vscode';

/** What the server is started with. Two equal values need no restart. */
export interface ServerSettings {
  engine: { threads: number };
  device: string;
  /** Absolute path of the folder the server may write to: it keeps measured reports there. */
  cacheDirectory: string;
}

export function serverSettings(storage: vscode.Uri): ServerSettings {
  const configuration = vscode.workspace.getConfiguration('quantscope');
  const directory = configuration.get<string>('cacheDirectory', '').trim();
  return {
    engine: { threads: configuration.get<number>('engine.threads', 0) },
    device: configuration.get<string>('device', 'auto'),
    cacheDirectory: directory === '' ? storage.fsPath : directory,
  };
}

export function inlayHintsEnabled(document: vscode.TextDocument): boolean {
  return vscode.workspace.getConfiguration('quantscope', document).get<boolean>('inlayHints', true);
}

// The extension's end of a webview: its page with a strict content policy, and the typed messages of webview/src/messages.ts.
import { randomBytes } from 'node:crypto';
import * as vscode from 'vscode';
import type { FromView, Params, Requests, Result, ToView, ViewName, Views } from '../../webview/src/messages';
import { errorMessage } from './context';

/** One handler for each request a view can send. A rejected promise becomes a message in the view. */
export type Handlers<V extends ViewName> = {
  [M in keyof Requests<V>]: (params: Params<V, M>, token: vscode.CancellationToken) => Promise<Result<V, M>>;
};

export function viewOptions(extension: vscode.Uri): vscode.WebviewOptions {
  return { enableScripts: true, localResourceRoots: [vscode.Uri.joinPath(extension, 'dist', 'webview')] };
}

/** Fills a webview with a view's page and answers its requests until it is disposed. Returns how to send events to it. */
export function openView<V extends ViewName>(
  webview: vscode.Webview, extension: vscode.Uri, view: V, handlers: Handlers<V>,
): { send: (event: Views[V]['event']) => void; dispose: () => void } {
  const running = new Map<number, vscode.CancellationTokenSource>();
  const post = (message: ToView<V>): void => {
    void webview.postMessage(message);
  };
  const answer = async (id: number, method: keyof Requests<V>, params: never): Promise<void> => {
    const source = new vscode.CancellationTokenSource();
    running.set(id, source);
    try {
      const result = await handlers[method](params, source.token);
      post({ kind: 'response', id, result });
    } catch (error) {
      post({ kind: 'failure', id, message: error instanceof vscode.CancellationError ? vscode.l10n.t('Cancelled.') : errorMessage(error) });
    } finally {
      running.delete(id);
      source.dispose();
    }
  };
  const listener = webview.onDidReceiveMessage((message: FromView<V>) => {
    if (message.kind === 'cancel') {
      running.get(message.id)?.cancel();
    } else if (message.method in handlers) {
      void answer(message.id, message.method, message.params as never);
    }
  });
  webview.options = viewOptions(extension);
  webview.html = page(webview, extension, view);
  return {
    send: (event) => post({ kind: 'event', event }),
    dispose: () => {
      listener.dispose();
      for (const source of running.values()) {
        source.cancel();
      }
    },
  };
}

function page(webview: vscode.Webview, extension: vscode.Uri, view: ViewName): string {
  const asset = (name: string): string => webview.asWebviewUri(vscode.Uri.joinPath(extension, 'dist', 'webview', name)).toString();
  const nonce = randomBytes(16).toString('base64url');
  const policy = `default-src 'none'; script-src 'nonce-${nonce}'; style-src ${webview.cspSource}; font-src ${webview.cspSource}; img-src ${webview.cspSource} data:`;
  return `<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="UTF-8">
  <meta http-equiv="Content-Security-Policy" content="${policy}">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <link rel="stylesheet" href="${asset(`${view}.css`)}">
  <title>QuantScope</title>
</head>
<body>
  <main id="root"></main>
  <script nonce="${nonce}" src="${asset(`${view}.js`)}"></script>
</body>
</html>`;
}

// Read-only editor of .safetensors files. It never reads the file: header and statistics come from the language server, so any size opens.
import * as path from 'node:path';
import * as vscode from 'vscode';
import type { QuantScopeContext } from '../context';
import { openView, viewOptions } from '../webviewHost';

export const VIEW = 'quantscope.checkpoint';

export function activate(context: QuantScopeContext): void {
  const provider: vscode.CustomReadonlyEditorProvider = {
    openCustomDocument: (uri) => ({ uri, dispose: () => undefined }),
    resolveCustomEditor: (document, panel) => resolve(context, document.uri, panel),
  };
  context.extension.subscriptions.push(vscode.window.registerCustomEditorProvider(VIEW, provider, { supportsMultipleEditorsPerDocument: true }));
}

function resolve(context: QuantScopeContext, uri: vscode.Uri, panel: vscode.WebviewPanel): void {
  const file = uri.fsPath;
  const extension = context.extension.extensionUri;
  panel.webview.options = viewOptions(extension);
  const view = openView(panel.webview, extension, 'checkpoint', {
    load: async (_params, token) => {
      if (uri.scheme !== 'file') {
        throw new Error(vscode.l10n.t('{0} is not a file on this machine. Save it to disk and open it there.', uri.toString()));
      }
      const [checkpoint, { size }] = await Promise.all([context.request('quantscope/checkpoint', { path: file }, token), vscode.workspace.fs.stat(uri)]);
      return { checkpoint, fileName: path.basename(file), fileBytes: size };
    },
    tensorStats: ({ tensor }, token) => context.request('quantscope/tensorStats', { path: file, tensor }, token),
    explain: ({ layer }) => {
      void vscode.commands.executeCommand('quantscope.explainLayer', { layer, checkpoint: file });
      return Promise.resolve(null);
    },
    newConfig: async () => {
      await vscode.commands.executeCommand('quantscope.newConfig', uri);
      return null;
    },
  });
  const watcher = vscode.workspace.createFileSystemWatcher(new vscode.RelativePattern(vscode.Uri.file(path.dirname(file)), path.basename(file)));
  const changed = (): void => view.send({ type: 'changed' });
  watcher.onDidChange(changed);
  watcher.onDidCreate(changed);
  watcher.onDidDelete(changed);
  panel.onDidDispose(() => {
    watcher.dispose();
    view.dispose();
  });
}

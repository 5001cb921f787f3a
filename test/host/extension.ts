// What every in-host test needs: the extension's context, the workspace's files, and waiting for an event until something holds.
import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import type { QuantScopeContext } from '../../client/src/context';
import type { QuantScopeApi } from '../../client/src/extension';

export const EXAMPLE = 'glyph-dit.quant.yaml';
export const WEIGHTS = 'glyph-dit/transformer/diffusion_pytorch_model.safetensors';

export function extension(): vscode.Extension<QuantScopeApi> {
  const found = vscode.extensions.getExtension<QuantScopeApi>('quantscope.quantscope');
  assert.ok(found !== undefined, 'the extension is not installed');
  return found;
}

export async function context(): Promise<QuantScopeContext> {
  return (await extension().activate()).context;
}

export function file(name: string): vscode.Uri {
  const folder = vscode.workspace.workspaceFolders?.[0];
  assert.ok(folder !== undefined, 'no folder is open');
  return vscode.Uri.joinPath(folder.uri, name);
}

/** Writes a file into the workspace's copy. */
export async function write(name: string, content: string | Uint8Array): Promise<vscode.Uri> {
  const uri = file(name);
  await vscode.workspace.fs.writeFile(uri, typeof content === 'string' ? new TextEncoder().encode(content) : content);
  return uri;
}

/** Opens a config and waits until the server has its plan. */
export async function openConfig(uri: vscode.Uri): Promise<vscode.TextDocument> {
  const document = await vscode.workspace.openTextDocument(uri);
  await vscode.window.showTextDocument(document);
  await (await context()).request('quantscope/plan', { uri: uri.toString() });
  return document;
}

/** Asks now and after every event until the answer is not undefined. The test's timeout is the limit. */
export async function eventually<T>(event: vscode.Event<unknown>, ask: () => T | undefined): Promise<T> {
  const now = ask();
  if (now !== undefined) {
    return now;
  }
  return new Promise((resolve) => {
    const listener = event(() => {
      const answer = ask();
      if (answer !== undefined) {
        listener.dispose();
        resolve(answer);
      }
    });
  });
}

/** The position right after the first place where `text` stands. */
export function after(document: vscode.TextDocument, text: string): vscode.Position {
  const at = document.getText().indexOf(text);
  assert.ok(at >= 0, `'${text}' is not in ${document.fileName}`);
  return document.positionAt(at + text.length);
}

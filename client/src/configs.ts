// Which config a command means: its argument, else what the user is looking at.
import * as vscode from 'vscode';

export const LANGUAGE = 'quantconfig';

function isConfig(document: vscode.TextDocument): boolean {
  return document.languageId === LANGUAGE;
}

/** The config named by the argument of a menu (a Uri) or of a code lens (a string), else the active editor's, else the only visible one. Throws a message for the user when there is none. */
export function targetConfig(argument: unknown): vscode.Uri {
  if (argument instanceof vscode.Uri) {
    return argument;
  }
  if (typeof argument === 'string') {
    return vscode.Uri.parse(argument, true);
  }
  const active = vscode.window.activeTextEditor?.document;
  if (active !== undefined && isConfig(active)) {
    return active.uri;
  }
  const visible = vscode.window.visibleTextEditors.map((editor) => editor.document).filter(isConfig);
  const [only] = visible;
  if (only !== undefined && visible.length === 1) {
    return only.uri;
  }
  throw new Error(vscode.l10n.t('Open a quantization config (*.quant.yaml) first.'));
}

/** The server knows a config only while it is open; a restored panel or a menu may name one that is not. */
export async function openConfig(uri: vscode.Uri): Promise<void> {
  await vscode.workspace.openTextDocument(uri);
}

export function baseName(uri: vscode.Uri): string {
  return uri.path.slice(uri.path.lastIndexOf('/') + 1);
}

/** Shows a config with a range selected, in the editor that already shows it where there is one, else beside. */
export async function revealInConfig(uri: vscode.Uri, range: vscode.Range): Promise<void> {
  const shown = vscode.window.visibleTextEditors.find((editor) => editor.document.uri.toString() === uri.toString());
  const viewColumn = shown?.viewColumn ?? vscode.ViewColumn.One;
  const document = await vscode.workspace.openTextDocument(uri);
  const editor = await vscode.window.showTextDocument(document, { viewColumn, selection: range });
  editor.revealRange(range, vscode.TextEditorRevealType.InCenterIfOutsideViewport);
}

/** Another config of the workspace, chosen by the user. Throws a message for the user when there is none. */
export async function chooseConfig(first: vscode.Uri): Promise<vscode.Uri | undefined> {
  const found = await vscode.workspace.findFiles('**/*.quant.{yaml,yml}', '**/{node_modules,.git}/**', 1000);
  const others = found.filter((uri) => uri.toString() !== first.toString()).sort((a, b) => (a.path < b.path ? -1 : 1));
  if (others.length === 0) {
    throw new Error(vscode.l10n.t('The workspace has no other *.quant.yaml to compare {0} with. Save a copy under another name and change it.', baseName(first)));
  }
  const items = others.map((uri) => ({ label: baseName(uri), description: vscode.workspace.asRelativePath(uri), uri }));
  return (await vscode.window.showQuickPick(items, { title: vscode.l10n.t('Compare {0} With', baseName(first)), matchOnDescription: true }))?.uri;
}

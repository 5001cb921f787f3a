// Documents that nobody has saved yet, beside the files they belong to.
import * as path from 'node:path';
import * as vscode from 'vscode';

/** Shows a text under a name that is free in the folder. Nothing is written until the user saves. */
export async function openUntitled(folder: string, fileName: string, text: string, language?: string): Promise<vscode.TextEditor> {
  const uri = vscode.Uri.file(path.join(folder, await freeName(folder, fileName))).with({ scheme: 'untitled' });
  const document = await vscode.workspace.openTextDocument(uri);
  const edit = new vscode.WorkspaceEdit();
  edit.replace(uri, new vscode.Range(0, 0, document.lineCount, 0), text);
  await vscode.workspace.applyEdit(edit);
  return vscode.window.showTextDocument(language === undefined ? document : await vscode.languages.setTextDocumentLanguage(document, language));
}

/** `name.quant.yaml`, or `name-2.quant.yaml` and so on when a file or an open document has the name already. */
async function freeName(folder: string, fileName: string): Promise<string> {
  const [, stem = fileName, ending = ''] = /^(.*?)((?:\.quant)?\.\w+)$/.exec(fileName) ?? [];
  const entries = await vscode.workspace.fs.readDirectory(vscode.Uri.file(folder));
  const taken = new Set([...entries.map(([name]) => name), ...vscode.workspace.textDocuments.map((document) => path.basename(document.uri.fsPath))]);
  let name = fileName;
  for (let count = 2; taken.has(name); count++) {
    name = `${stem}-${count}${ending}`;
  }
  return name;
}

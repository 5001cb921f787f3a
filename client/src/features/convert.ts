// `QuantScope: Import Quantization Config` and `Export Quantization Config`: between our language and the files of other tools, as unsaved documents.
import * as path from 'node:path';
import * as vscode from 'vscode';
import type { ImportConfigResult, Lossy } from '../../../server/src/protocol';
import { baseName, LANGUAGE, openConfig, targetConfig } from '../configs';
import type { QuantScopeContext } from '../context';
import { openUntitled } from '../untitled';
import { pickCheckpoint } from './newConfig';

/** What a script or a test answers in place of the quick picks. */
interface Answers { checkpoint?: string; to?: string; anyway?: boolean }

export function activate(context: QuantScopeContext): void {
  context.command('quantscope.importConfig', async (resource?: unknown, _selection?: unknown, answers: Answers = {}) => {
    const source = resource instanceof vscode.Uri ? resource : await sourceFile();
    if (source === undefined) {
      return undefined;
    }
    const folder = path.dirname(source.fsPath);
    const imported = await read(context, source, folder, answers.checkpoint);
    if (imported === undefined) {
      return undefined;
    }
    const editor = await openUntitled(folder, imported.fileName, imported.text, LANGUAGE);
    tellLosses(context, vscode.l10n.t('{0} ({1}) in the language of QuantScope', baseName(source), imported.title), imported.lossy);
    return editor;
  });

  context.command('quantscope.exportConfig', async (argument?: unknown, _selection?: unknown, answers: Answers = {}) => {
    const config = targetConfig(argument);
    await openConfig(config);
    const to = answers.to ?? await pickTarget(context);
    if (to === undefined) {
      return undefined;
    }
    const { text, title, fileName, lossy, grave } = await context.request('quantscope/exportConfig', { uri: config.toString(), to });
    if (grave.length > 0 && !(answers.anyway ?? await wantedAnyway(context, title, grave))) {
      return undefined;
    }
    const editor = await openUntitled(path.dirname(config.fsPath), fileName, text);
    tellLosses(context, vscode.l10n.t('{0} for {1}', baseName(config), title), lossy);
    return editor;
  });
}

/** What the user looks at, else a file of their choice. */
async function sourceFile(): Promise<vscode.Uri | undefined> {
  const active = vscode.window.activeTextEditor?.document;
  if (active !== undefined && active.uri.scheme === 'file' && active.languageId !== LANGUAGE) {
    return active.uri;
  }
  const [chosen] = await vscode.window.showOpenDialog({ title: vscode.l10n.t('File of Another Tool'), canSelectMany: false, openLabel: vscode.l10n.t('Import') }) ?? [];
  return chosen;
}

type Imported = Exclude<ImportConfigResult, { missing: string }>;

/** Asks for the unquantized checkpoint where none belongs to the file, or only a packed one. undefined when the user wants none. */
async function read(context: QuantScopeContext, source: vscode.Uri, folder: string, checkpoint: string | undefined): Promise<Imported | undefined> {
  const open = vscode.workspace.textDocuments.find(({ uri }) => uri.toString() === source.toString());
  const editor = vscode.window.activeTextEditor;
  const params = { path: source.fsPath, folder, ...(open === undefined ? {} : { text: open.getText() }), ...(editor?.document === open && editor ? { line: editor.selection.active.line } : {}) };
  const first = await context.request('quantscope/importConfig', checkpoint === undefined ? params : { ...params, checkpoint });
  if (!('missing' in first)) {
    return first;
  }
  const picked = await pickCheckpoint(vscode.l10n.t('Unquantized Checkpoint of {0}', baseName(source)));
  if (picked === undefined) {
    return undefined;
  }
  const second = await context.request('quantscope/importConfig', { ...params, checkpoint: picked });
  if ('missing' in second) {
    throw new Error(second.missing);
  }
  return second;
}

async function pickTarget(context: QuantScopeContext): Promise<string | undefined> {
  const targets = await context.request('quantscope/exportTargets', null);
  const items = targets.map(({ id, title, says }) => ({ label: title, description: id, detail: vscode.l10n.t('Can say: {0}', says), id }));
  return (await vscode.window.showQuickPick(items, { title: vscode.l10n.t('Tool to Export To'), matchOnDescription: true, matchOnDetail: true }))?.id;
}

/** The tool would do something else than the config says: whether the user wants its file all the same. */
async function wantedAnyway(context: QuantScopeContext, title: string, grave: readonly Lossy[]): Promise<boolean> {
  const [anyway, details] = [vscode.l10n.t('Export Anyway'), vscode.l10n.t('Show Details')];
  const detail = grave.slice(0, 3).map(({ place, what, why }) => `${place}\n${what}: ${why}`).join('\n\n');
  const answer = await vscode.window.showWarningMessage(vscode.l10n.t('{0} would not do what this config says. Differences: {1}.', title, grave.length), { modal: true, detail }, anyway, details);
  if (answer === details) {
    log(context, title, grave);
  }
  return answer === anyway;
}

function tellLosses(context: QuantScopeContext, what: string, lossy: readonly Lossy[]): void {
  if (lossy.length === 0) {
    void vscode.window.showInformationMessage(vscode.l10n.t('{0}: nothing got lost. Save the document to keep it.', what));
    return;
  }
  const details = vscode.l10n.t('Show Details');
  void vscode.window.showInformationMessage(vscode.l10n.t('{0}. Not said there, or only nearly: {1}.', what, lossy.length), details).then((answer) => {
    if (answer === details) {
      log(context, what, lossy);
    }
  });
}

function log(context: QuantScopeContext, title: string, lossy: readonly Lossy[]): void {
  context.log.info([title, ...lossy.map(({ place, what, why }) => `  ${place}: ${what}: ${why}`)].join('\n'));
  context.log.show();
}

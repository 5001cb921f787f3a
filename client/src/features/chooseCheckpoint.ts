// `QuantScope: Choose Checkpoint for Quantization Files`: which layers the files of other tools are about. It only writes the setting, which the server follows.
import * as path from 'node:path';
import * as vscode from 'vscode';
import type { QuantScopeContext } from '../context';
import { findCheckpoints } from './newConfig';

interface Choice extends vscode.QuickPickItem {
  /** Absolute path; '' for none. */
  choose(): string | undefined | Thenable<string | undefined>;
}

export function activate(context: QuantScopeContext): void {
  // A script or a test answers with a path in place of the quick pick.
  context.command('quantscope.chooseCheckpoint', async (argument?: unknown, answer?: string) => {
    const resource = resourceOf(argument);
    const chosen = answer ?? await pick(resource);
    if (chosen !== undefined) {
      await save(chosen, resource);
    }
    return chosen;
  });
}

/** Of a lens or quick fix (a string), of a menu (a Uri), else what the user is looking at. */
function resourceOf(argument: unknown): vscode.Uri | undefined {
  return argument instanceof vscode.Uri ? argument : typeof argument === 'string' ? vscode.Uri.parse(argument, true) : vscode.window.activeTextEditor?.document.uri;
}

async function pick(resource: vscode.Uri | undefined): Promise<string | undefined> {
  const current = vscode.workspace.getConfiguration('quantscope', resource).get<string>('checkpoint', '');
  const found: Choice[] = (await findCheckpoints()).map((file) => ({ label: path.basename(file), description: vscode.workspace.asRelativePath(path.dirname(file)), choose: () => file }));
  const others: Choice[] = [
    { label: vscode.l10n.t('$(folder-opened) Browse for a Folder…'), choose: () => browse({ canSelectFolders: true, canSelectFiles: false }) },
    { label: vscode.l10n.t('$(file) Browse for a File…'), choose: () => browse({ canSelectFolders: false, canSelectFiles: true, filters: { [vscode.l10n.t('Checkpoints')]: ['safetensors', 'json'] } }) },
    ...(current === '' ? [] : [{ label: vscode.l10n.t('$(discard) The One Beside Each File'), description: vscode.l10n.t('forgets {0}', current), choose: () => '' }]),
  ];
  const picked = await vscode.window.showQuickPick([...found, { label: '', kind: vscode.QuickPickItemKind.Separator, choose: () => undefined }, ...others],
    { title: vscode.l10n.t('Checkpoint for Quantization Files, Best the Unquantized Original'), matchOnDescription: true });
  return picked?.choose();
}

async function browse(options: vscode.OpenDialogOptions): Promise<string | undefined> {
  const [uri] = await vscode.window.showOpenDialog({ ...options, canSelectMany: false, openLabel: vscode.l10n.t('Choose') }) ?? [];
  return uri?.fsPath;
}

/** Once per workspace; per folder where it has several; for the user where none is open. Relative inside of the folder, so that the setting can be shared. */
async function save(chosen: string, resource: vscode.Uri | undefined): Promise<void> {
  const folder = (resource && vscode.workspace.getWorkspaceFolder(resource)) ?? vscode.workspace.workspaceFolders?.[0];
  const several = (vscode.workspace.workspaceFolders?.length ?? 0) > 1;
  const target = !folder ? vscode.ConfigurationTarget.Global : several ? vscode.ConfigurationTarget.WorkspaceFolder : vscode.ConfigurationTarget.Workspace;
  const inside = folder && chosen !== '' ? path.relative(folder.uri.fsPath, chosen) : '..';
  const value = chosen === '' ? undefined : inside.startsWith('..') || path.isAbsolute(inside) ? chosen : `./${inside.split(path.sep).join('/')}`;
  await vscode.workspace.getConfiguration('quantscope', folder?.uri ?? resource).update('checkpoint', value, target);
}

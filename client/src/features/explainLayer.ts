// `QuantScope: Explain This Layer`: a tree of all quantization files of the workspace, what each does to one layer, and through which of its entries.
import * as vscode from 'vscode';
import type { ExplainedEntry, FileExplanation, LayerExplanation } from '../../../server/src/protocol';
import type { QuantScopeContext } from '../context';

export const VIEW = 'quantscope.layer';

interface Question { layer: string; checkpoint?: string }
/** `file` of an entry is the one it stands in. */
type Item = { file: FileExplanation; entry?: ExplainedEntry };

export function activate(context: QuantScopeContext): void {
  const changed = new vscode.EventEmitter<undefined>();
  let question: Question | undefined;
  let answer: LayerExplanation | undefined;
  const tree = vscode.window.createTreeView<Item>(VIEW, {
    treeDataProvider: {
      onDidChangeTreeData: changed.event,
      getChildren: (item) => (item === undefined ? answer?.files.map((file) => ({ file })) ?? [] : item.entry === undefined ? item.file.entries.map((entry) => ({ file: item.file, entry })) : []),
      getTreeItem: (item) => (item.entry === undefined ? fileItem(item.file) : entryItem(item.file, item.entry)),
    },
  });
  const refresh = async (): Promise<LayerExplanation | undefined> => {
    const asked = question;
    if (asked === undefined) {
      return undefined;
    }
    const explained = await vscode.window.withProgress({ location: { viewId: VIEW } }, (_progress, token) => context.request('quantscope/explainLayer', asked, token));
    if (asked === question) {
      answer = explained;
      // Alone in its container a view shows no title of its own.
      tree.message = [asked.layer, ...factsText(explained), ...(explained.files.length === 0 ? [vscode.l10n.t('no quantization file in this workspace')] : [])].join(' · ');
      changed.fire(undefined);
    }
    return explained;
  };
  // What the view shows follows the files, as long as somebody can see it.
  const follow = (): void => {
    if (tree.visible && question !== undefined) {
      refresh().catch((error: unknown) => context.log.warn(String(error)));
    }
  };
  context.command('quantscope.explainLayer', async (argument: unknown) => {
    const asked = questionOf(argument) ?? await chooseLayer(context);
    if (asked === undefined) {
      return undefined;
    }
    question = asked;
    await vscode.commands.executeCommand(`${VIEW}.focus`);
    return refresh();
  });
  context.command('quantscope.refreshExplanation', refresh);
  context.extension.subscriptions.push(changed, tree, context.onNotification('quantscope/planChanged', follow), vscode.workspace.onDidSaveTextDocument(follow), tree.onDidChangeVisibility(follow));
}

/** Of a menu or another view: { layer, checkpoint }. */
function questionOf(argument: unknown): Question | undefined {
  const { layer, checkpoint } = (typeof argument === 'object' && argument !== null ? argument : {}) as Partial<Question>;
  return typeof layer === 'string' ? { layer, ...(typeof checkpoint === 'string' ? { checkpoint } : {}) } : undefined;
}

/** The layer under the cursor where one is written out there, else one of those that stand to choose, first what the entry at the cursor takes. */
async function chooseLayer(context: QuantScopeContext): Promise<Question | undefined> {
  const editor = vscode.window.activeTextEditor;
  if (editor === undefined) {
    throw new Error(vscode.l10n.t('Open a quantization config first, or choose a layer in a sensitivity panel or checkpoint.'));
  }
  const { line, character } = editor.selection.active;
  const { checkpoint, layers, taken } = await context.request('quantscope/layersAt', { uri: editor.document.uri.toString(), position: { line, character } });
  const word = editor.document.getWordRangeAtPosition(editor.selection.active, /[\w.-]+/);
  const written = word && editor.document.getText(word);
  const about = checkpoint === null ? {} : { checkpoint };
  const [only] = taken;
  if (written !== undefined && layers.includes(written)) {
    return { layer: written, ...about };
  }
  if (only !== undefined && taken.length === 1) {
    return { layer: only, ...about };
  }
  if (layers.length === 0) {
    throw new Error(vscode.l10n.t('This file has no checkpoint with layers to choose from.'));
  }
  const first = new Set(taken);
  const separator = (label: string): vscode.QuickPickItem => ({ label, kind: vscode.QuickPickItemKind.Separator });
  const rest = layers.filter((name) => !first.has(name)).map((label) => ({ label }));
  const picked = await vscode.window.showQuickPick(
    taken.length === 0 ? rest : [separator(vscode.l10n.t('at the cursor')), ...taken.map((label) => ({ label })), separator(vscode.l10n.t('others')), ...rest],
    { title: vscode.l10n.t('Explain This Layer'), placeHolder: vscode.l10n.t('Layer') },
  );
  return picked && { layer: picked.label, ...about };
}

function factsText({ facts }: LayerExplanation): string[] {
  return facts === null ? [] : [facts.role, `${facts.outFeatures} × ${facts.inFeatures}`, facts.dtype];
}

const icons: Record<FileExplanation['verdict'], string> = { quantized: 'fold-down', kept: 'lock', absent: 'circle-slash', unknown: 'question' };

function fileItem(file: FileExplanation): vscode.TreeItem {
  const item = new vscode.TreeItem(file.label, file.entries.length > 0 ? vscode.TreeItemCollapsibleState.Expanded : vscode.TreeItemCollapsibleState.None);
  const bits = file.averageBits === null ? '' : vscode.l10n.t('{0} bits', file.averageBits.toFixed(3));
  const verdict = { quantized: vscode.l10n.t('quantized'), kept: vscode.l10n.t('kept'), absent: vscode.l10n.t('not in its checkpoint'), unknown: vscode.l10n.t('unknown') }[file.verdict];
  item.id = `${file.uri}#${file.range ? `${file.range.start.line}:${file.range.start.character}` : ''}`;
  item.iconPath = new vscode.ThemeIcon(icons[file.verdict]);
  item.description = [file.summary, bits, file.tool].filter(Boolean).join(' · ');
  item.tooltip = new vscode.MarkdownString().appendMarkdown(`**${file.tool}** `).appendText(file.summary).appendMarkdown(`\n\n${file.rule}\n\n`).appendText(file.checkpoint ?? '');
  item.accessibilityInformation = { label: `${file.label}: ${verdict}. ${item.description}` };
  item.command = reveal(file, file.entries.find(({ decides }) => decides));
  return item;
}

function entryItem(file: FileExplanation, entry: ExplainedEntry): vscode.TreeItem {
  const item = new vscode.TreeItem(entry.text, vscode.TreeItemCollapsibleState.None);
  const place = entry.range === null ? vscode.l10n.t('not in the file') : vscode.l10n.t('line {0}', entry.range.start.line + 1);
  item.iconPath = new vscode.ThemeIcon(entry.decides ? 'check' : 'dash');
  item.description = `${entry.effect} · ${place} · ${entry.why}`;
  item.tooltip = `${entry.effect}\n${entry.why}`;
  item.accessibilityInformation = { label: `${entry.decides ? vscode.l10n.t('decides') : vscode.l10n.t('overruled')}: ${entry.text}, ${item.description}` };
  item.command = reveal(file, entry);
  return item;
}

function reveal({ uri, range }: FileExplanation, entry: ExplainedEntry | undefined): vscode.Command {
  const at = entry?.range ?? range;
  const options: vscode.TextDocumentShowOptions = at === undefined ? {} : { selection: new vscode.Range(at.start.line, at.start.character, at.end.line, at.end.character) };
  return { command: 'vscode.open', title: vscode.l10n.t('Open'), arguments: [vscode.Uri.parse(uri), options] };
}

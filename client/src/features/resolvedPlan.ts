// `QuantScope: Show Resolved Plan` and `Compare Resolved Plans`: read-only documents that the language server writes, and VS Code's own diff of two of them.
import * as vscode from 'vscode';
import { baseName, chooseConfig, openConfig, targetConfig } from '../configs';
import type { QuantScopeContext } from '../context';

/** As the server's planText.ts reads it: the config whole in the query, a name for the tab in the path. */
function planUri(config: vscode.Uri): vscode.Uri {
  return vscode.Uri.from({ scheme: 'quantscope-plan', path: `/${baseName(config).replace(/\.quant\.ya?ml$/, '') || 'config'}.plan`, query: config.toString() });
}

export function activate(context: QuantScopeContext): void {
  context.command('quantscope.showPlan', async (argument: unknown, rule: unknown) => {
    const config = targetConfig(argument);
    await openConfig(config);
    const document = await vscode.workspace.openTextDocument(planUri(config));
    const shown = vscode.window.visibleTextEditors.find((each) => each.document === document);
    const editor = await vscode.window.showTextDocument(document, { viewColumn: shown?.viewColumn ?? vscode.ViewColumn.Beside, preserveFocus: true, preview: true });
    const decided = typeof rule === 'string' ? linesOf(document, rule) : [];
    const [first] = decided;
    if (first !== undefined) {
      editor.selections = decided.map(({ start, end }) => new vscode.Selection(start, end));
      editor.revealRange(first, vscode.TextEditorRevealType.InCenterIfOutsideViewport);
    }
    return editor;
  });

  context.command('quantscope.comparePlans', async (argument: unknown, other: unknown) => {
    const config = targetConfig(argument);
    const second = other instanceof vscode.Uri ? other : await chooseConfig(config);
    if (second !== undefined) {
      await vscode.commands.executeCommand('vscode.diff', planUri(config), planUri(second), vscode.l10n.t('Plans: {0} ↔ {1}', baseName(config), baseName(second)));
    }
  });
}

/** Layers that a rule decides, by the arrow at the ends of their lines. */
function linesOf(document: vscode.TextDocument, rule: string): vscode.Range[] {
  const lines = Array.from({ length: document.lineCount }, (_, line) => document.lineAt(line));
  return lines.filter(({ text }) => text.replace(/ {2}! .*$/, '').endsWith(`  ← ${rule}`)).map(({ range, firstNonWhitespaceCharacterIndex }) => range.with(range.start.translate(0, firstNonWhitespaceCharacterIndex)));
}

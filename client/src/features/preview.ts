// `QuantScope: Preview Quantized Model`, `Preview This Rule Only` and `Compare Two Configs`: which candidates, and the panel that shows them.
import * as vscode from 'vscode';
import type { PreviewResult, Range, RuleMatch } from '../../../server/src/protocol';
import type { PreviewSource } from '../../../webview/src/messages';
import { baseName, chooseConfig, openConfig, targetConfig } from '../configs';
import type { QuantScopeContext } from '../context';
import { viewOptions } from '../webviewHost';
import { PreviewPanel } from './previewPanel';
import type { SavedPreview } from './previewPanel';

export const VIEW = 'quantscope.preview';

export function activate(context: QuantScopeContext): void {
  const panels = new Map<string, PreviewPanel>();
  const attach = (panel: vscode.WebviewPanel, saved: SavedPreview): PreviewPanel => {
    const key = saved.candidates[0]?.uri ?? '';
    const preview = new PreviewPanel(context, panel, saved);
    panels.set(key, preview);
    panel.onDidDispose(() => panels.delete(key));
    return preview;
  };
  const run = (first: PreviewSource, ...others: PreviewSource[]): Promise<PreviewResult | undefined> => {
    let preview = panels.get(first.uri);
    if (preview === undefined) {
      const title = vscode.l10n.t('Preview: {0}', baseName(vscode.Uri.parse(first.uri)));
      const column = { viewColumn: columnBeside(first.uri), preserveFocus: true };
      preview = attach(vscode.window.createWebviewPanel(VIEW, title, column, viewOptions(context.extension.extensionUri)), { candidates: [first, ...others], asDeployed: false, result: null });
    } else {
      preview.panel.reveal(undefined, true);
    }
    return preview.run([first, ...others]);
  };

  context.command('quantscope.preview', (argument: unknown) => run(whole(targetConfig(argument))));
  context.command('quantscope.previewRule', async (argument: unknown, index: unknown) => {
    const config = targetConfig(argument);
    const rule = typeof index === 'number' ? index : await chooseRule(context, config);
    return rule === undefined ? undefined : run({ uri: config.toString(), rule, label: vscode.l10n.t('{0}, rule {1} only', baseName(config), rule + 1) });
  });
  context.command('quantscope.compareConfigs', async (argument: unknown, other: unknown) => {
    const config = targetConfig(argument);
    const second = other instanceof vscode.Uri ? other : await chooseConfig(config);
    return second === undefined ? undefined : run(whole(config), whole(second));
  });

  context.extension.subscriptions.push(vscode.window.registerWebviewPanelSerializer(VIEW, {
    deserializeWebviewPanel: async (panel, state: unknown) => {
      const saved = savedPreview(state);
      if (saved === undefined) {
        panel.dispose();
      } else {
        attach(panel, saved);
      }
    },
  }));
}

/** Beside the editor that shows the config, wherever the command came from; other panels of the config stand there too. */
function columnBeside(config: string): vscode.ViewColumn {
  const shown = vscode.window.visibleTextEditors.find(({ document }) => document.uri.toString() === config)?.viewColumn;
  return shown === undefined ? vscode.ViewColumn.Beside : shown + 1;
}

function whole(config: vscode.Uri): PreviewSource {
  return { uri: config.toString(), label: baseName(config) };
}

/** The rule under the cursor, else the one the user picks. Rules that quantize no layer have nothing to show and are left out. */
async function chooseRule(context: QuantScopeContext, config: vscode.Uri): Promise<number | undefined> {
  await openConfig(config);
  const { plan } = await context.request('quantscope/plan', { uri: config.toString() });
  const quantized = plan.layers.filter(({ recipe }) => recipe.weights.kind !== 'keep' || recipe.activations.kind !== 'keep');
  const ranges = new Map<number, Range>(quantized.flatMap(({ decidedBy }) => (decidedBy === null || decidedBy.rule < 0 ? [] : [[decidedBy.rule, decidedBy.range] as const])));
  const editor = vscode.window.activeTextEditor;
  const line = editor?.document.uri.toString() === config.toString() ? editor.selection.active.line : -1;
  const here = [...ranges].find(([, { start, end }]) => line >= start.line && line <= end.line);
  if (here !== undefined) {
    return here[0];
  }
  const items = plan.rules.flatMap((rule, index) => (ranges.has(index) ? [{ label: rule.name, description: describe(rule), detail: rule.text, index }] : []));
  if (items.length === 0) {
    throw new Error(vscode.l10n.t('No rule of {0} quantizes any layer, so none can be previewed alone.', baseName(config)));
  }
  return (await vscode.window.showQuickPick(items, { title: vscode.l10n.t('Rule to Preview Alone'), matchOnDetail: true }))?.index;
}

function describe({ decidedLayers, averageBits }: RuleMatch): string {
  return vscode.l10n.t('{0} layers · {1} bits', decidedLayers, averageBits?.toFixed(3) ?? '–');
}

/** What webview/src/views/preview.ts keeps in the view's state for this moment. */
function savedPreview(state: unknown): SavedPreview | undefined {
  const { candidates, asDeployed, result } = (typeof state === 'object' && state !== null ? state : {}) as Partial<SavedPreview>;
  const usable = Array.isArray(candidates) && candidates.length > 0 && candidates.every((each) => typeof each?.uri === 'string');
  return usable ? { candidates, asDeployed: asDeployed === true, result: result ?? null } : undefined;
}

// One panel for each config: bars, heat map and table of its layers. It follows reports and plan, and survives a reload of the window.
import * as vscode from 'vscode';
import type { LayerReport, Plan } from '../../../server/src/protocol';
import type { SensitivityState } from '../../../webview/src/messages';
import { baseName, openConfig, revealInConfig, targetConfig } from '../configs';
import { errorMessage } from '../context';
import type { AnalysisEvent, QuantScopeContext } from '../context';
import { openView, viewOptions } from '../webviewHost';

export const VIEW = 'quantscope.sensitivity';

export function activate(context: QuantScopeContext): void {
  const panels = new Map<string, vscode.WebviewPanel>();
  const running = new Set<string>();
  const attach = (config: vscode.Uri, panel: vscode.WebviewPanel): void => {
    panels.set(config.toString(), panel);
    panel.onDidDispose(() => panels.delete(config.toString()));
    follow(context, config, panel, running);
  };

  context.command('quantscope.showSensitivity', (argument: unknown) => {
    const config = targetConfig(argument);
    const existing = panels.get(config.toString());
    if (existing !== undefined) {
      existing.reveal(undefined, true);
      return;
    }
    const title = vscode.l10n.t('Sensitivity: {0}', baseName(config));
    const column = { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true };
    attach(config, vscode.window.createWebviewPanel(VIEW, title, column, { ...viewOptions(context.extension.extensionUri), retainContextWhenHidden: false }));
  });

  context.extension.subscriptions.push(
    context.analysis.event(({ uri, state }) => (state === 'running' ? running.add(uri) : running.delete(uri))),
    vscode.window.registerWebviewPanelSerializer(VIEW, {
      deserializeWebviewPanel: async (panel, state: unknown) => {
        const uri = savedConfig(state);
        if (uri === undefined) {
          panel.dispose();
        } else {
          attach(vscode.Uri.parse(uri), panel);
        }
      },
    }),
  );
}

/** The `uri` that webview/src/views/sensitivity.ts keeps in the view's state. */
function savedConfig(state: unknown): string | undefined {
  const uri = typeof state === 'object' && state !== null && 'uri' in state ? state.uri : undefined;
  return typeof uri === 'string' ? uri : undefined;
}

function follow(context: QuantScopeContext, config: vscode.Uri, panel: vscode.WebviewPanel, running: ReadonlySet<string>): void {
  const uri = config.toString();
  let plan: Plan | null = null;
  const load = async (): Promise<SensitivityState> => {
    const known = { uri, config: baseName(config), running: running.has(uri), failures: [] };
    try {
      await openConfig(config);
      const answer = await context.request('quantscope/plan', { uri });
      plan = answer.plan;
      return { ...known, plan, reports: answer.reports, error: null };
    } catch (error) {
      plan = null;
      return { ...known, plan, reports: [] as LayerReport[], error: errorMessage(error) };
    }
  };
  const view = openView(panel.webview, context.extension.extensionUri, 'sensitivity', {
    load,
    analyze: async () => {
      await vscode.commands.executeCommand('quantscope.analyze', config);
      return null;
    },
    preview: async () => {
      // Not awaited: it has a panel of its own.
      void vscode.commands.executeCommand('quantscope.preview', config);
      return null;
    },
    reveal: async ({ layer }) => {
      const decision = plan?.layers.find(({ name }) => name === layer)?.decidedBy ?? null;
      if (decision === null) {
        throw new Error(vscode.l10n.t('No rule decides {0}: it keeps the checkpoint\'s values.', layer));
      }
      const { start, end } = decision.range;
      await revealInConfig(config, new vscode.Range(start.line, start.character, end.line, end.character));
      return null;
    },
  });
  const analysis = async (event: AnalysisEvent): Promise<void> => {
    if (event.uri !== uri) {
      return;
    }
    if (event.state === 'running') {
      view.send({ type: 'running' });
    } else if (event.state === 'finished') {
      plan = event.result.plan;
      const { plan: shown, layers: reports, failures } = event.result;
      view.send({ type: 'state', state: { uri, config: baseName(config), running: false, plan: shown, reports, failures, error: null } });
      view.send({ type: 'ended', reason: 'finished', message: null });
    } else {
      view.send({ type: 'ended', reason: event.state, message: event.state === 'failed' ? event.message : null });
    }
  };
  const listeners = vscode.Disposable.from(
    view,
    context.analysis.event((event) => void analysis(event)),
    context.onNotification('quantscope/reports', (params) => {
      if (params.uri === uri) {
        view.send({ type: 'reports', layers: params.layers, done: params.done, total: params.total });
      }
    }),
    context.onNotification('quantscope/planChanged', (params) => {
      if (params.uri === uri) {
        void load().then((state) => view.send({ type: 'state', state }));
      }
    }),
  );
  panel.onDidDispose(() => listeners.dispose());
}

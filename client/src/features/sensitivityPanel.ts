// One panel for each config: effect of its layers, errors of their weights, allocation of bits. It follows reports, jobs and plan, and survives a reload of the window.
import * as vscode from 'vscode';
import type { LayerReport, Plan } from '../../../server/src/protocol';
import type { Diagnosis, SensitivityState, SensitivityTab } from '../../../webview/src/messages';
import { baseName, openConfig, revealInConfig, targetConfig } from '../configs';
import { errorMessage } from '../context';
import type { AnalysisEvent, QuantScopeContext } from '../context';
import { openView, viewOptions } from '../webviewHost';

export const VIEW = 'quantscope.sensitivity';
const TABS: readonly SensitivityTab[] = ['effect', 'weights', 'allocation'];

export function activate(context: QuantScopeContext): void {
  const panels = new Map<string, { panel: vscode.WebviewPanel; show: (tab: SensitivityTab) => void }>();
  const running = new Set<string>();
  const attach = (config: vscode.Uri, panel: vscode.WebviewPanel, tab: SensitivityTab | null): void => {
    panels.set(config.toString(), { panel, show: follow(context, config, panel, running, tab) });
    panel.onDidDispose(() => panels.delete(config.toString()));
  };

  context.command('quantscope.showSensitivity', (argument: unknown, asked: unknown) => {
    const config = targetConfig(argument);
    const tab = TABS.find((each) => each === asked) ?? null;
    const existing = panels.get(config.toString());
    if (existing !== undefined) {
      existing.panel.reveal(undefined, true);
      if (tab !== null) {
        existing.show(tab);
      }
      return;
    }
    const title = vscode.l10n.t('Sensitivity: {0}', baseName(config));
    const column = { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true };
    attach(config, vscode.window.createWebviewPanel(VIEW, title, column, { ...viewOptions(context.extension.extensionUri), retainContextWhenHidden: false }), tab);
  });

  context.extension.subscriptions.push(
    context.analysis.event(({ uri, state }) => (state === 'running' ? running.add(uri) : running.delete(uri))),
    vscode.window.registerWebviewPanelSerializer(VIEW, {
      deserializeWebviewPanel: async (panel, state: unknown) => {
        const saved = savedView(state);
        if (saved === undefined) {
          panel.dispose();
        } else {
          context.diagnoses.restore(saved.uri, saved.diagnosis);
          attach(vscode.Uri.parse(saved.uri), panel, null);
        }
      },
    }),
  );
}

/** What webview/src/views/sensitivity.ts keeps in the view's state for this moment. */
function savedView(state: unknown): { uri: string; diagnosis: Partial<Diagnosis> } | undefined {
  const { uri, diagnosis } = (typeof state === 'object' && state !== null ? state : {}) as { uri?: unknown; diagnosis?: Partial<Diagnosis> };
  return typeof uri === 'string' && uri !== '' ? { uri, diagnosis: diagnosis ?? {} } : undefined;
}

/** @returns shows a tab, at once or as soon as the view is there. */
function follow(context: QuantScopeContext, config: vscode.Uri, panel: vscode.WebviewPanel, running: ReadonlySet<string>, first: SensitivityTab | null): (tab: SensitivityTab) => void {
  const uri = config.toString();
  let plan: Plan | null = null;
  let budgetBytes: number | null = null;
  let tab = first;
  let loaded = false;
  const started = (command: string, ...args: unknown[]): Promise<null> => {
    // Not awaited: events tell how it goes, and a failure is the command's to report.
    void vscode.commands.executeCommand(command, config, ...args);
    return Promise.resolve(null);
  };
  const load = async (): Promise<SensitivityState> => {
    const known = { uri, config: baseName(config), running: running.has(uri), failures: [], diagnosis: context.diagnoses.of(uri), tab };
    try {
      await openConfig(config);
      const answer = await context.request('quantscope/plan', { uri });
      ({ plan, budgetBytes } = answer);
      return { ...known, plan, reports: answer.reports, error: null, budgetBytes };
    } catch (error) {
      plan = null;
      budgetBytes = null;
      return { ...known, plan, reports: [] as LayerReport[], error: errorMessage(error), budgetBytes };
    }
  };
  const view = openView(panel.webview, context.extension.extensionUri, 'sensitivity', {
    load: async () => {
      const state = await load();
      [tab, loaded] = [null, true];
      return state;
    },
    analyze: async () => {
      await vscode.commands.executeCommand('quantscope.analyze', config);
      return null;
    },
    preview: () => started('quantscope.preview'),
    rank: ({ by }) => started('quantscope.rankLayers', by),
    findBad: () => started('quantscope.findFirstBad'),
    allocate: (options) => started('quantscope.allocate', options),
    apply: async () => {
      await vscode.commands.executeCommand('quantscope.applyAllocation', config);
      return null;
    },
    explain: ({ layer }) => {
      void vscode.commands.executeCommand('quantscope.explainLayer', { layer, checkpoint: plan?.checkpoint });
      return Promise.resolve(null);
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
      view.send({ type: 'state', state: { uri, config: baseName(config), running: false, plan: shown, reports, failures, error: null, budgetBytes, diagnosis: context.diagnoses.of(uri), tab: null } });
      view.send({ type: 'ended', reason: 'finished', message: null });
    } else {
      view.send({ type: 'ended', reason: event.state, message: event.state === 'failed' ? event.message : null });
    }
  };
  const listeners = vscode.Disposable.from(
    view,
    // A hidden page is gone and loads anew.
    panel.onDidChangeViewState(() => {
      loaded &&= panel.visible;
    }),
    context.analysis.event((event) => void analysis(event)),
    context.diagnoses.onChange((change) => {
      if (change.uri === uri) {
        view.send(change.event);
      }
    }),
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
  return (next) => {
    tab = loaded ? null : next;
    view.send({ type: 'show', tab: next });
  };
}

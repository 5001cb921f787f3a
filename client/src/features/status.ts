// Two items: the language status of a config says what its plan amounts to; the status bar item says how server and engine are.
import * as vscode from 'vscode';
import type { PlanTotals, StatusParams } from '../../../server/src/protocol';
import { LANGUAGE } from '../configs';
import { errorMessage } from '../context';
import type { QuantScopeContext } from '../context';

export function activate(context: QuantScopeContext): void {
  activateHealth(context);
  activatePlanSummary(context);
  context.command('quantscope.restart', () => context.restart());
  context.command('quantscope.showLog', () => context.log.show());
}

const ICONS: Record<StatusParams['health'], string> = { ok: '$(pulse)', busy: '$(loading~spin)', warning: '$(warning)', error: '$(error)' };

function activateHealth(context: QuantScopeContext): void {
  const item = vscode.window.createStatusBarItem('quantscope.health', vscode.StatusBarAlignment.Right, 0);
  item.name = vscode.l10n.t('QuantScope Health');
  item.command = 'quantscope.showLog';
  const show = (status: StatusParams): void => {
    item.text = `${ICONS[status.health]} QuantScope`;
    item.tooltip = healthHover(status);
    item.accessibilityInformation = { label: `QuantScope: ${status.health}. ${status.message}`, role: 'status' };
    const theme = { error: 'statusBarItem.errorBackground', warning: 'statusBarItem.warningBackground', ok: undefined, busy: undefined }[status.health];
    item.backgroundColor = theme === undefined ? undefined : new vscode.ThemeColor(theme);
    item.show();
  };
  show(context.status);
  context.extension.subscriptions.push(item, context.onNotification('quantscope/status', show));
}

function healthHover(status: StatusParams): vscode.MarkdownString {
  const hover = new vscode.MarkdownString(undefined, true);
  hover.isTrusted = { enabledCommands: ['quantscope.showLog', 'quantscope.restart', 'workbench.action.openSettings'] };
  hover.appendMarkdown('**QuantScope** ').appendText(`${status.message}\n`);
  const { info } = status;
  if (info !== null) {
    hover.appendMarkdown('\n\n').appendText(vscode.l10n.t('Engine {0} · {1} · {2} threads · process {3}', info.version, info.cpuLevel, info.threads, info.pid));
    const { available, reason, jobs, devices, device } = info.cuda;
    const runs = (): string => vscode.l10n.t('CUDA runs {0} on {1}', jobs.join(', '), devices[device ?? -1]?.name ?? vscode.l10n.t('a device'));
    hover.appendMarkdown(`\n\n${plain(available ? runs() : vscode.l10n.t('CUDA is not used: {0}', reason))}`);
    if (available && reason !== '') {
      hover.appendMarkdown(`\n\n${plain(vscode.l10n.t('It runs kernels that every device has: {0}', reason))}`);
    }
  }
  const settings = encodeURIComponent(JSON.stringify(['@ext:quantscope.quantscope']));
  hover.appendMarkdown(`\n\n[$(output) ${vscode.l10n.t('Log')}](command:quantscope.showLog) · [$(debug-restart) ${vscode.l10n.t('Restart')}](command:quantscope.restart)`);
  hover.appendMarkdown(` · [$(gear) ${vscode.l10n.t('Settings')}](command:workbench.action.openSettings?${settings})`);
  return hover;
}

/** Text as Markdown. appendText() would join its words by spaces that lines do not break at. */
function plain(text: string): string { return text.replace(/[\\`*_{}[\]()#+\-!~<>&|]/g, '\\$&'); }

function activatePlanSummary(context: QuantScopeContext): void {
  const item = vscode.languages.createLanguageStatusItem('quantscope.plan', [{ language: LANGUAGE }]);
  item.name = vscode.l10n.t('Quantization Plan');
  let latest = 0;
  const refresh = async (uri: string): Promise<void> => {
    const ticket = ++latest;
    item.busy = true;
    try {
      const { plan } = await context.request('quantscope/plan', { uri });
      if (ticket === latest) {
        item.text = planSummary(plan.totals);
        item.detail = plan.architecture;
        item.severity = vscode.LanguageStatusSeverity.Information;
        item.command = { command: 'quantscope.showSensitivity', title: vscode.l10n.t('Show Sensitivity'), arguments: [vscode.Uri.parse(uri)] };
      }
    } catch (error) {
      if (ticket === latest) {
        item.text = vscode.l10n.t('No plan');
        item.detail = errorMessage(error);
        item.severity = vscode.LanguageStatusSeverity.Warning;
        item.command = undefined;
      }
    } finally {
      if (ticket === latest) {
        item.busy = false;
      }
    }
  };
  const follow = (editor: vscode.TextEditor | undefined): void => {
    if (editor?.document.languageId === LANGUAGE) {
      void refresh(editor.document.uri.toString());
    }
  };
  context.extension.subscriptions.push(
    item,
    vscode.window.onDidChangeActiveTextEditor(follow),
    context.onNotification('quantscope/planChanged', ({ uri }) => {
      if (vscode.window.activeTextEditor?.document.uri.toString() === vscode.Uri.parse(uri).toString()) {
        void refresh(uri);
      }
    }),
  );
  follow(vscode.window.activeTextEditor);
}

function planSummary(totals: PlanTotals): string {
  const megabytes = totals.packedBytes / 1e6;
  return vscode.l10n.t('{0} layers · {1} bits on average · {2} MB', totals.layers, totals.averageBits.toFixed(3), megabytes.toFixed(megabytes < 10 ? 2 : 0));
}

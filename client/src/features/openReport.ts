// `QuantScope: Open Report`: writes the evidence report and shows its HTML, which needs nothing from outside, in a panel.
import * as vscode from 'vscode';
import { baseName, openConfig, targetConfig } from '../configs';
import type { QuantScopeContext } from '../context';

const VIEW = 'quantscope.report';

export function activate(context: QuantScopeContext): void {
  let panel: vscode.WebviewPanel | undefined;
  let shown: vscode.Uri | undefined;

  context.command('quantscope.openReport', async (argument: unknown) => {
    const config = targetConfig(argument);
    await openConfig(config);
    const title = vscode.l10n.t('Writing the report of {0}', baseName(config));
    const written = await vscode.window.withProgress({ location: vscode.ProgressLocation.Notification, title, cancellable: true },
      (_progress, token) => context.request('quantscope/writeReport', { uri: config.toString() }, token));
    shown = vscode.Uri.file(written.html);
    const html = new TextDecoder().decode(await vscode.workspace.fs.readFile(shown));
    if (panel === undefined) {
      panel = vscode.window.createWebviewPanel(VIEW, vscode.l10n.t('QuantScope Report'), vscode.ViewColumn.Active, { enableFindWidget: true, localResourceRoots: [] });
      panel.onDidDispose(() => {
        panel = undefined;
      }, undefined, context.extension.subscriptions);
    }
    panel.webview.html = withPolicy(html);
    panel.reveal();
    return written;
  });

  context.command('quantscope.openReportExternally', async () => {
    if (shown !== undefined && !(await vscode.env.openExternal(shown))) {
      throw new Error(vscode.l10n.t('No program opens {0}.', shown.fsPath));
    }
  });
}

/** The report is a file on disk that anybody may have changed: it may show its styles and inlined pictures, and run nothing. */
export function withPolicy(html: string): string {
  const policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src \'unsafe-inline\'; img-src data:; font-src data:">';
  return /<head[^>]*>/i.test(html) ? html.replace(/<head[^>]*>/i, (head) => head + policy) : policy + html;
}

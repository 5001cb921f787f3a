// `QuantScope: Open Report`: writes the evidence report and shows its HTML, which needs nothing from outside, in a panel.
import * as vscode from 'vscode';
import type { WriteReportResult } from '../../../server/src/protocol';
import { baseName, openConfig, targetConfig } from '../configs';
import type { QuantScopeContext } from '../context';
import { durationText, LONG, withJobProgress } from '../jobs';

const VIEW = 'quantscope.report';

export function activate(context: QuantScopeContext): void {
  let panel: vscode.WebviewPanel | undefined;
  let shown: vscode.Uri | undefined;

  context.command('quantscope.openReport', async (argument: unknown) => {
    const config = targetConfig(argument);
    await openConfig(config);
    const modelRuns = await confirmed(context, config.toString());
    if (modelRuns === undefined) {
      return undefined;
    }
    const written = await write(context, config, modelRuns);
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

async function write(context: QuantScopeContext, config: vscode.Uri, modelRuns: boolean): Promise<WriteReportResult> {
  const source = new vscode.CancellationTokenSource();
  try {
    return await withJobProgress(context, {
      title: vscode.l10n.t('Writing the report of {0}', baseName(config)), source,
      request: (workDoneToken) => context.request('quantscope/writeReport', { uri: config.toString(), modelRuns, workDoneToken }, source.token),
    });
  } finally {
    source.dispose();
  }
}

/** Whether pictures and sensitivities, which run the model, are part of it: asked when they take long. undefined when the user wants no report. */
async function confirmed(context: QuantScopeContext, uri: string): Promise<boolean | undefined> {
  const { seconds } = await context.request('quantscope/reportEstimate', { uri });
  if (seconds <= LONG) {
    return true;
  }
  const [all, without] = [vscode.l10n.t('Write'), vscode.l10n.t('Without Model Runs')];
  const message = vscode.l10n.t('Pictures and sensitivities of this report take about {0} on this machine.', durationText(seconds));
  const answer = await vscode.window.showInformationMessage(message, all, without, vscode.l10n.t('Cancel'));
  return answer === all ? true : answer === without ? false : undefined;
}

/** The report is a file on disk that anybody may have changed: it may show its styles and inlined pictures, and run nothing. */
export function withPolicy(html: string): string {
  const policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src \'unsafe-inline\'; img-src data:; font-src data:">';
  return /<head[^>]*>/i.test(html) ? html.replace(/<head[^>]*>/i, (head) => head + policy) : policy + html;
}

// `QuantScope: Analyze Layers`: measures every layer of a config with progress and cancel, and opens the panel that fills while it runs.
import * as vscode from 'vscode';
import type { AnalyzeResult } from '../../../server/src/protocol';
import { baseName, openConfig, targetConfig } from '../configs';
import { errorMessage } from '../context';
import type { QuantScopeContext } from '../context';

export function activate(context: QuantScopeContext): void {
  const running = new Set<string>();
  context.command('quantscope.analyze', async (argument: unknown) => {
    const uri = targetConfig(argument);
    const key = uri.toString();
    await openConfig(uri);
    await vscode.commands.executeCommand('quantscope.showSensitivity', uri, 'weights');
    if (running.has(key)) {
      return undefined;
    }
    running.add(key);
    try {
      return await analyze(context, uri);
    } finally {
      running.delete(key);
    }
  });
}

async function analyze(context: QuantScopeContext, config: vscode.Uri): Promise<AnalyzeResult> {
  const uri = config.toString();
  context.analysis.fire({ uri, state: 'running' });
  try {
    const result = await withReportProgress(context, config);
    context.analysis.fire({ uri, state: 'finished', result });
    context.log.info(`${baseName(config)}: ${result.layers.length} layers in ${Math.round(result.milliseconds)} ms, ${result.cached} of them from the cache`);
    if (result.failures.length > 0) {
      context.reportFailure(new Error(vscode.l10n.t('{0} of {1} layers could not be measured. The first: {2}: {3}',
        result.failures.length, result.plan.layers.length, result.failures[0]?.name ?? '', result.failures[0]?.message ?? '')));
    }
    return result;
  } catch (error) {
    context.analysis.fire(error instanceof vscode.CancellationError ? { uri, state: 'cancelled' } : { uri, state: 'failed', message: errorMessage(error) });
    throw error;
  }
}

function withReportProgress(context: QuantScopeContext, config: vscode.Uri): Thenable<AnalyzeResult> {
  const title = vscode.l10n.t('Analyzing {0}', baseName(config));
  return vscode.window.withProgress({ location: vscode.ProgressLocation.Notification, title, cancellable: true }, async (progress, token) => {
    let percent = 0;
    const reports = context.onNotification('quantscope/reports', ({ uri, done, total }) => {
      if (uri === config.toString() && total > 0) {
        const next = (100 * done) / total;
        progress.report({ increment: next - percent, message: vscode.l10n.t('{0} of {1} layers', done, total) });
        percent = next;
      }
    });
    try {
      return await context.request('quantscope/analyze', { uri: config.toString() }, token);
    } finally {
      reports.dispose();
    }
  });
}

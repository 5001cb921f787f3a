/** Plans and measured layers. */
import type { CancellationToken } from 'vscode-languageserver';
import { readBudget } from '../analysis/allocate/budget';
import { analyze } from '../analysis/report';
import type { AnalyzeParams, AnalyzeResult, LayerReport } from '../protocol';
import { requestFor, withWorkFolder } from '../quantize/recipes';
import { baseOf } from './context';
import type { RequestContext } from './context';

export function registerAnalysis(context: RequestContext): void {
  context.onRequest('quantscope/analyze', (params, token) => analyzeLayers(context, params, token));
  context.onRequest('quantscope/plan', async ({ uri }) => {
    const { plan, reports, parsed: { config } } = await context.planned(uri);
    return { plan, reports: [...reports.values()], budgetBytes: config.budget ? readBudget(undefined, config, plan.totals).bytes : null };
  });
}

async function analyzeLayers(context: RequestContext, { uri, layers, sampleRows, workDoneToken }: AnalyzeParams, token: CancellationToken): Promise<AnalyzeResult> {
  const started = performance.now();
  const model = await context.planned(uri);
  const found = new Map<string, LayerReport>();
  try {
    const analysis = await context.working('Analyzing layers', workDoneToken, (onProgress) => withWorkFolder(context.cacheFolder, (folder) => analyze(requestFor(model, baseOf(uri), { folder }), context.engine, context.cache, {
      layers, sampleRows, cancellation: token, onProgress,
      onReport: (each, done, total) => {
        found.set(each.name, each);
        context.notify('quantscope/reports', { uri, layers: [each], done, total });
      },
    })));
    return { plan: model.plan, ...analysis, milliseconds: performance.now() - started };
  } finally {
    await context.learned(uri, model, [...found.values()]);
  }
}

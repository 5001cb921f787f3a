/** Plans, measured layers and the evidence report. */
import { basename } from 'node:path';
import { ErrorCodes, ResponseError } from 'vscode-languageserver';
import type { CancellationToken } from 'vscode-languageserver';
import { readBudget } from '../analysis/allocate/budget';
import { buildEvidence, writeEvidence } from '../analysis/evidence';
import { analyze } from '../analysis/report';
import { thresholdsOf } from '../config/thresholds';
import { configPath } from '../language/model';
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
  context.onRequest('quantscope/writeReport', async ({ uri, workDoneToken }, token) => {
    const path = configPath(uri);
    if (!path) {
      throw new ResponseError(ErrorCodes.InvalidParams, 'Save this config first: the report is written beside it.');
    }
    const { plan, layers, failures, cached } = await analyzeLayers(context, { uri, ...(workDoneToken === undefined ? {} : { workDoneToken }) }, token);
    const model = await context.model(uri);
    const evidence = buildEvidence({ config: basename(path), plan, analysis: { layers, failures, cached }, problems: model?.problems ?? [], thresholds: thresholdsOf(model?.parsed.config.findings?.value), engine: await context.engine.info(), date: new Date() });
    return writeEvidence(evidence, path.replace(/(\.quant)?\.ya?ml$/, '') + '.report.html');
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

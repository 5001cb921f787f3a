/** The evidence report. */
import { ErrorCodes, ResponseError } from 'vscode-languageserver';
import { writeEvidence } from '../analysis/evidence';
import { estimateReport } from '../analysis/evidence/estimate';
import { defaultSeeds, gatherEvidence } from '../analysis/evidence/gather';
import type { EvidenceRequest } from '../analysis/evidence/gather';
import { configPath } from '../language/model';
import type { LayerReport } from '../protocol';
import type { PlannedModel, RequestContext } from './context';

export function registerReport(context: RequestContext): void {
  context.onRequest('quantscope/reportEstimate', async ({ uri }) => estimateReport(requestOf(context, uri, await context.planned(uri)), context.engine));
  context.onRequest('quantscope/writeReport', async ({ uri, modelRuns = true, workDoneToken }, token) => {
    const model = await context.planned(uri);
    const request = requestOf(context, uri, model, modelRuns);
    const found = new Map<string, LayerReport>();
    try {
      const evidence = await context.working('Writing the report', workDoneToken, (onProgress) => gatherEvidence({
        ...request, cancellation: token, onProgress,
        onReport: (each, done, total) => {
          found.set(each.name, each);
          context.notify('quantscope/reports', { uri, layers: [each], done, total });
        },
      }, context.engine, context.cache));
      return await writeEvidence(evidence, request.path.replace(/(\.quant)?\.ya?ml$/, '') + '.report.html');
    } finally {
      await context.learned(uri, model, [...found.values()]);
    }
  });
}

function requestOf(context: RequestContext, uri: string, loaded: PlannedModel, modelRuns = true): EvidenceRequest {
  const path = configPath(uri);
  if (!path) {
    throw new ResponseError(ErrorCodes.InvalidParams, 'Save this config first: the report is written beside it.');
  }
  return { loaded, path, text: loaded.document.getText(), cacheFolder: context.cacheFolder, preview: modelRuns ? { seeds: defaultSeeds } : null, sensitivity: modelRuns ? 'usual' : 'none', by: 'layer', hash: false, gates: [], capture: null };
}

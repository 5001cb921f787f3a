/** Runs of the model: previews and captures. */
import { captureResult } from '../analysis/findings';
import { thresholdsOf } from '../config/thresholds';
import { readCapture, readCell } from '../preview/captureFile';
import { capture, estimate, preview } from '../preview/service';
import type { PreviewConfig } from '../preview/service';
import type { RequestContext } from './context';

export function registerPreviews(context: RequestContext): void {
  const configOf = async ({ uri, rule }: { uri: string; rule?: number }): Promise<PreviewConfig> => ({ uri, loaded: await context.planned(uri), ...(rule === undefined ? {} : { rule }) });

  context.onRequest('quantscope/preview', async ({ candidates, asDeployed = false, session, workDoneToken }, token) => {
    const configs = await Promise.all(candidates.map(configOf));
    return context.working('Previewing', workDoneToken, (report) => preview(configs, {
      cacheFolder: context.cacheFolder, cancellation: token, onProgress: report,
      onFrame: (frame, items) => context.notify('quantscope/previewFrame', { session, frame, items }),
    }, context.engine, {}, asDeployed));
  });
  context.onRequest('quantscope/previewEstimate', async ({ uris, asDeployed = false }) =>
    estimate(await Promise.all(uris.map((uri) => configOf({ uri }))), context.cacheFolder, context.engine, {}, asDeployed));
  context.onRequest('quantscope/capture', async ({ uri, path, workDoneToken }, token) => {
    const config = await configOf({ uri });
    return context.working('Capturing activations', workDoneToken, async (onProgress) => captureResult(await capture(config, path, { cancellation: token, onProgress }, context.engine)));
  });
  context.onRequest('quantscope/openCapture', async ({ path, uri }) => {
    const model = uri === undefined ? undefined : await context.model(uri);
    return captureResult(await readCapture(path), model && thresholdsOf(model.parsed.config.findings?.value));
  });
  context.onRequest('quantscope/captureCell', ({ path, layer, half, step }) => readCell(path, layer, half, step));
}

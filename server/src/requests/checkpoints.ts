/** Checkpoints and their tensors, new configs for them, and the engine itself. */
import { basename } from 'node:path';
import { ErrorCodes, ResponseError } from 'vscode-languageserver';
import { findTensor, tensorStats } from '../analysis/tensorStats';
import { checkpointName } from '../config/convert/names';
import { newConfigText } from '../config/template';
import { methods } from '../methods';
import type { RequestContext } from './context';

export function registerCheckpoints(context: RequestContext): void {
  context.onRequest('quantscope/checkpoint', ({ path }) => context.store.get(path));
  context.onRequest('quantscope/tensorStats', async ({ path, tensor }, token) => {
    const found = findTensor(await context.store.get(path), tensor);
    if (!found) {
      throw new ResponseError(ErrorCodes.InvalidParams, `${basename(path)} has no tensor "${tensor}". It may have changed on disk; reopen it.`);
    }
    return tensorStats(found, context.engine, { cancellation: token });
  });
  context.onRequest('quantscope/methods', () => Promise.resolve([...methods.values()].map(({ name, title, summary, schemes }) => ({ name, title, summary, schemes }))));
  context.onRequest('quantscope/newConfig', async ({ checkpoint: path, method, scheme, folder }) => {
    const checkpoint = await context.store.get(path);
    return { text: newConfigText(checkpoint, checkpointName(folder, path), method, scheme), fileName: `${basename(path).replace(/\.safetensors(\.index\.json)?$/, '')}.quant.yaml` };
  });
  context.onRequest('quantscope/restartEngine', async () => {
    await context.engine.restart();
    return context.engine.info();
  });
}

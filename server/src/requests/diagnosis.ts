/** Which layers break, and the cheapest fix under a budget: sensitivity, the first bad layer, allocation. */
import { ErrorCodes, ResponseError } from 'vscode-languageserver';
import { URI } from 'vscode-uri';
import { allocateConfig, usualVerification } from '../analysis/allocate';
import { planChanges, textChanges, textHash } from '../analysis/allocate/changes';
import { firstBad } from '../analysis/firstBad';
import type { FirstBadRequest } from '../analysis/firstBad';
import { sensitivity } from '../analysis/sensitivity';
import { isSensitivityUnit } from '../analysis/sensitivity/units';
import type { LossKind, Score } from '../protocol';
import { baseOf } from './context';
import type { PlannedModel, RequestContext } from './context';

const losses: readonly unknown[] = ['weights', 'outputs', 'sensitivity'] satisfies LossKind[];

export function registerDiagnosis(context: RequestContext): void {
  const subject = (uri: string, loaded: PlannedModel, steps: number | undefined): Pick<FirstBadRequest, 'loaded' | 'base' | 'steps' | 'cacheFolder'> => {
    return { loaded, base: baseOf(uri), steps: steps === undefined ? undefined : whole('steps', steps, 1, 1000), cacheFolder: context.cacheFolder };
  };

  context.onRequest('quantscope/sensitivity', async ({ uri, by, steps, estimateOnly = false, workDoneToken }, cancellation) => {
    if (!isSensitivityUnit(by)) {
      throw new ResponseError(ErrorCodes.InvalidParams, `"by" must be layer, block or role, not ${JSON.stringify(by)}.`);
    }
    const model = await context.planned(uri);
    const planHash = model.plan.hash;
    // Only what is new: a ranking of 500 layers with all their steps would be sent 500 times.
    const sent = new Set<Score>();
    const onRanking = (ranking: readonly Score[]): void => {
      const scores = ranking.filter((score) => !sent.has(score));
      scores.forEach((score) => sent.add(score));
      context.notify('quantscope/ranking', { uri, by, planHash, scores, measured: ranking.filter(({ estimate }) => !estimate).length, total: ranking.length });
    };
    const result = await context.working('Ranking layers', workDoneToken, (onProgress) =>
      sensitivity({ ...subject(uri, model, steps), by, estimateOnly, cancellation, onProgress, onRanking }, context.engine));
    return { planHash, sensitivity: result };
  });

  context.onRequest('quantscope/firstBad', async ({ uri, steps, workDoneToken }, cancellation) => {
    const model = await context.planned(uri);
    const found = await context.working('Finding the first bad layer', workDoneToken, (onProgress) => firstBad({ ...subject(uri, model, steps), cancellation, onProgress }, context.engine));
    return { planHash: model.plan.hash, firstBad: found };
  });

  context.onRequest('quantscope/allocate', async ({ uri, budget, options, layers, loss, verify, workDoneToken }, cancellation) => {
    if (!losses.includes(loss)) {
      throw new ResponseError(ErrorCodes.InvalidParams, `"loss" must be weights, outputs or sensitivity, not ${JSON.stringify(loss)}.`);
    }
    const verification = verify && { finalists: whole('finalists', verify.finalists ?? usualVerification.finalists, 2, 100), seeds: whole('seeds', verify.seeds ?? usualVerification.seeds, 1, 100) };
    const { document, plan } = await context.planned(uri);
    const { store, cache, cacheFolder, engine } = context;
    const { allocation, rewritten } = await context.working('Allocating bits', workDoneToken, (onProgress) =>
      allocateConfig({ document, path: URI.parse(uri).fsPath, store, budget, options, layers, loss, verify: verification, cache, cacheFolder, cancellation, onProgress }, engine));
    return {
      allocation, changes: planChanges(plan, rewritten.plan), edits: textChanges(document, rewritten.text),
      planHash: plan.hash, newPlanHash: rewritten.plan.hash, textHash: textHash(document.getText()),
    };
  });
}

function whole(name: string, value: number, low: number, high: number): number {
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new ResponseError(ErrorCodes.InvalidParams, `${name} must be a whole number from ${low} to ${high}, not ${String(value)}.`);
  }
  return value;
}

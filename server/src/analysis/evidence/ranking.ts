/** Sensitivities for a report: measured where that is asked for or known, else the estimate, and in any case what was done. */
import type { Engine } from '../../engine/client';
import type { Sensitivity, SensitivityUnit } from '../../protocol';
import { sensitivity } from '../sensitivity';
import type { SensitivityRequest } from '../sensitivity';
import { knownSensitivity } from '../sensitivity/known';

const units: readonly SensitivityUnit[] = ['layer', 'block', 'role'];

/** measure: all of it runs. usual: what an earlier run has measured, by any unit, else the estimate. */
export type RankingMode = 'measure' | 'usual';

/** @throws as sensitivity */
export async function rank(request: SensitivityRequest, mode: RankingMode, engine: Engine): Promise<Sensitivity> {
  return mode === 'measure' ? sensitivity(request, engine) : await knownRanking(request, engine) ?? sensitivity({ ...request, estimateOnly: true }, engine);
}

/** By the asked unit first, then by others. @throws as sensitivity */
export async function knownRanking(request: SensitivityRequest, engine: Engine): Promise<Sensitivity | undefined> {
  if (request.cacheFolder === null) {
    return undefined;
  }
  for (const by of [request.by, ...units.filter((unit) => unit !== request.by)]) {
    const found = await knownSensitivity({ ...request, by }, request.cacheFolder, engine);
    if (found) {
      return found;
    }
  }
  return undefined;
}

/** Finished rankings, kept whole beside the measurements they are made of: a report finds them without preparing a recipe or starting the engine. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Engine } from '../../engine/client';
import { identitiesOn } from '../../preview/device';
import { openPipeline } from '../../preview/pipelines';
import { comparedSteps } from '../../preview/preview';
import { trajectoryKey } from '../../preview/trajectory';
import type { Sensitivity } from '../../protocol';
import { readRecord, writeRecord } from '../../quantize/files';
import { fitIdentities, requestFor } from '../../quantize/recipes';
import type { SensitivityRequest } from '.';

type Subject = Pick<SensitivityRequest, 'loaded' | 'base' | 'by' | 'only' | 'steps'>;

/** What an earlier run has measured of this plan, on this checkpoint, with these settings and this build. @throws ModelError, CheckpointError as sensitivity */
export async function knownSensitivity(subject: Subject, folder: string, engine: Engine): Promise<Sensitivity | undefined> {
  for (const path of await pathsOf(subject, folder, engine)) {
    const known = await readRecord<Sensitivity>(path);
    if (known) {
      return known;
    }
  }
  return undefined;
}

export async function keepSensitivity(subject: Subject, found: Sensitivity, folder: string, engine: Engine): Promise<void> {
  const [path = ''] = await pathsOf(subject, folder, engine);
  await writeRecord(path, found);
}

/** By everything that the numbers depend on, first where an engine that runs keeps them. */
async function pathsOf({ loaded, base, by, only, steps }: Subject, folder: string, engine: Engine): Promise<string[]> {
  const request = requestFor(loaded, base, { folder });
  const { plan, checkpoint, preview } = request;
  const pipeline = await openPipeline(checkpoint, { ...preview, ...(steps === undefined ? {} : { compareSteps: steps }) }, base);
  const fitted = await fitIdentities(request, engine);
  const layers = plan.layers.filter(({ name }) => only?.has(name) ?? true).map(({ name, block, role, recipe }) => [name, block, role, recipe, fitted.get(name) ?? null]);
  return identitiesOn(engine, 'float32').map((identity) => {
    const trajectories = pipeline.items.map((_, item) => trajectoryKey(pipeline, item, engine, identity));
    const key = createHash('sha256').update(JSON.stringify([1, by, trajectories, comparedSteps(pipeline.settings), layers])).digest('hex');
    return join(folder, 'sensitivity', `ranking-${key}.json`);
  });
}

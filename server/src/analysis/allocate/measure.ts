/** Whole plans, run end to end at stored points of the full-precision trajectory. Every run is kept, so a stopped one goes on and a known one costs nothing. */
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { tidy } from '../../cacheFolder';
import type { LoadedConfig } from '../../config/load';
import type { Engine, JobOptions } from '../../engine/client';
import type { LinearRecipe } from '../../engine/graph';
import { ModelError } from '../../models/builder';
import { identitiesOn, JobDevice } from '../../preview/device';
import { psnrDb, valueRange } from '../../preview/metrics';
import { openPipeline } from '../../preview/pipelines';
import type { Pipeline } from '../../preview/pipelines';
import { cleanAt, comparedSteps, forcedOutputs } from '../../preview/preview';
import { referenceTrajectory, trajectoryKey } from '../../preview/trajectory';
import type { Plan, VerificationScope } from '../../protocol';
import { readRecord, writeRecord } from '../../quantize/files';
import { engineRecipes, prepareRecipes, requestFor } from '../../quantize/recipes';

export interface PlanRuns {
  /** Its checkpoint and preview settings; the plans stand in for its own. */
  loaded: LoadedConfig;
  /** Folder of the config. */
  base: string;
  plans: readonly { name: string; plan: Plan }[];
  /** Seeds of the starting noise, instead of the config's. */
  seeds: readonly number[];
  /** Where runs, trajectories and fitted layers are kept. */
  folder: string;
  cancellation?: JobOptions['cancellation'];
  onProgress?: ((fraction: number, what: string) => void) | undefined;
  /** All samples of a plan, as soon as they are there. */
  onMeasured?: ((index: number, samples: readonly Sample[]) => void) | undefined;
}

/** One item from one seed. */
export interface Sample {
  item: number;
  seed: number;
  /** PSNR of the clean latents against full precision, mean over the compared steps that differ, dB; null when all are equal. */
  latentPsnrDb: number | null;
  finite: boolean;
}

const limits = { files: 100_000, bytes: 2 ** 28 };

/** @returns samples by plan, in the order of items within seeds; the same for all plans. @throws ModelError, CheckpointError, EngineError */
export async function runPlans(request: PlanRuns, engine: Engine): Promise<{ samples: Sample[][]; scope: Omit<VerificationScope, 'leftOut'> }> {
  const { loaded, base, plans, seeds, folder, cancellation, onProgress } = request;
  const { checkpoint, preview } = requestFor(loaded, base, { folder });
  const home = join(folder, 'plans');
  await mkdir(home, { recursive: true });
  await tidy(home, limits);
  const pipelines = await Promise.all(seeds.map((seed) => openPipeline(checkpoint, { ...preview, mode: 'forced', seed }, base)));
  const items = pipelines[0]?.items ?? [];
  const runs: Run[] = pipelines.flatMap((pipeline) => items.map((name, item) => ({ pipeline, item, name })));
  const recipes: Record<string, LinearRecipe>[] = [];
  for (const { name, plan } of plans) {
    recipes.push(engineRecipes(await prepareRecipes({ ...requestFor({ ...loaded, plan }, base, { folder, cancellation }), onProgress: (_, what) => onProgress?.(0, `${name}: ${what}`) }, engine)));
  }
  const scope = { items, seeds: [...seeds], steps: pipelines[0] ? comparedSteps(pipelines[0].settings) : [] };
  const pathOf = ({ pipeline, item }: Run, own: Record<string, LinearRecipe>, identity: string): string => join(home, `${keyOf(pipeline, item, own, identity, engine)}.json`);
  // All plans on the same arithmetic: that of earlier runs where these have everything, or the device's in bfloat16, as previews.
  for (const identity of identitiesOn(engine)) {
    const known = await Promise.all(recipes.map((own) => Promise.all(runs.map((each) => readRecord<Sample>(pathOf(each, own, identity))))));
    const samples = known.map((own) => own.filter((sample) => sample !== undefined));
    if (samples.every(({ length }) => length === runs.length)) {
      samples.forEach((own, index) => request.onMeasured?.(index, own));
      return { samples, scope };
    }
  }
  const device = await JobDevice.of(engine);
  const samples: Sample[][] = [];
  for (const [index, own] of recipes.entries()) {
    const found: Sample[] = [];
    for (const each of runs) {
      onProgress?.((index + found.length / runs.length) / plans.length, `${plans[index]?.name ?? ''}: ${each.name}, seed ${each.pipeline.settings.seed}`);
      const path = pathOf(each, own, device.identity);
      const sample = await readRecord<Sample>(path) ?? await measure(each, own, join(folder, 'trajectories'), device, engine, { cancellation });
      await writeRecord(path, sample);
      found.push(sample);
    }
    samples.push(found);
    request.onMeasured?.(index, found);
  }
  return { samples, scope };
}

/** One item of one seed. */
interface Run { pipeline: Pipeline; item: number; name: string }

function keyOf(pipeline: Pipeline, item: number, recipes: Readonly<Record<string, LinearRecipe>>, identity: string, engine: Engine): string {
  return createHash('sha256').update(JSON.stringify([1, trajectoryKey(pipeline, item, engine, identity), comparedSteps(pipeline.settings), recipes])).digest('hex');
}

async function measure({ pipeline, item }: Run, recipes: Record<string, LinearRecipe>, trajectories: string, device: JobDevice, engine: Engine, job: JobOptions): Promise<Sample> {
  const options = { ...job, ...device.options };
  const reference = await referenceTrajectory(trajectories, pipeline, item, engine, () => options, device.identity);
  if (!reference.outputs.every((output) => output.every(Number.isFinite))) {
    throw new ModelError(`The full-precision model gives values that are not finite (${pipeline.items[item] ?? ''}): there is nothing to compare plans with. "quantscope sensitivity --first-bad" names the layer they come from.`);
  }
  const own = await forcedOutputs(pipeline, item, reference, pipeline.settings, recipes, engine, () => options);
  const steps = comparedSteps(pipeline.settings).map((step) => [cleanAt(pipeline, own, step), cleanAt(pipeline, reference, step)] as const);
  const finite = steps.every(([latent]) => latent.every(Number.isFinite));
  const found = finite ? steps.flatMap(([latent, clean]) => psnrDb(latent, clean, valueRange(clean)) ?? []) : [];
  return { item, seed: pipeline.settings.seed, latentPsnrDb: found.length > 0 ? found.reduce((sum, value) => sum + value, 0) / found.length : null, finite };
}

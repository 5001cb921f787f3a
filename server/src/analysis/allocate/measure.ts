/** Whole plans, run end to end at stored points of the full-precision trajectory. Every run is kept, so a stopped one goes on and a known one costs nothing. */
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { tidy } from '../../cacheFolder';
import type { LoadedConfig } from '../../config/load';
import type { Engine, JobOptions } from '../../engine/client';
import type { LinearRecipe } from '../../engine/graph';
import { ModelError } from '../../models/builder';
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
  const runs = pipelines.flatMap((pipeline) => items.map((name, item) => ({ pipeline, item, name })));
  const total = plans.length * runs.length;
  const samples: Sample[][] = [];
  for (const [index, { name, plan }] of plans.entries()) {
    const report = (fraction: number, what: string): void => onProgress?.((index * runs.length + fraction * runs.length) / total, `${name}: ${what}`);
    const recipes = engineRecipes(await prepareRecipes({ ...requestFor({ ...loaded, plan }, base, { folder, cancellation }), onProgress: (_, what) => report(0, what) }, engine));
    const own: Sample[] = [];
    for (const { pipeline, item, name: what } of runs) {
      report(own.length / runs.length, `${what}, seed ${pipeline.settings.seed}`);
      const path = join(home, `${keyOf(pipeline, item, recipes, engine)}.json`);
      const found = await readRecord<Sample>(path) ?? await run(pipeline, item, recipes, join(folder, 'trajectories'), engine, { cancellation });
      await writeRecord(path, found);
      own.push(found);
    }
    samples.push(own);
    request.onMeasured?.(index, own);
  }
  return { samples, scope: { items, seeds: [...seeds], steps: pipelines[0] ? comparedSteps(pipelines[0].settings) : [] } };
}

function keyOf(pipeline: Pipeline, item: number, recipes: Readonly<Record<string, LinearRecipe>>, engine: Engine): string {
  return createHash('sha256').update(JSON.stringify([1, trajectoryKey(pipeline, item, engine), comparedSteps(pipeline.settings), recipes])).digest('hex');
}

async function run(pipeline: Pipeline, item: number, recipes: Record<string, LinearRecipe>, trajectories: string, engine: Engine, options: JobOptions): Promise<Sample> {
  const reference = await referenceTrajectory(trajectories, pipeline, item, engine, () => options);
  if (!reference.outputs.every((output) => output.every(Number.isFinite))) {
    throw new ModelError(`The full-precision model gives values that are not finite (${pipeline.items[item] ?? ''}): there is nothing to compare plans with. "quantscope sensitivity --first-bad" names the layer they come from.`);
  }
  const own = await forcedOutputs(pipeline, item, reference, pipeline.settings, recipes, engine, () => options);
  const steps = comparedSteps(pipeline.settings).map((step) => [cleanAt(pipeline, own, step), cleanAt(pipeline, reference, step)] as const);
  const finite = steps.every(([latent]) => latent.every(Number.isFinite));
  const found = finite ? steps.flatMap(([latent, clean]) => psnrDb(latent, clean, valueRange(clean)) ?? []) : [];
  return { item, seed: pipeline.settings.seed, latentPsnrDb: found.length > 0 ? found.reduce((sum, value) => sum + value, 0) / found.length : null, finite };
}

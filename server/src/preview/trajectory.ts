/** A sampling run of one item: every x_t, the model's output there, and the finished sample. The full-precision one is computed once and kept on disk. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { tidy } from '../cacheFolder';
import type { Engine } from '../engine/client';
import type { LinearRecipe } from '../engine/graph';
import { CheckpointError, openCheckpoint, requireUnchanged } from '../checkpoint';
import { readValues, writeSafetensors } from '../checkpoint/values';
import type { TensorValues } from '../checkpoint/values';
import type { Pipeline, PredictOptions } from './pipelines';

/** A trajectory takes a megabyte for a picture of DiT, hundreds for a video. */
const limits = { files: 5_000, bytes: 4 * 2 ** 30 };

export interface Trajectory { /** x at each step, then the finished sample. */ samples: Float32Array[]; /** Guided output at each step. */ outputs: Float32Array[]; cached: boolean }

/** What the numbers of a trajectory depend on. @param device see identityOn */
export function trajectoryKey({ checkpoint, identity }: Pipeline, item: number, engine: Engine, device = ''): string {
  return createHash('sha256').update(JSON.stringify([2, checkpoint.path, checkpoint.revision, `${engine.identity()}${device}`, identity(item)])).digest('hex');
}

/** @param folder null keeps nothing. */
export async function cachedTrajectory(folder: string | null, key: string, steps: number): Promise<Trajectory | undefined> {
  if (folder === null) {
    return undefined;
  }
  try {
    const { tensors } = await openCheckpoint(join(folder, `${key}.safetensors`));
    const values = new Map<string, Float32Array>();
    for (const tensor of tensors) {
      values.set(tensor.name, (await readValues(tensor)).data);
    }
    const list = (name: string, count: number): Float32Array[] => Array.from({ length: count }, (_, i) => values.get(`${name}.${i}`)).filter((value) => value !== undefined);
    const [samples, outputs] = [list('sample', steps + 1), list('output', steps)];
    return samples.length === steps + 1 && outputs.length === steps ? { samples, outputs, cached: true } : undefined;
  } catch (error) {
    if (error instanceof CheckpointError) {
      return undefined; // absent or damaged: computed again
    }
    throw error;
  }
}

/** The full-precision one: from the folder, or run now and kept there. @param device that `options` make it run on */
export async function referenceTrajectory(folder: string | null, pipeline: Pipeline, item: number, engine: Engine, options: (step: number) => PredictOptions, device = ''): Promise<Trajectory> {
  const key = trajectoryKey(pipeline, item, engine, device);
  const known = await cachedTrajectory(folder, key, pipeline.settings.steps);
  if (known) {
    return known;
  }
  const made = await computeTrajectory(pipeline, item, {}, engine, options);
  await storeTrajectory(folder, key, made, pipeline.shape);
  return made;
}

/** @param options asked for anew at every step: cancel, progress within the step, what to capture there. */
export async function computeTrajectory(pipeline: Pipeline, item: number, recipes: Record<string, LinearRecipe>, engine: Engine, options: (step: number) => PredictOptions): Promise<Trajectory> {
  const sampler = pipeline.sampler();
  const samples = [pipeline.noise()];
  const outputs: Float32Array[] = [];
  for (const [step, timestep] of sampler.timesteps.entries()) {
    const x = samples[step] ?? new Float32Array();
    const output = await pipeline.predict(item, x, timestep, recipes, engine, options(step));
    outputs.push(output);
    samples.push(sampler.step(output, step, x));
  }
  await requireUnchanged(pipeline.checkpoint);
  return { samples, outputs, cached: false };
}

async function storeTrajectory(folder: string | null, key: string, { samples, outputs }: Trajectory, shape: number[]): Promise<void> {
  if (folder === null) {
    return;
  }
  const named = (name: string, list: Float32Array[]): [string, TensorValues][] => list.map((data, i) => [`${name}.${i}`, { shape, data }]);
  await writeSafetensors(join(folder, `${key}.safetensors`), Object.fromEntries([...named('sample', samples), ...named('output', outputs)]));
  await tidy(folder, limits);
}

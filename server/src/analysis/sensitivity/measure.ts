/** What swapping quantized layers into the clean model does to its guided output, at steps of the full-precision trajectory: only what comes after the first swapped layer runs. Every measurement is kept. */
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { tidy } from '../../cacheFolder';
import { requireUnchanged } from '../../checkpoint';
import type { TensorRef } from '../../engine/addon';
import type { Engine, JobOptions } from '../../engine/client';
import type { LinearRecipe } from '../../engine/graph';
import { ModelError } from '../../models/builder';
import { identitiesOn, JobDevice } from '../../preview/device';
import { psnrDb, relativeMse, valueRange } from '../../preview/metrics';
import type { Pipeline } from '../../preview/pipelines';
import { comparedSteps } from '../../preview/preview';
import { referenceTrajectory, trajectoryKey } from '../../preview/trajectory';
import type { Trajectory } from '../../preview/trajectory';
import { readRecord, writeRecord } from '../../quantize/files';
import { Walk, cutsOf } from './sections';
import type { Cut, SectionOptions, Suffix } from './sections';

/** What is changed of the clean model. */
export interface Swap {
  name: string;
  layers: readonly string[];
  recipes: Readonly<Record<string, LinearRecipe>>;
  /** Other weights instead of recipes; made when they are needed. `identity` tells what they are. */
  weights?: { identity: unknown; make(): Promise<ReadonlyMap<string, TensorRef>> };
}

/** At one step of one item. */
export interface Effect {
  item: number;
  step: number;
  timestep: number;
  /** Of the guided output, ‖swapped − clean‖² / ‖clean‖²; null when the swapped one is not finite. */
  relativeMse: number | null;
  /** Of the estimate of the clean sample that the output leads to, relative as well; null when not finite. */
  latentRelativeMse: number | null;
  /** The same in dB against its range; null when the estimates are equal, or not finite. */
  latentPsnrDb: number | null;
  /** Values that differ when nothing is swapped and the same suffix runs: 0. */
  zeroSwap: number;
}

export interface MeasureRequest {
  pipeline: Pipeline;
  swaps: readonly Swap[];
  /** Where measurements and trajectories are kept. */
  folder: string;
  /** Only this step of the first item. */
  only?: number;
  cancellation?: JobOptions['cancellation'];
  onProgress?: ((fraction: number, what: string) => void) | undefined;
  /** A swap whose effects are complete, one for each item and step. */
  onMeasured?: ((swap: Swap, effects: Effect[]) => void) | undefined;
}

const limits = { files: 200_000, bytes: 2 ** 30 };

/** @returns by swap, in their order. @throws ModelError, EngineError */
export async function measure(request: MeasureRequest, engine: Engine): Promise<ReadonlyMap<Swap, Effect[]>> {
  const { pipeline, swaps, folder, only, cancellation } = request;
  const home = join(folder, 'sensitivity');
  await mkdir(home, { recursive: true });
  await tidy(home, limits);
  const points = pipeline.items.flatMap((_, item) => comparedSteps(pipeline.settings).map((step) => ({ item, step }))).filter((point) => only === undefined || (point.item === 0 && point.step === only));
  const found = new Map<Swap, Effect[]>(swaps.map((swap) => [swap, []]));
  let done = 0;
  const add = (swap: Swap, effect: Effect): void => {
    const effects = found.get(swap) ?? [];
    effects.push(effect);
    request.onProgress?.(++done / (points.length * swaps.length), swap.name);
    if (effects.length === points.length) {
      request.onMeasured?.(swap, effects);
    }
  };
  for (const { item, step } of points) {
    const pathOn = (identity: string, swap: Swap): string => join(home, `${keyOf(swap, trajectoryKey(pipeline, item, engine, identity), step)}.json`);
    const missing: Swap[] = [];
    for (const swap of swaps) {
      const [known] = (await Promise.all(identitiesOn(engine, 'float32').map((identity) => readRecord<Effect>(pathOn(identity, swap))))).filter((each) => each !== undefined);
      if (known) {
        add(swap, known);
      } else {
        missing.push(swap);
      }
    }
    if (missing.length > 0) {
      const device = await JobDevice.of(engine, 'float32'); // effects of 8 bits are smaller than rounding to bfloat16
      const options = { cancellation, ...device.options };
      const reference = await referenceTrajectory(join(folder, 'trajectories'), pipeline, item, engine, (each) => {
        request.onProgress?.(done / (points.length * swaps.length), `full precision, step ${each + 1} of ${pipeline.settings.steps}`);
        return options;
      }, device.identity);
      await measureAt({ request, item, step, reference, swaps: missing, options }, engine, async (swap, effect) => {
        await requireUnchanged(pipeline.checkpoint);
        await writeRecord(pathOn(device.identity, swap), effect);
        add(swap, effect);
      });
    }
  }
  return found;
}

function keyOf({ layers, recipes, weights }: Swap, trajectory: string, step: number): string {
  return createHash('sha256').update(JSON.stringify([1, trajectory, step, layers.map((layer) => [layer, recipes[layer] ?? null]), weights?.identity ?? null])).digest('hex');
}

interface Point { request: MeasureRequest; item: number; step: number; reference: Trajectory; swaps: readonly Swap[]; options: SectionOptions }

/** All swaps at one step, in order of the forward pass: both halves of guidance walk from cut to cut together. */
async function measureAt({ request: { pipeline }, item, step, reference, swaps, options }: Point, engine: Engine, received: (swap: Swap, effect: Effect) => Promise<void>): Promise<void> {
  const timestep = pipeline.sampler().timesteps[step] ?? 0;
  const [x, clean] = [reference.samples[step] ?? new Float32Array(), reference.outputs[step] ?? new Float32Array()];
  if (!clean.every(Number.isFinite)) {
    throw new ModelError(`The full-precision model gives values that are not finite at step ${step} (${pipeline.items[item] ?? ''}): there is nothing to compare with. "sensitivity --first-bad" names the layer they come from.`);
  }
  const blocks = new Map(pipeline.checkpoint.layers.map(({ name, block }) => [name, block]));
  const walks = pipeline.callsAt(item, x, timestep).map((call) => ({ walk: new Walk(call, engine), cuts: cutsOf(call.program.program, (layer) => blocks.get(layer) ?? null) }));
  const effect = (output: Float32Array, zeroSwap: number): Effect => {
    const [latent, reached] = [output, clean].map((each) => pipeline.sampler().clean(each, step, x)) as [Float32Array, Float32Array];
    return { item, step, timestep, relativeMse: finite(relativeMse(output, clean)), latentRelativeMse: finite(relativeMse(latent, reached)), latentPsnrDb: finite(psnrDb(latent, reached, valueRange(reached))), zeroSwap };
  };
  for (const [cut, here] of byCut(swaps, walks[0]?.cuts ?? [])) {
    for (const { walk, cuts } of walks) {
      await walk.advance(cuts[cut]?.op ?? 0, options);
    }
    const suffixes = (weights?: ReadonlyMap<string, TensorRef>): Promise<Suffix[]> => Promise.all(walks.map(({ walk }) => walk.suffix(options, weights)));
    const guided = async (opened: readonly Suffix[], recipes: Swap['recipes']): Promise<Float32Array> => {
      const samples: Float32Array[] = [];
      for (const suffix of opened) {
        samples.push(await suffix.run(recipes, options));
      }
      return pipeline.guided(samples);
    };
    await using(suffixes(), async (opened) => {
      const zeroSwap = differing(await guided(opened, {}), clean);
      for (const swap of here) {
        const output = swap.weights ? await using(suffixes(await swap.weights.make()), (changed) => guided(changed, {})) : await guided(opened, swap.recipes);
        await received(swap, effect(output, zeroSwap));
      }
    });
  }
}

async function using<T>(suffixes: Promise<readonly Suffix[]>, use: (opened: readonly Suffix[]) => Promise<T>): Promise<T> {
  const opened = await suffixes;
  try {
    return await use(opened);
  } finally {
    await Promise.all(opened.map((suffix) => suffix.close()));
  }
}

/** Swaps by the cut before their first layer, ascending. @throws ModelError for a layer without a linear in the forward pass */
function byCut(swaps: readonly Swap[], cuts: readonly Cut[]): [number, Swap[]][] {
  const found = new Map<number, Swap[]>();
  for (const swap of swaps) {
    const cut = cuts.findIndex(({ layers }) => layers.some((layer) => swap.layers.includes(layer)));
    if (cut < 0) {
      throw new ModelError(`${swap.name} takes no part in the forward pass of this model, so it has no effect to measure. Leave it out with --layers.`);
    }
    found.set(cut, [...(found.get(cut) ?? []), swap]);
  }
  return [...found].sort(([a], [b]) => a - b);
}

function finite(value: number | null): number | null { return Number.isFinite(value) ? value : null; }

/** Values whose bits differ. */
function differing(a: Float32Array, b: Float32Array): number {
  const [x, y] = [a, b].map(({ buffer, byteOffset, length }) => new Uint32Array(buffer, byteOffset, length)) as [Uint32Array, Uint32Array];
  return x.reduce((count, bits, i) => count + (bits === y[i] ? 0 : 1), Math.abs(x.length - y.length));
}

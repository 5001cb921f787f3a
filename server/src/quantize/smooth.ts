/** Smoothing factors of the layers that read one input. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { staticRange } from '../calibration/ranges';
import { balance, largest, searchGrid } from '../calibration/smoothing';
import type { Engine, JobOptions } from '../engine/client';
import type { LinearRecipe } from '../engine/graph';
import type { LayerPlan } from '../protocol';
import { LayerProbe } from './evaluate';
import { refOf, withFit, writeTensor } from './files';

/** Largest |w| per input channel over all of them, [width]. */
export async function weightSalience(peers: readonly LayerPlan[], engine: Engine, { cancellation }: JobOptions): Promise<Float32Array> {
  const each: Float32Array[] = [];
  for (const { tensor } of peers) {
    each.push((await engine.columnRange({ tensor: refOf(tensor) }, { cancellation })).absMax);
  }
  return largest(each);
}

export interface Search {
  peers: readonly LayerPlan[];
  /** Largest |x| per channel, by captured step. */
  absMax: readonly Float32Array[];
  salience: Float32Array;
  steps: number;
  /** Rows of the input, [rows, width]. */
  sample: Float32Array;
  /** For the files of candidates, removed in the end. */
  folder: string;
  job: JobOptions;
}

/** SVDQuant's grid: the factors with the least error of all outputs together, the low-rank branches in place after one factorisation. */
export async function searchFactors({ peers, absMax, salience, steps, sample, folder, job }: Search, engine: Engine): Promise<Float32Array> {
  const activations = largest(absMax);
  const probes = peers.map((peer) => ({ peer, probe: new LayerProbe(engine, peer, sample) }));
  const grid = searchGrid(steps);
  let [best, least]: [Float32Array, number] = [activations.map(() => 1), Infinity];
  for (const [index, { alpha, beta }] of grid.entries()) {
    const factors = balance(activations, salience, alpha, beta);
    const inverse = factors.map((factor) => 1 / factor);
    const values = await writeTensor(folder, 'candidate', 'F32', [inverse.length], inverse);
    const scaled = (): Float32Array => sample.map((value, i) => value * (inverse[i % inverse.length] ?? 1));
    let error = 0;
    for (const { peer, probe } of probes) {
      error += await probe.outputError(await candidate(peer, { kind: 'scale', values }, scaled, folder, engine, job), { cancellation: job.cancellation });
    }
    if (error < least) {
      [best, least] = [factors, error];
    }
    job.progress?.((index + 1) / grid.length);
  }
  await Promise.all(['candidate', 'candidate-branch'].map((name) => rm(join(folder, `${name}.safetensors`), { force: true })));
  return best;
}

async function candidate({ name, recipe: { weights, activations, lowRank }, tensor }: LayerPlan, scale: LinearRecipe['transforms'][number], scaled: () => Float32Array, folder: string, engine: Engine, { cancellation }: JobOptions): Promise<LinearRecipe> {
  const activationRange = activations.kind === 'int' && activations.range === 'static' ? staticRange(scaled(), activations.bits, activations.symmetric) : null;
  const recipe: LinearRecipe = { transforms: [scale], tail: 0, lowRank: null, weights, activations, activationRange, packed: null };
  if (!lowRank) {
    return recipe;
  }
  const out = join(folder, 'candidate-branch.safetensors');
  await engine.quantizeLayer({ layer: name, weight: refOf(tensor), recipe, solver: { kind: 'rtn' }, secondMoments: null, lowRank: { rank: lowRank.rank, iterations: 1 }, out }, { cancellation });
  return withFit(recipe, out);
}

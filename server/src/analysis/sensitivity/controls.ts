/** Controls that say whether sensitivities mean something: Gaussian noise of the same size instead of the quantization error of the weights. */
import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readValues } from '../../checkpoint/values';
import type { TensorRef } from '../../engine/addon';
import type { Engine, JobOptions } from '../../engine/client';
import type { LinearRecipe } from '../../engine/graph';
import type { LayerPlan } from '../../protocol';
import { refOf, writeTensor } from '../../quantize/files';
import { torchRandn } from '../../samplers/noise';
import type { Swap } from './measure';
import type { Unit } from './units';

const seed = 0;

/** The unit with its weights quantized and its activations as they are. */
export function weightsAlone(unit: Unit): Swap {
  const recipe = (each: LinearRecipe): LinearRecipe => ({ ...each, activations: { kind: 'keep', dtype: 'original' }, activationRange: null });
  return { name: `${unit.name}, weights alone`, layers: unit.layers, recipes: Object.fromEntries(Object.entries(unit.recipes).map(([name, each]) => [name, recipe(each)])) };
}

/** The unit in full precision, W + E in each layer: E is Gaussian with the Frobenius norm of what quantizing does to W. @param folder holds the weights for as long as `dispose` was not called */
export function matchedNoise(unit: Unit, folder: string, engine: Engine, job: JobOptions): Swap & { dispose(): Promise<void> } {
  const home = join(folder, `noise-${randomUUID()}`);
  let made: Promise<ReadonlyMap<string, TensorRef>> | undefined;
  const make = async (): Promise<ReadonlyMap<string, TensorRef>> => {
    await mkdir(home, { recursive: true });
    const weights = new Map<string, TensorRef>();
    for (const [i, layer] of unit.plans.filter(quantizesWeights).entries()) {
      weights.set(layer.name, await perturbed(layer, unit.recipes[layer.name] as LinearRecipe, join(home, String(i)), seed + i, engine, job));
    }
    return weights;
  };
  return {
    name: `${unit.name}, noise`, layers: unit.layers, recipes: {}, dispose: () => rm(home, { recursive: true, force: true }),
    weights: { identity: ['noise', seed, unit.plans.map(({ name }) => unit.recipes[name])], make: () => (made ??= make()) },
  };
}

export function quantizesWeights({ recipe: { weights } }: LayerPlan): boolean { return weights.kind !== 'keep'; }

async function perturbed({ name, tensor }: LayerPlan, recipe: LinearRecipe, folder: string, own: number, engine: Engine, job: JobOptions): Promise<TensorRef> {
  await mkdir(folder, { recursive: true });
  const { relativeMse } = await engine.dequantizeLayer({ layer: name, weight: refOf(tensor), recipe, out: join(folder, 'weight.safetensors') }, job);
  const { shape, data } = await readValues(tensor);
  const noise = torchRandn(data.length, own);
  const energy = (values: Float32Array): number => values.reduce((sum, value) => sum + value * value, 0);
  const scale = Math.sqrt((relativeMse * energy(data)) / energy(noise));
  return writeTensor(folder, 'noisy', 'F32', shape, data.map((value, i) => value + scale * (noise[i] ?? 0)));
}

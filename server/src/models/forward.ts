/** One pass of a transformer or a decoder on the engine. */
import { createHash } from 'node:crypto';
import { packedLayers } from '../checkpoint/packed';
import type { Engine, JobOptions } from '../engine/client';
import type { CaptureRequest, LinearRecipe, Program, RunRequest, RunResult, Transform } from '../engine/graph';
import type { Checkpoint, LayerPlan, Plan } from '../protocol';
import type { Given } from './builder';
import { buildProgram } from './index';
import type { Model } from './model';

/** A program with the key the engine knows it by: the same checkpoint and input shapes give the same key. */
export interface Prepared { key: string; program: Program; /** Of layers that the checkpoint holds packed: they always run so. */ packed: Record<string, LinearRecipe> }

/** @param given inputs without the batch dimension; their values matter only where positions depend on them (ids). */
export function prepare(model: Model, checkpoint: Checkpoint, given: Readonly<Record<string, Given>>): Prepared {
  const program = buildProgram(model, checkpoint, given);
  const hash = createHash('sha256').update(JSON.stringify([checkpoint.path, checkpoint.revision, program.buffers]));
  for (const op of program.ops) {
    hash.update(op.op === 'constant' ? op.data : JSON.stringify(op));
  }
  const packed = Object.fromEntries([...packedLayers(checkpoint)].map(([name, { linear }]) => [name, linear]));
  return { key: hash.digest('hex'), program, packed };
}

/** The layers of a plan that do not run in full precision. */
export function quantizedLayers(plan: Plan): LayerPlan[] {
  return plan.layers.filter(({ recipe: { weights, activations } }) => weights.kind !== 'keep' || activations.kind !== 'keep' || weights.dtype !== 'original');
}

/** Parts of a recipe that must be fitted to data before the layer can run; none when everything follows from seeds and from the values themselves. */
export function fittedParts({ recipe: { smooth, permute, rotate, lowRank, activations, solver } }: LayerPlan): string[] {
  const seeded = !rotate || rotate.kind === 'rpbh' || rotate.kind === 'hadamard' || rotate.kind === 'random';
  return [smooth && 'smooth', permute && 'permute', !seeded && 'rotate', lowRank && 'lowRank', solver.kind !== 'rtn' && 'solver', activations.kind === 'int' && activations.range && 'activations.range'].filter((part) => typeof part === 'string');
}

/** What the engine runs for a layer without fitted parts. */
export function seededRecipe({ recipe: { rotate, weights, activations }, tail }: LayerPlan): LinearRecipe {
  const transforms: Transform[] = rotate?.kind === 'rpbh' || rotate?.kind === 'hadamard' || rotate?.kind === 'random' ? [rotate] : [];
  return { transforms, tail, lowRank: null, weights, activations, activationRange: null, packed: null };
}

export interface ForwardOptions extends JobOptions { recipes?: Record<string, LinearRecipe>; capture?: CaptureRequest; /** Quantized layers run on integers where they can; the result's `integers` says which. */ asDeployed?: boolean; /** See RunRequest. */ device?: RunRequest['device'] }

/** What runs forward passes with a `device`: an identity of CUDA, or '' for the processor. Starts the engine. */
export async function forwardDevice(engine: Engine): Promise<string> {
  await engine.info();
  return engine.devices('forward passes')[0] ?? '';
}

export async function runForward({ key, program, packed }: Prepared, given: Readonly<Record<string, Given>>, engine: Engine, { recipes = {}, capture, asDeployed = false, device, ...options }: ForwardOptions = {}): Promise<RunResult & { sample: Given }> {
  const inputs = Object.fromEntries(Object.keys(program.inputs).map((name) => [name, given[name]?.data ?? new Float32Array()]));
  const linears = new Set(program.ops.flatMap((op) => (op.op === 'linear' ? [op.name] : [])));
  // A checkpoint may hold layers this forward does not use (a second embedder size); they have nothing to quantize here.
  const used = Object.fromEntries(Object.entries({ ...packed, ...recipes }).filter(([name]) => linears.has(name))
    .map(([name, recipe]) => [name, asDeployed ? { ...recipe, execution: 'integer' as const } : recipe]));
  const graph = await engine.openGraph(key, program, options);
  const result = await graph.run({ inputs, recipes: used, capture: capture ?? null, ...(device ? { device } : {}) }, options);
  return { ...result, sample: { shape: program.buffers[program.outputs['sample'] ?? -1] ?? [], data: result.outputs['sample'] ?? new Float32Array() } };
}

/** One pass of a transformer or a decoder on the engine. */
import { createHash } from 'node:crypto';
import type { Engine, JobOptions } from '../engine/client';
import type { CaptureRequest, LinearRecipe, Program, RunResult, Transform } from '../engine/graph';
import type { Checkpoint, LayerPlan, Plan } from '../protocol';
import { ModelError } from './builder';
import type { Given } from './builder';
import { buildProgram } from './index';
import type { Model } from './model';

/** A program with the key the engine knows it by: the same checkpoint and input shapes give the same key. */
export interface Prepared { key: string; program: Program }

/** @param given inputs without the batch dimension; their values matter only where positions depend on them (ids). */
export function prepare(model: Model, checkpoint: Checkpoint, given: Readonly<Record<string, Given>>): Prepared {
  const program = buildProgram(model, checkpoint, given);
  const hash = createHash('sha256').update(JSON.stringify([checkpoint.path, checkpoint.revision, program.buffers]));
  for (const op of program.ops) {
    hash.update(op.op === 'constant' ? op.data : JSON.stringify(op));
  }
  return { key: hash.digest('hex'), program };
}

/** The layers of a plan that do not run in full precision, as the engine wants them. @throws ModelError when a recipe has parts that must be fitted first */
export function linearRecipes(plan: Plan, only?: (name: string) => boolean): Record<string, LinearRecipe> {
  return Object.fromEntries(plan.layers.filter(({ name, recipe }) => (recipe.weights.kind !== 'keep' || recipe.activations.kind !== 'keep' || recipe.weights.dtype !== 'original') && (only?.(name) ?? true))
    .map((layer) => [layer.name, linearRecipe(layer)]));
}

function linearRecipe(layer: LayerPlan): LinearRecipe {
  const { smooth, permute, rotate, lowRank, weights, activations, solver } = layer.recipe;
  const transforms: Transform[] = rotate?.kind === 'rpbh' || rotate?.kind === 'hadamard' || rotate?.kind === 'random' ? [rotate] : [];
  const fitted = [smooth && 'smooth', permute && 'permute', rotate && !transforms.length && 'rotate', lowRank && 'lowRank', solver.kind !== 'rtn' && 'solver', activations.kind === 'int' && activations.range && 'activations.range'].filter(Boolean);
  if (fitted.length > 0) {
    throw new ModelError(`${layer.name}: ${fitted.join(', ')} must be fitted to calibration data before this layer can run. Choose a method that needs none, or calibrate first.`);
  }
  return { transforms, tail: layer.tail, lowRank: null, weights, activations, activationRange: null, packed: null };
}

export interface ForwardOptions extends JobOptions { recipes?: Record<string, LinearRecipe>; capture?: CaptureRequest }

export async function runForward({ key, program }: Prepared, given: Readonly<Record<string, Given>>, engine: Engine, { recipes = {}, capture, ...options }: ForwardOptions = {}): Promise<RunResult & { sample: Given }> {
  const inputs = Object.fromEntries(Object.keys(program.inputs).map((name) => [name, given[name]?.data ?? new Float32Array()]));
  const linears = new Set(program.ops.flatMap((op) => (op.op === 'linear' ? [op.name] : [])));
  // A checkpoint may hold layers this forward does not use (a second embedder size); they have nothing to quantize here.
  const used = Object.fromEntries(Object.entries(recipes).filter(([name]) => linears.has(name)));
  const graph = await engine.openGraph(key, program, options);
  const result = await graph.run({ inputs, recipes: used, capture: capture ?? null }, options);
  return { ...result, sample: { shape: program.buffers[program.outputs['sample'] ?? -1] ?? [], data: result.outputs['sample'] ?? new Float32Array() } };
}

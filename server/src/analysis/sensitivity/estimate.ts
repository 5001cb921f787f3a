/**
 * A first ranking from one captured pass and one suffix run for each block and role, at one step: the effect of a role, then that of a block, is shared out to its layers by the error that
 * each alone makes of its own output. First-order: errors add up. A unit gets the sum of its layers.
 */
import { join } from 'node:path';
import type { Engine } from '../../engine/client';
import type { CapturedLayer, LinearRecipe } from '../../engine/graph';
import { JobDevice } from '../../preview/device';
import type { Pipeline, PredictOptions } from '../../preview/pipelines';
import { comparedSteps } from '../../preview/preview';
import { referenceTrajectory } from '../../preview/trajectory';
import type { LayerPlan } from '../../protocol';
import { LayerProbe } from '../../quantize/evaluate';
import { measure } from './measure';
import type { MeasureRequest } from './measure';
import { unitsOf } from './units';
import type { Unit } from './units';

const sampleRows = 32;

/** @returns by name of the unit, an estimate of its score. @throws ModelError, EngineError */
export async function estimate(units: readonly Unit[], recipes: Readonly<Record<string, LinearRecipe>>, request: Pick<MeasureRequest, 'pipeline' | 'folder' | 'cancellation' | 'onProgress'>, engine: Engine): Promise<ReadonlyMap<string, number>> {
  const { pipeline, folder, cancellation } = request;
  const steps = comparedSteps(pipeline.settings);
  const step = steps[Math.floor((steps.length - 1) / 2)] ?? 0;
  const layers = [...new Map(units.flatMap(({ plans }) => plans.map((layer) => [layer.name, layer] as const))).values()];
  const [blocks, roles] = [unitsOf(layers, 'block', recipes), unitsOf(layers, 'role', recipes)];
  const effects = await measure({ ...request, swaps: [...blocks, ...roles], only: step }, engine);
  const effectOf = (unit: Unit): number => effects.get(unit)?.[0]?.latentRelativeMse ?? Infinity;
  const device = await JobDevice.of(engine, 'float32');
  const options = { cancellation, ...device.options };
  const reference = await referenceTrajectory(join(folder, 'trajectories'), pipeline, 0, engine, () => options, device.identity);
  const captured = await captureAt(pipeline, reference.samples[step] ?? new Float32Array(), step, layers, engine, options);
  const parts = new Map<string, number>();
  for (const layer of layers) {
    const [recipe, sample] = [recipes[layer.name], captured.get(layer.name)];
    parts.set(layer.name, recipe && sample ? await new LayerProbe(engine, layer, sample).outputError(recipe, { cancellation }) : 0);
  }
  shareOut(roles, effectOf, parts);
  shareOut(blocks, effectOf, parts);
  return new Map(units.map(({ name, layers: own }) => [name, total(own, parts)]));
}

/** Scales the parts of each unit so that they add up to its effect. */
function shareOut(units: readonly Unit[], effectOf: (unit: Unit) => number, parts: Map<string, number>): void {
  for (const unit of units) {
    const [effect, before] = [effectOf(unit), total(unit.layers, parts)];
    unit.layers.forEach((layer) => parts.set(layer, before > 0 ? (effect * (parts.get(layer) ?? 0)) / before : 0));
  }
}

function total(layers: readonly string[], parts: ReadonlyMap<string, number>): number { return layers.reduce((sum, layer) => sum + (parts.get(layer) ?? 0), 0); }

/** Rows that went into each layer, [rows, width]. */
async function captureAt(pipeline: Pipeline, x: Float32Array, step: number, layers: readonly LayerPlan[], engine: Engine, options: PredictOptions): Promise<ReadonlyMap<string, Float32Array>> {
  const rows = new Map<string, Float32Array>();
  const received = (_: unknown, found: CapturedLayer[]): void => found.forEach(({ name, sample }) => { if (!rows.has(name)) { rows.set(name, sample); } });
  const request = { layers: layers.map(({ name }) => name), seed: 0, histogramBins: 8, sampleRows, secondMoments: null };
  await pipeline.predict(0, x, pipeline.sampler().timesteps[step] ?? 0, {}, engine, { ...options, capture: { request, received } });
  return rows;
}

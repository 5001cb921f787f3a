/** Measures layers that a pass over their weights alone cannot judge: fitted ones, behind their own transforms and with the codes they get, and packed ones, whose weights are gone. */
import { join } from 'node:path';
import { packedLayers } from '../checkpoint/packed';
import type { Measurement, MeasureRequest, TensorRef } from '../engine/addon';
import type { EngineError, Engine, JobOptions } from '../engine/client';
import type { Transform } from '../engine/graph';
import { ModelError } from '../models/builder';
import type { LayerPlan } from '../protocol';
import { refOf, tensorIn, valuesIn, withZeros, writeTensor } from '../quantize/files';
import { withCodes } from '../quantize/prepare';
import type { PreparedLayer } from '../quantize/prepare';
import { prepareRecipes, withWorkFolder } from '../quantize/recipes';
import type { PlanRequest } from '../quantize/recipes';

/** `rotated`: the `after` marginal is in the coordinates that are quantized. */
export interface FittedMeasurement extends Measurement { rotated: boolean }

export type Prepare = (layer: LayerPlan) => PreparedLayer;

/** Prepares the named layers with everything they share, such as calibration. The result throws for a layer that could not be prepared. @throws EngineError, CheckpointError */
export async function prepareFor(request: PlanRequest, layers: ReadonlySet<string>, engine: Engine): Promise<Prepare> {
  const failures = new Map<string, ModelError | EngineError>();
  const prepared = await prepareRecipes({ ...request, only: (name) => layers.has(name), onFailure: (name, error) => failures.set(name, error) }, engine).catch((error: unknown) => {
    if (error instanceof ModelError) {
      return error; // of what they share: none of them can be prepared
    }
    throw error;
  });
  return ({ name }) => {
    const found = prepared instanceof ModelError ? prepared : prepared.get(name) ?? failures.get(name) ?? new ModelError(`${name} takes no part in this plan.`);
    if (found instanceof Error) {
      throw found;
    }
    return found;
  };
}

/**
 * The error is that of the codes, in the coordinates they stand for; of a packed layer, when it was packed. `after` is of the weight behind the transforms where there is a rotation and
 * nothing is taken off before quantizing (a low-rank branch), otherwise of a diagnostic rotation of the stored weight, as for a recipe without any.
 */
export async function measureFitted(layer: LayerPlan, found: PreparedLayer, { checkpoint, folder }: PlanRequest, marginals: MeasureRequest, engine: Engine, job: JobOptions): Promise<FittedMeasurement> {
  const before = packedLayers(checkpoint).get(layer.name);
  return withWorkFolder(null, async (scratch) => {
    if (before) {
      const out = join(scratch, 'weight.safetensors');
      await withZeros(scratch, before.entry.shape, (zeros) => engine.dequantizeLayer({ layer: layer.name, weight: zeros, recipe: before.linear, out }, { cancellation: job.cancellation }));
      const measured = await engine.measure({ ...marginals, tensor: refOf(await tensorIn(out, 'weight')), rotate: null, weights: { kind: 'keep', dtype: 'original' } }, job);
      return { ...measured, relativeMse: before.entry.relativeMse, rotated: false };
    }
    const { relativeMse } = await withCodes(layer, found, checkpoint.revision, join(folder, 'layers'), engine, { cancellation: job.cancellation });
    const measured = await engine.measure({ ...marginals, rotate: null }, job);
    // What a solver or a branch makes of the error is no property of the quantizer alone.
    const own = { ...measured, relativeMse, expectedRelativeMse: found.fit ? null : measured.expectedRelativeMse };
    if (layer.recipe.rotate === null || layer.recipe.lowRank !== null) {
      return { ...own, rotated: false };
    }
    const behind = await behindTransforms(layer, found.recipe, scratch, engine, job);
    const { before: after } = await engine.measure({ ...marginals, tensor: behind, rotate: null }, { cancellation: job.cancellation });
    return { ...own, after, rotated: true };
  });
}

/** Rows of the weight as they are quantized, F32 [out, in − tail]. Orthogonal transforms do the same to both sides; scales do the inverse. */
async function behindTransforms({ tensor, inFeatures, outFeatures }: LayerPlan, { transforms, tail }: PreparedLayer['recipe'], folder: string, engine: Engine, { cancellation }: JobOptions): Promise<TensorRef> {
  const ofWeights: Transform[] = [];
  for (const [i, transform] of transforms.entries()) {
    ofWeights.push(transform.kind === 'scale' ? { kind: 'scale', values: await inverse(transform.values, `scale-${i}`, folder) } : transform);
  }
  const out = join(folder, 'behind.safetensors');
  await engine.applyTransforms({ sample: refOf(tensor), transforms: ofWeights, out }, { cancellation });
  if (tail === 0) {
    return refOf(await tensorIn(out, 'sample'));
  }
  const width = inFeatures - tail;
  const values = await valuesIn(out, 'sample');
  const quantized = new Float32Array(outFeatures * width);
  for (let row = 0; row < outFeatures; row++) {
    quantized.set(values.subarray(row * inFeatures, row * inFeatures + width), row * width);
  }
  return writeTensor(folder, 'quantized', 'F32', [outFeatures, width], quantized);
}

async function inverse({ file, shape }: TensorRef, name: string, folder: string): Promise<TensorRef> {
  return writeTensor(folder, name, 'F32', shape, (await valuesIn(file, 'smooth')).map((value) => 1 / value));
}

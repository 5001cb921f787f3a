/**
 * One layer of a plan → the LinearRecipe that the engine runs: smoothing, permutation, rotation, static range, low-rank branch and codes, in this order, each fitted in the coordinates
 * that the parts before it leave behind. What is fitted lies in files of its own folder, so that a layer is solved once per recipe and calibration.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { randomOrder, zigzagOrder } from '../calibration/permutation';
import { staticRange } from '../calibration/ranges';
import { largest, smoothingFactors } from '../calibration/smoothing';
import type { LayerStatistics } from '../calibration/statistics';
import type { LayerFit, TensorRef } from '../engine/addon';
import { EngineError } from '../engine/client';
import type { Engine, JobOptions } from '../engine/client';
import type { LinearRecipe, Transform } from '../engine/graph';
import { ModelError } from '../models/builder';
import { fittedParts, seededRecipe } from '../models/forward';
import type { LayerPlan, Permutation, Rotation, Smoothing } from '../protocol';
import { foundBefore, once, refOf, tensorIn, tensorsIn, valuesIn, withFit, writeTensor } from './files';
import { searchFactors, weightSalience } from './smooth';

export interface PrepareRequest {
  plan: LayerPlan;
  /** Layers that read the same input, this one among them: they share their smoothing, so that it can be folded into what comes before. */
  peers: readonly LayerPlan[];
  /** Of the checkpoint. */
  revision: string;
  /** Of the layer's input; undefined when the recipe needs none. */
  statistics: LayerStatistics | undefined;
  /** 1/λ that was found before, F32 [width]; found anew when left out. */
  smoothing?: TensorRef | undefined;
  /** Where fitted layers are kept. */
  folder: string;
  job: JobOptions;
}

/** What the engine runs, and what finding it reported: `fit` is null where codes come from rounding at run time. */
export interface PreparedLayer { recipe: LinearRecipe; fit: LayerFit | null; /** Where `adaptive` had to choose, what it chose. */ rotation: Rotation['kind'] | null }

/** @throws ModelError when statistics are missing or not finite, EngineError */
export async function prepareLayer(request: PrepareRequest, engine: Engine): Promise<PreparedLayer> {
  const { plan, peers, revision, statistics, smoothing } = request;
  if (fittedParts(plan).length === 0) {
    return { recipe: seededRecipe(plan), fit: null, rotation: plan.recipe.rotate?.kind ?? null };
  }
  const solved = plan.recipe.solver.kind === 'gptq';
  const identities = (): unknown[] => (solved ? engine.devices('GPTQ') : ['']).map((device) =>
    [1, `${engine.identity()}${device}`, revision, refOf(plan.tensor), peers.map((peer) => [refOf(peer.tensor), peer.recipe]), plan.recipe, plan.heads, statistics?.key ?? null, ...(smoothing ? [smoothing] : [])]);
  for (const identity of identities()) {
    const known = await foundBefore<PreparedLayer>(request.folder, identity);
    if (known) {
      return known;
    }
  }
  await (solved && engine.info()); // started, it knows its devices
  return once(request.folder, identities()[0], (folder) => new Preparation(request, engine, folder).run().catch((error: unknown) => { throw naming(plan.name, error); }));
}

/** The engine knows samples and moments by file; people know layers. */
function naming(layer: string, error: unknown): unknown {
  return error instanceof EngineError && error.code === 'ARGUMENT' && !error.message.startsWith(layer) ? new EngineError(error.code, `${layer}: ${error.message}`) : error;
}

/** The recipe with codes: those that were found, or those that rounding gives. `relativeMse`: ‖W − Ŵ‖² / ‖W‖² over the coordinates that are quantized, behind the transforms. */
export async function withCodes({ name, tensor }: LayerPlan, { recipe, fit }: PreparedLayer, revision: string, home: string, engine: Engine, job: JobOptions): Promise<{ recipe: LinearRecipe; relativeMse: number }> {
  if (fit) {
    return { recipe, relativeMse: fit.relativeMse };
  }
  return once(home, ['rtn', 1, engine.identity(), revision, refOf(tensor), recipe], async (folder) => {
    const out = join(folder, 'codes.safetensors');
    const { relativeMse } = await engine.quantizeLayer({ layer: name, weight: refOf(tensor), recipe, solver: { kind: 'rtn' }, secondMoments: null, lowRank: null, out }, job);
    return { recipe: await withFit(recipe, out), relativeMse };
  });
}

class Preparation {
  private transforms: Transform[] = [];
  private rotation: Rotation['kind'] | null = null;

  constructor(private readonly request: PrepareRequest, private readonly engine: Engine, private readonly folder: string) {}

  async run(): Promise<PreparedLayer> {
    const { plan, job, statistics } = this.request;
    const { smooth, permute, rotate, weights, activations, lowRank, solver } = plan.recipe;
    await (smooth && this.smooth(smooth));
    await (permute && this.permute(permute));
    await (rotate && this.rotate(rotate));
    const recipe: LinearRecipe = { transforms: this.transforms, tail: plan.tail, lowRank: null, weights, activations, activationRange: await this.activationRange(), packed: null };
    if (solver.kind === 'rtn' && !lowRank) {
      return { recipe, fit: null, rotation: this.rotation };
    }
    const out = join(this.folder, 'codes.safetensors');
    // A branch is judged by them only where the recipe asks for them: what a layer becomes must not depend on what was calibrated before.
    const secondMoments = solver.kind === 'gptq' ? this.need('second moments', statistics?.secondMoments) : null;
    if (solver.kind === 'adaround') {
      throw new ModelError(`${plan.name}: AdaRound learns whole blocks at once, not single layers.`);
    }
    const fit = await this.engine.quantizeLayer({ layer: plan.name, weight: refOf(plan.tensor), recipe, solver, secondMoments, lowRank: lowRank && { rank: lowRank.rank, iterations: lowRank.iterations }, out }, job);
    return { recipe: await withFit(recipe, out), fit, rotation: this.rotation };
  }

  private async smooth(smooth: Smoothing): Promise<void> {
    const { peers, plan, job, statistics, smoothing } = this.request;
    if (smoothing) {
      this.transforms.push({ kind: 'scale', values: smoothing });
      return;
    }
    const absMax = this.need('ranges of its channels', statistics?.absMax);
    const salience = await weightSalience(peers, this.engine, job);
    const factors = smooth.kind === 'search'
      ? await searchFactors({ peers, absMax, salience, steps: smooth.steps, sample: await this.sampleValues(), folder: this.folder, job }, this.engine)
      : smoothingFactors(smooth, absMax, salience);
    const bad = factors.findIndex((factor) => !(factor > 0 && Number.isFinite(factor)));
    if (bad >= 0) {
      throw new ModelError(`${plan.name}: input channel ${bad} has no finite smoothing factor, because weights or activations hold NaN or infinite values. Run "quantscope stats", then repair the checkpoint or keep this layer.`);
    }
    this.transforms.push({ kind: 'scale', values: await writeTensor(this.folder, 'smooth', 'F32', [factors.length], factors.map((factor) => 1 / factor)) });
  }

  private async permute(permute: Permutation): Promise<void> {
    const { inFeatures } = this.request.plan;
    const order = permute.kind === 'random' ? randomOrder(inFeatures, permute.seed) : zigzagOrder(largestPerChannel(await this.sampleValues(), inFeatures), permute.block);
    this.transforms.push({ kind: 'permute', sources: await writeTensor(this.folder, 'order', 'I32', [inFeatures], order) });
  }

  private async rotate(rotate: Rotation): Promise<void> {
    this.rotation = rotate.kind;
    switch (rotate.kind) {
      case 'rpbh': case 'hadamard': case 'random': this.transforms.push(rotate); return;
      case 'outlier-aware': return this.fitOutliers(rotate);
      case 'pca': return this.fitBasis(rotate);
      case 'adaptive': {
        const { rms, peakToRms } = this.need('a sample of its inputs', this.request.statistics);
        const salient = (rotate.signal === 'rms' ? rms : peakToRms) >= rotate.threshold;
        return this.rotate(salient ? { kind: 'outlier-aware', block: 128, steps: 256, order: 'round-robin', seed: rotate.seed } : { kind: 'hadamard', seed: rotate.seed });
      }
    }
  }

  private async fitOutliers({ block, steps, order, seed }: Extract<Rotation, { kind: 'outlier-aware' }>): Promise<void> {
    const out = join(this.folder, 'rotation.safetensors');
    await this.engine.fitOutlierRotation({ sample: await this.transformedSample(), block, steps, order, seed, out }, this.request.job);
    const [first, sources, second] = await Promise.all(['first', 'sources', 'second'].map(async (name) => refOf(await tensorIn(out, name))));
    this.transforms.push(...(first && sources && second ? [{ kind: 'blocks', matrices: first }, { kind: 'permute', sources }, { kind: 'blocks', matrices: second }] as const : []));
  }

  private async fitBasis({ perHead, seed }: Extract<Rotation, { kind: 'pca' }>): Promise<void> {
    const { plan: { heads, tail }, statistics, job } = this.request;
    const out = join(this.folder, 'basis.safetensors');
    await this.engine.fitBasis({ secondMoments: this.need('second moments', statistics?.secondMoments), heads: perHead ? heads ?? 1 : 1, high: tail, seed, out }, job);
    const tensors = await tensorsIn(out);
    this.transforms.push({ kind: 'blocks', matrices: refOf(await tensorIn(out, 'matrices')) });
    if (tensors.has('sources')) {
      this.transforms.push({ kind: 'permute', sources: refOf(await tensorIn(out, 'sources')) });
    }
  }

  private async activationRange(): Promise<LinearRecipe['activationRange']> {
    const { activations } = this.request.plan.recipe;
    return activations.kind === 'int' && activations.range === 'static' ? staticRange(await this.sampleValues(), activations.bits, activations.symmetric) : null;
  }

  /** Rows of the input behind the transforms so far. */
  private async sampleValues(): Promise<Float32Array> {
    const { file } = await this.transformedSample();
    const values = await valuesIn(file, 'sample');
    await rm(file);
    return values;
  }

  private async transformedSample(): Promise<TensorRef> {
    const out = join(this.folder, 'sample.safetensors');
    await this.engine.applyTransforms({ sample: this.need('a sample of its inputs', this.request.statistics?.sample), transforms: this.transforms, out }, { cancellation: this.request.job.cancellation });
    return refOf(await tensorIn(out, 'sample'));
  }

  private need<T>(what: string, value: T | null | undefined): T {
    if (value === null || value === undefined) {
      throw new ModelError(`${this.request.plan.name} needs ${what} from calibration, and there are none. Calibrate with the pipeline folder of this model, or choose a method that needs no data.`);
    }
    return value;
  }
}

function largestPerChannel(sample: Float32Array, width: number): Float32Array {
  return largest(Array.from({ length: sample.length / width }, (_, row) => sample.subarray(row * width, (row + 1) * width).map(Math.abs)));
}

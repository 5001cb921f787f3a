/** A plan → what the engine runs for each of its layers: gathers the statistics that recipes need, then prepares layer by layer. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tidy } from '../cacheFolder';
import { gatherStatistics, knownStatistics, missingStatistics, statisticsKey } from '../calibration/statistics';
import type { LayerStatistics } from '../calibration/statistics';
import type { LoadedConfig } from '../config/load';
import { CheckpointError } from '../checkpoint';
import { packedLayers } from '../checkpoint/packed';
import { readValues } from '../checkpoint/values';
import { EngineError } from '../engine/client';
import type { Engine, JobOptions } from '../engine/client';
import type { TensorRef } from '../engine/addon';
import type { LinearRecipe } from '../engine/graph';
import { statisticsFor } from '../methods/statistics';
import type { Statistic } from '../methods/statistics';
import { ModelError } from '../models/builder';
import { fittedParts, quantizedLayers } from '../models/forward';
import { openPipeline } from '../preview/pipelines';
import type { Pipeline } from '../preview/pipelines';
import type { CalibrationSettings, Checkpoint, LayerPlan, Plan, PreviewSettings } from '../protocol';
import { refOf } from './files';
import { prepareLayer } from './prepare';
import type { PreparedLayer } from './prepare';
import { reconstruct } from './reconstruct';

export interface PlanRequest {
  plan: Plan;
  checkpoint: Checkpoint;
  /** As written in the config; `preview` tells which classes or prompts there are, and their size. */
  preview: Partial<PreviewSettings>;
  calibration: Partial<CalibrationSettings>;
  /** Folder of the config. */
  base: string;
  /** Where statistics and fitted layers are kept. */
  folder: string;
  /** Layers to prepare; all when absent. */
  only?: ((name: string) => boolean) | undefined;
  /** Told of a layer that cannot be prepared, and the rest goes on; without it, that ends everything. */
  onFailure?: ((name: string, error: ModelError | EngineError) => void) | undefined;
  /** Smoothing that was found before, by layer: 1/λ, F32 [width]. */
  smoothing?: ReadonlyMap<string, TensorRef> | undefined;
  cancellation?: JobOptions['cancellation'];
  onProgress?: ((fraction: number, what: string) => void) | undefined;
}

/** For a config that resolved to a plan. @param base folder of the config. */
export function requestFor({ parsed: { config }, plan, checkpoint }: LoadedConfig, base: string, rest: Pick<PlanRequest, 'folder' | 'only' | 'cancellation' | 'onProgress'>): PlanRequest {
  if (!plan || !checkpoint) {
    throw new ModelError('This config has no plan: see its problems.');
  }
  return { ...rest, plan, checkpoint, preview: config.preview?.value ?? {}, calibration: config.calibration?.value ?? {}, base };
}

export const calibrationDefaults: CalibrationSettings = { trajectories: 4, steps: 8, rows: 256, seed: 1000 };

/** By layer name; layers that stay as they are have no entry. @throws ModelError, CheckpointError, EngineError */
export async function prepareRecipes(request: PlanRequest, engine: Engine): Promise<ReadonlyMap<string, PreparedLayer>> {
  const { plan, checkpoint, folder, only, smoothing, cancellation, onProgress, onFailure } = request;
  const layers = quantizedLayers(plan).filter(({ name }) => only?.(name) ?? true);
  const { statistics, peers, pipelines } = await calibrate(request, layers, engine);
  const total = layers.reduce((sum, layer) => sum + layer.params, 0) || 1;
  const prepared = new Map<string, PreparedLayer>();
  let done = 0;
  const packed = packedLayers(checkpoint);
  for (const layer of layers) {
    const known = packed.get(layer.name);
    if (known) {
      prepared.set(layer.name, { recipe: known.linear, fit: null, rotation: null });
      continue;
    }
    const job: JobOptions = { cancellation, progress: (fraction) => onProgress?.((done + fraction * layer.params) / total, layer.name) };
    try {
      prepared.set(layer.name, await prepareLayer({ plan: layer.recipe.solver.kind === 'adaround' ? { ...layer, recipe: { ...layer.recipe, solver: { kind: 'rtn' } } } : layer, peers: peers(layer), revision: checkpoint.revision, statistics: statistics.get(layer.name), smoothing: smoothing?.get(layer.name), folder: join(folder, 'layers'), job }, engine));
    } catch (error) {
      if (!onFailure || !isOfLayer(error)) {
        throw error;
      }
      onFailure(layer.name, error);
    }
    done += layer.params;
  }
  const learned = layers.filter(({ name, recipe }) => recipe.solver.kind === 'adaround' && !packed.has(name) && prepared.has(name));
  if (learned.length > 0) {
    const found = await reconstruct({ layers: learned, prepared, pipelines, folder: join(folder, 'layers'), job: { cancellation, onProgress } }, engine);
    found.forEach((layer, name) => prepared.set(name, layer));
  }
  return prepared;
}

/** A crash or a cancel is no matter of one layer. */
function isOfLayer(error: unknown): error is ModelError | EngineError {
  return error instanceof ModelError || (error instanceof EngineError && ['IO', 'ARGUMENT', 'MEMORY'].includes(error.code));
}

/** What the fitted or packed parts of a plan's layers depend on, by name, for keys of caches: none for layers that follow from their recipe alone. A model that cannot be calibrated has nothing to keep. */
export async function fitIdentities(request: Omit<PlanRequest, 'folder'>, engine: Engine): Promise<ReadonlyMap<string, unknown>> {
  const { plan, checkpoint } = request;
  const packed = packedLayers(checkpoint);
  const layers = quantizedLayers(plan).filter((layer) => packed.has(layer.name) || fittedParts(layer).length > 0);
  const calibration = await openCalibration(request, layers).catch((error: unknown) => {
    if (error instanceof ModelError || error instanceof CheckpointError) {
      return undefined;
    }
    throw error;
  });
  if (!calibration) {
    return new Map(layers.map(({ name }) => [name, null]));
  }
  const { pipelines, settings, needs, peers } = calibration;
  const key = pipelines.length > 0 ? statisticsKey(pipelines, settings, engine) : null;
  const learned = layers.filter(({ recipe: { solver } }) => solver.kind === 'adaround').map(({ name, recipe }) => [name, recipe]);
  return new Map(layers.map((layer) => {
    const { name, recipe, heads } = layer;
    return [name, packed.get(name) ?? [recipe, heads, peers(layer).map((peer) => [refOf(peer.tensor), peer.recipe]), needs.has(name) ? key : null, recipe.solver.kind === 'adaround' ? learned : null]];
  }));
}

export interface CalibrationNeeds {
  /** By layer whose recipe needs data. */
  layers: ReadonlyMap<string, { statistics: readonly Statistic[]; gathered: boolean }>;
  /** Sampling runs of the full-precision model that are still to be made, and the floating point operations of all. */
  runs: number;
  flops: number;
}

/** What a plan needs to know of its inputs, and what of it is there already. Starts no engine. @throws ModelError, CheckpointError when the model cannot be calibrated */
export async function calibrationNeeds(request: PlanRequest, engine: Engine): Promise<CalibrationNeeds> {
  const layers = quantizedLayers(request.plan).filter(({ name }) => request.only?.(name) ?? true);
  const { pipelines, settings, needs } = await openCalibration(request, layers);
  const missing = await missingStatistics({ pipelines, settings, needs, folder: join(request.folder, 'statistics') }, engine);
  const flops = pipelines.reduce((sum, pipeline) => sum + pipeline.items.reduce((all, _, item) => all + pipeline.flops(item) * settings.steps, 0), 0);
  return {
    layers: new Map([...needs].map(([name, statistics]) => [name, { statistics: [...statistics], gathered: !missing.layers.has(name) }])),
    runs: missing.runs * pipelines.length, flops: missing.runs * flops,
  };
}

/** The smoothing of every layer that has some, 1/λ by name, without the parts that come after it. @throws as prepareRecipes */
export async function prepareSmoothing(request: PlanRequest, engine: Engine): Promise<ReadonlyMap<string, TensorRef>> {
  const { checkpoint, folder, cancellation, onProgress } = request;
  const layers = quantizedLayers(request.plan);
  const { statistics, peers } = await calibrate(request, layers, engine);
  const found = new Map<string, TensorRef>();
  for (const [index, layer] of layers.entries()) {
    if (layer.recipe.smooth) {
      const { recipe: { transforms: [first] } } = await prepareLayer({ plan: smoothingOf(layer), peers: peers(layer).map(smoothingOf), revision: checkpoint.revision, statistics: statistics.get(layer.name), folder: join(folder, 'layers'), job: { cancellation } }, engine);
      if (first?.kind === 'scale') {
        found.set(layer.name, first.values);
      }
    }
    onProgress?.((index + 1) / layers.length, layer.name);
  }
  return found;
}

/** Rows of the inputs of `layers` from the calibration runs, [rows, width], by layer. @throws ModelError, CheckpointError, EngineError */
export async function sampleInputs(request: PlanRequest, layers: readonly string[], engine: Engine): Promise<ReadonlyMap<string, Float32Array>> {
  const settings = { ...calibrationDefaults, ...request.calibration };
  const pipelines = await trajectoryPipelines(request, settings);
  const job = { cancellation: request.cancellation, ...(request.onProgress ? { onProgress: request.onProgress } : {}) };
  const needs = new Map(layers.map((name) => [name, new Set<Statistic>(['activation-samples'])]));
  const statistics = await gatherStatistics({ pipelines, settings, needs, folder: join(request.folder, 'statistics'), job }, engine);
  return new Map(await Promise.all([...statistics].flatMap(([name, { sample }]) => (sample ? [sampleValues(sample).then((data) => [name, data] as const)] : []))));
}

/** Of LayerStatistics, [rows, width]. */
export async function sampleValues(sample: TensorRef): Promise<Float32Array> {
  return (await readValues({ ...sample, name: 'sample', bytes: 4 * sample.shape.reduce((product, size) => product * size, 1) })).data;
}

/** Statistics that earlier calibrations under these settings have left, by layer: gathers nothing. Empty where the model cannot be calibrated. @throws EngineError */
export async function knownInputs(request: PlanRequest, engine: Engine): Promise<ReadonlyMap<string, LayerStatistics>> {
  const settings = { ...calibrationDefaults, ...request.calibration };
  try {
    return await knownStatistics({ pipelines: await trajectoryPipelines(request, settings), settings, folder: join(request.folder, 'statistics') }, engine);
  } catch (error) {
    if (error instanceof ModelError || error instanceof CheckpointError) {
      return new Map();
    }
    throw error;
  }
}

/** Smoothing is fitted first; a search for it knows the branch by its rank alone. */
function smoothingOf(layer: LayerPlan): LayerPlan {
  const { smooth, lowRank } = layer.recipe;
  return { ...layer, recipe: { ...layer.recipe, permute: null, rotate: null, solver: { kind: 'rtn' }, lowRank: smooth?.kind === 'search' && lowRank ? { ...lowRank, iterations: 1 } : null } };
}

/** What the engine is given. */
export function engineRecipes(prepared: ReadonlyMap<string, PreparedLayer>): Record<string, LinearRecipe> {
  return Object.fromEntries([...prepared].map(([name, { recipe }]) => [name, recipe]));
}

/** Of each kind. The codes of a model with 12 billion weights take 6 GB, second moments of its inputs 8 GB. */
const workLimits = { files: 100_000, bytes: 32 * 2 ** 30 };

/** Once per process is enough. */
const tidied = new Set<string>();

/** Runs `use` with a folder for statistics and fitted layers: in the cache, or one of its own that is removed afterwards. */
export async function withWorkFolder<T>(cacheFolder: string | null, use: (folder: string) => Promise<T>): Promise<T> {
  if (cacheFolder !== null) {
    if (!tidied.has(cacheFolder)) {
      tidied.add(cacheFolder);
      // Before, not after: what a job has found is there for the next one, however large.
      await Promise.all(['layers', 'statistics', 'folded'].map((kind) => tidy(join(cacheFolder, kind), workLimits)));
    }
    return use(cacheFolder);
  }
  const folder = await mkdtemp(join(tmpdir(), 'quantscope-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What a plan's calibration consists of; no pipelines when no recipe needs data. */
interface Calibration {
  pipelines: readonly Pipeline[];
  settings: CalibrationSettings;
  /** By layer. */
  needs: ReadonlyMap<string, ReadonlySet<Statistic>>;
  /** Layers of the plan with the same input and the same smoothing, itself among them. */
  peers(layer: LayerPlan): LayerPlan[];
}

async function openCalibration(request: Omit<PlanRequest, 'folder'>, layers: readonly LayerPlan[]): Promise<Calibration> {
  const packed = packedLayers(request.checkpoint);
  const needs = new Map(layers.filter((layer) => fittedParts(layer).length > 0 && !packed.has(layer.name)).map((layer) => [layer.name, activationNeeds(layer)] as const).filter(([, needed]) => needed.size > 0));
  const settings = { ...calibrationDefaults, ...request.calibration };
  if (needs.size === 0) {
    return { pipelines: [], settings, needs, peers: (layer) => [layer] };
  }
  const pipelines = await trajectoryPipelines(request, settings);
  const inputs = pipelines[0]?.inputs() ?? new Map<string, string[]>();
  const all = new Map(quantizedLayers(request.plan).map((layer) => [layer.name, layer]));
  return { pipelines, settings, needs, peers: (layer) => (inputs.get(layer.name) ?? [layer.name]).flatMap((name) => all.get(name) ?? []).filter((other) => JSON.stringify(other.recipe.smooth) === JSON.stringify(layer.recipe.smooth)) };
}

async function calibrate(request: PlanRequest, layers: readonly LayerPlan[], engine: Engine): Promise<Calibration & { statistics: ReadonlyMap<string, LayerStatistics> }> {
  const calibration = await openCalibration(request, layers);
  const job = { cancellation: request.cancellation, ...(request.onProgress ? { onProgress: request.onProgress } : {}) };
  return { ...calibration, statistics: await gatherStatistics({ ...calibration, folder: join(request.folder, 'statistics'), job }, engine) };
}

function activationNeeds({ recipe }: LayerPlan): Set<Statistic> {
  return new Set(statisticsFor(recipe).filter((statistic) => statistic !== 'weights'));
}

function trajectoryPipelines(request: Pick<PlanRequest, 'checkpoint' | 'preview' | 'base'>, settings: CalibrationSettings): Promise<Pipeline[]> {
  return Promise.all(Array.from({ length: settings.trajectories }, (_, i) => trajectoryPipeline(request, settings, i)));
}

/** Run `index`: another seed, and another class or prompt where there are several. */
function trajectoryPipeline({ checkpoint, preview, base }: Pick<PlanRequest, 'checkpoint' | 'preview' | 'base'>, { steps, seed, trajectories }: CalibrationSettings, index: number): Promise<Pipeline> {
  const classes = checkpoint.config?.['num_embeds_ada_norm'];
  const { prompts } = preview;
  const item = prompts && prompts.length > 0 ? { prompts: prompts.slice(index % prompts.length).slice(0, 1) }
    : checkpoint.architecture === 'DiTTransformer2DModel' ? { classes: [Math.floor((index * Number(classes)) / trajectories)] } : {};
  return openPipeline(checkpoint, { ...preview, ...item, steps, compareSteps: steps, seed: seed + index }, base);
}

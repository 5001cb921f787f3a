/** Which layers hurt: the effect of quantizing each alone on the final output of the model, with a first estimate, and with controls. */
import type { LoadedConfig } from '../../config/load';
import { packedLayers } from '../../checkpoint/packed';
import type { Engine, JobOptions } from '../../engine/client';
import type { LinearRecipe } from '../../engine/graph';
import { ModelError } from '../../models/builder';
import { quantizedLayers } from '../../models/forward';
import { openPipeline } from '../../preview/pipelines';
import type { Pipeline } from '../../preview/pipelines';
import type { LayerPlan, Score, Sensitivity, SensitivityUnit } from '../../protocol';
import { engineRecipes, prepareRecipes, requestFor, withWorkFolder } from '../../quantize/recipes';
import { matchedNoise, quantizesWeights, weightsAlone } from './controls';
import { estimate } from './estimate';
import { keepSensitivity } from './known';
import { measure } from './measure';
import type { Effect } from './measure';
import { unitOf, unitsOf } from './units';
import type { Unit } from './units';

export interface SensitivityRequest {
  loaded: LoadedConfig;
  /** Folder of the config. */
  base: string;
  by: SensitivityUnit;
  /** Names of layers to look at; all quantized ones when absent. */
  only?: ReadonlySet<string> | undefined;
  /** How many time steps; as in the config's preview when absent. */
  steps?: number | undefined;
  /** Stop after the first ranking. */
  estimateOnly?: boolean;
  /** null keeps nothing. */
  cacheFolder: string | null;
  cancellation?: JobOptions['cancellation'];
  onProgress?(fraction: number, what: string): void;
  /** The ranking so far, worst first: all estimates at the beginning, then measured ones in their place. */
  onRanking?(scores: Score[]): void;
}

/** Units whose noise control is run: the worst. */
const controlled = 3;

/** @throws ModelError, CheckpointError, EngineError */
export async function sensitivity(request: SensitivityRequest, engine: Engine): Promise<Sensitivity> {
  const { by, cancellation, onProgress, onRanking } = request;
  return withWorkFolder(request.cacheFolder, async (folder) => {
    const { pipeline, layers, prepare } = await openSubject(request, folder, engine);
    if (layers.length === 0) {
      throw new ModelError('No quantized layer of this plan takes part in the forward pass: there is nothing to swap. Check the rules and --layers.');
    }
    const recipes = await prepare();
    const units = unitsOf(layers, by, recipes);
    const common = { pipeline, folder, cancellation };
    const ranking = new Map<string, Score>();
    const phase = (from: number, to: number) => (fraction: number, what: string): void => onProgress?.(from + (to - from) * fraction, what);
    if (request.estimateOnly || onRanking) {
      const estimates = await estimate(units, recipes, { ...common, onProgress: phase(0, 0.1) }, engine);
      units.forEach((unit) => ranking.set(unit.name, { ...scoreOf(unit, []), score: finite(estimates.get(unit.name) ?? 0), estimate: true }));
      onRanking?.(worstFirst([...ranking.values()]));
    }
    if (request.estimateOnly) {
      return { by, layers: worstFirst([...ranking.values()]), additivity: null, controls: { zeroSwap: { runs: 0, differing: 0 }, noise: [] }, items: pipeline.items };
    }
    const whole = unitOf('all at once', layers, recipes);
    const onMeasured = (swap: { name: string }, effects: Effect[]): void => {
      const unit = units.find((each) => each === swap);
      if (unit) {
        ranking.set(unit.name, scoreOf(unit, effects));
        onRanking?.(worstFirst([...ranking.values()]));
      }
    };
    const effects = await measure({ ...common, swaps: [...units, whole], onProgress: phase(onRanking ? 0.1 : 0, 0.9), onMeasured }, engine);
    const scores = worstFirst(units.map((unit) => scoreOf(unit, effects.get(unit) ?? [])));
    const worst = scores.flatMap(({ name }) => units.find((unit) => unit.name === name && unit.plans.some(quantizesWeights)) ?? []).slice(0, controlled);
    const noise = worst.map((unit) => ({ unit, weights: weightsAlone(unit), noise: matchedNoise(unit, folder, engine, { cancellation }) }));
    try {
      const controls = await measure({ ...common, swaps: noise.flatMap((each) => [each.weights, each.noise]), onProgress: phase(0.9, 1) }, engine);
      const sumOfParts = sum(scores.map(({ score }) => score));
      const all = scoreOf(whole, effects.get(whole) ?? []).score;
      const zero = [...effects.values(), ...controls.values()].flat().map(({ zeroSwap }) => zeroSwap);
      const found: Sensitivity = {
        by, layers: scores, additivity: { sumOfParts, whole: all, ratio: ratio(sumOfParts, all) }, items: pipeline.items,
        controls: {
          zeroSwap: { runs: zero.length, differing: zero.reduce((count, each) => count + each, 0) },
          noise: noise.map((each) => {
            const [weights, matched] = [each.weights, each.noise].map((swap) => mean((controls.get(swap) ?? []).map((effect) => effect.latentRelativeMse))) as [number | null, number | null];
            return { name: each.unit.name, weights, noise: matched, ratio: ratio(weights, matched) };
          }),
        },
      };
      await keepSensitivity(request, found, folder, engine);
      return found;
    } finally {
      await Promise.all(noise.map((each) => each.noise.dispose()));
    }
  });
}

export interface Subject { pipeline: Pipeline; /** Quantized and part of the forward pass, in its order. */ layers: LayerPlan[]; /** What the engine runs for them. Their blocks are prepared as a whole: learned rounding depends on neighbours. */ prepare(): Promise<Record<string, LinearRecipe>> }

/** The model and what its plan makes of it. @throws ModelError when there is no full-precision model to compare with */
export async function openSubject({ loaded, base, steps, only, cancellation, onProgress }: Pick<SensitivityRequest, 'loaded' | 'base' | 'steps' | 'only' | 'cancellation' | 'onProgress'>, folder: string, engine: Engine): Promise<Subject> {
  const request = requestFor(loaded, base, { folder, cancellation, onProgress });
  const { checkpoint, plan, preview } = request;
  if (packedLayers(checkpoint).size > 0) {
    throw new ModelError(`${checkpoint.path} holds packed layers, whose full-precision weights are gone. Name the checkpoint it was made from.`);
  }
  const pipeline = await openPipeline(checkpoint, { ...preview, ...(steps === undefined ? {} : { compareSteps: steps }) }, base);
  const order = new Map((pipeline.programs(0)[0]?.program.ops ?? []).flatMap((op, i) => (op.op === 'linear' ? [[op.name, i] as const] : [])).reverse());
  const layers = quantizedLayers(plan).filter(({ name }) => (only?.has(name) ?? true) && order.has(name)).sort((a, b) => (order.get(a.name) ?? 0) - (order.get(b.name) ?? 0));
  const prepare = async (): Promise<Record<string, LinearRecipe>> => {
    const blocks = new Set(layers.map(blockOf));
    const near = new Set(plan.layers.filter((layer) => blocks.has(blockOf(layer))).map(({ name }) => name));
    const recipes = engineRecipes(await prepareRecipes({ ...request, only: (name) => near.has(name) }, engine));
    return Object.fromEntries(layers.flatMap(({ name }) => (recipes[name] ? [[name, recipes[name]]] : [])));
  };
  return { pipeline, layers, prepare };
}

function blockOf({ block, name }: LayerPlan): string { return block ?? name; }

function scoreOf({ name, layers }: Unit, effects: readonly Effect[]): Score {
  const perStep = [...new Set(effects.map(({ step }) => step))].sort((a, b) => a - b).map((step) => {
    const all = effects.filter((effect) => effect.step === step);
    return { step, timestep: all[0]?.timestep ?? 0, relativeMse: mean(all.map((each) => each.relativeMse)), latentRelativeMse: mean(all.map((each) => each.latentRelativeMse)), latentPsnrDb: mean(all.flatMap((each) => each.latentPsnrDb ?? [])) };
  });
  return { name, layers, score: mean(effects.map((effect) => effect.latentRelativeMse)), direction: 'lower is better', perStep, estimate: false };
}

function worstFirst(scores: Score[]): Score[] { return scores.sort((a, b) => (b.score ?? Infinity) - (a.score ?? Infinity)); }

/** Null for none, and when one of them is not finite. */
function mean(values: readonly (number | null)[]): number | null {
  const total = sum(values);
  return values.length === 0 || total === null ? null : total / values.length;
}

function sum(values: readonly (number | null)[]): number | null { return values.reduce<number | null>((total, value) => (total === null || value === null ? null : total + value), 0); }
function ratio(a: number | null, b: number | null): number | null { return a === null || b === null || b === 0 ? null : a / b; }
function finite(value: number): number | null { return Number.isFinite(value) ? value : null; }

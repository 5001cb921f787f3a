/**
 * Where losses come from: an allocation minimises the sum of one number per layer and option, whatever it means, and says which it was. Weight errors and output errors of single layers are
 * local: they do not know how an error travels to the picture, and behind a rotation they are nearly the same in every layer. Sensitivities do, and take longer.
 */
import type { CancellationToken } from 'vscode-jsonrpc';
import { ModelError } from '../../models/builder';
import { EngineError } from '../../engine/client';
import type { Engine } from '../../engine/client';
import type { LayerPlan, LossKind, Plan } from '../../protocol';
import { LayerProbe } from '../../quantize/evaluate';
import { prepareRecipes, sampleInputs } from '../../quantize/recipes';
import type { PlanRequest } from '../../quantize/recipes';
import type { ReportCache } from '../cache';
import { analyze } from '../report';
import { sensitivity } from '../sensitivity';
import type { SensitivityRequest } from '../sensitivity';
import { AllocationError } from './errors';

export interface Losses {
  kind: LossKind;
  description: string;
  /** By option label, then layer: finite, 0 or more. Layers of `keep: original` need none: they lose nothing. */
  values: ReadonlyMap<string, ReadonlyMap<string, number>>;
  /** The same by compared time step, not weighed, where they were measured at several. */
  steps?: ReadonlyMap<string, ReadonlyMap<string, readonly number[]>>;
  /** Why there are none of `currentLabel`; absent when there are, or nobody asked. */
  unmeasured?: string;
}

/** What the config says now, where that is none of the options. Not needed to allocate: where it cannot be measured, the reason is kept. */
export const currentLabel = 'as written';

export const sourceNames: Readonly<Record<LossKind, string>> = { weights: 'errors of weights', outputs: 'errors of outputs', sensitivity: 'sensitivities', given: 'given losses' };

export interface LossRequest {
  plan: Plan;
  /** By option label: the layers to choose for, without those that stay as they are. */
  options: ReadonlyMap<string, readonly LayerPlan[]>;
  cancellation?: CancellationToken | undefined;
  onProgress?: ((fraction: number, what: string) => void) | undefined;
}

/** ‖W − Ŵ‖² / ‖W‖² of every layer: the expected distortion times how far the layer departs from it. @throws EngineError, CheckpointError, AllocationError */
export async function weightLosses({ plan, options, cancellation, onProgress }: LossRequest, preparation: Omit<PlanRequest, 'plan' | 'only' | 'onProgress'>, engine: Engine, cache: ReportCache): Promise<Losses> {
  const measured = await byOption(options, async (label, layers, done) => {
    const progress = (fraction: number, layer: string): void => onProgress?.((done + fraction) / options.size, `${label} ${layer}`);
    const { layers: reports, failures } = await analyze({ ...preparation, plan: { ...plan, layers: [...layers] } }, engine, cache, { cancellation, onProgress: progress });
    const [failure] = failures;
    if (failure) {
      throw new AllocationError(`${failure.name} cannot be measured as ${label}: ${failure.message} "--loss outputs" measures the outputs of layers instead.`);
    }
    return new Map(reports.map((report) => [report.name, report.weight.relativeMse]));
  });
  return {
    kind: 'weights', ...measured,
    description: 'Sum over layers of the relative error of the weight. A local stand-in: it sees neither activations nor how errors travel to the picture; sensitivities do (--loss sensitivity).',
  };
}

/** ‖Q(x) Q(W)ᵀ − x Wᵀ‖² / ‖x Wᵀ‖² of every layer, on rows of its inputs along calibration runs. @throws ModelError, EngineError, CheckpointError */
export async function outputLosses(request: LossRequest, preparation: Omit<PlanRequest, 'plan' | 'only' | 'onProgress'>, engine: Engine): Promise<Losses> {
  const { options, cancellation, onProgress } = request;
  const names = [...new Set([...options.values()].flatMap((layers) => layers.map(({ name }) => name)))];
  const stages = options.size + 1;
  const samples = await sampleInputs({ ...preparation, plan: request.plan, onProgress: (fraction, what) => onProgress?.(fraction / stages, what) }, names, engine);
  const measured = await byOption(options, async (label, layers, done) => {
    const prepared = await prepareRecipes({ ...preparation, plan: { ...request.plan, layers: [...layers] } }, engine);
    const errors = new Map<string, number>();
    for (const layer of layers) {
      const [sample, recipe] = [samples.get(layer.name), prepared.get(layer.name)?.recipe];
      if (sample && recipe) {
        errors.set(layer.name, await new LayerProbe(engine, layer, sample).outputError(recipe, { cancellation }));
      }
      onProgress?.((1 + done + errors.size / layers.length) / stages, `${label} ${layer.name}`);
    }
    return errors;
  });
  return {
    kind: 'outputs', ...measured,
    description: 'Sum over layers of the relative error of the output, weights and activations quantized, on rows of the inputs along calibration runs. A local stand-in: it does not see how errors travel to the picture; sensitivities do (--loss sensitivity).',
  };
}

/**
 * What each layer alone, quantized as the option says, does to the final output of the model (sensitivity/), in units of what all layers together do at that time step. Without units the first
 * steps, where the clean picture is hardly there yet, would decide alone, and a PSNR per step would not notice the rest. @throws ModelError, EngineError, CheckpointError
 */
export async function propagatedLosses(request: LossRequest, subject: Pick<SensitivityRequest, 'loaded' | 'base' | 'cacheFolder'>, engine: Engine): Promise<Losses> {
  const { values: steps, ...rest } = await byOption(request.options, async (label, layers, done) => {
    const under = new Map(layers.map((layer) => [layer.name, layer]));
    const plan = { ...request.plan, layers: request.plan.layers.map((layer) => under.get(layer.name) ?? layer) };
    const result = await sensitivity({
      ...subject, loaded: { ...subject.loaded, plan }, by: 'layer', only: new Set(under.keys()), cancellation: request.cancellation,
      onProgress: (fraction, what) => request.onProgress?.((done + fraction) / request.options.size, `${label} ${what}`),
    }, engine);
    return new Map(result.layers.map(({ name, perStep }) => [name, perStep.map(({ latentRelativeMse }) => latentRelativeMse ?? Infinity)]));
  });
  const units = stepUnits([...steps].filter(([label]) => label !== currentLabel).map(([, layers]) => [...layers.values()]));
  return {
    kind: 'sensitivity', steps, ...rest, values: weighed(steps, units.map((unit) => (unit > 0 ? 1 / (unit * units.length) : 0))),
    description: 'Sum over layers of what quantizing each alone does to the clean picture that the output of the model leads to; mean over time steps, each in units of what all layers together do there. Adds up as far as errors do: "quantscope sensitivity" gives the ratio.',
  };
}

/** One number for each layer out of one for each step. */
export function weighed(steps: NonNullable<Losses['steps']>, weights: readonly number[]): Map<string, Map<string, number>> {
  return new Map([...steps].map(([label, layers]) => [label, new Map([...layers].map(([name, errors]) => [name, errors.reduce((sum, error, step) => sum + (error > 0 ? error * (weights[step] ?? 0) : 0), 0)]))]));
}

/** The error of all layers together at each step, geometric mean over the options. @param options by option, then layer: an error for each step */
function stepUnits(options: readonly (readonly (readonly number[])[])[]): number[] {
  return (options[0]?.[0] ?? []).map((_, step) => {
    const totals = options.map((layers) => layers.reduce((sum, errors) => sum + (Number.isFinite(errors[step]) ? errors[step] ?? 0 : 0), 0)).filter((total) => total > 0);
    return totals.length > 0 ? Math.exp(totals.reduce((sum, total) => sum + Math.log(total), 0) / totals.length) : 0;
  });
}

/** One option after the other. What the config says now may fail where the options do not: by its own recipe, not by a cancel or a crash. */
async function byOption<T>(options: LossRequest['options'], measureOne: (label: string, layers: readonly LayerPlan[], done: number) => Promise<Map<string, T>>): Promise<{ values: Map<string, Map<string, T>>; unmeasured?: string }> {
  const values = new Map<string, Map<string, T>>();
  for (const [label, layers] of options) {
    try {
      values.set(label, await measureOne(label, layers, values.size));
    } catch (error) {
      if (label !== currentLabel || !(error instanceof AllocationError || error instanceof ModelError || (error instanceof EngineError && error.code === 'ARGUMENT'))) {
        throw error;
      }
      return { values, unmeasured: `What the config says now cannot be measured: ${error.message}` };
    }
  }
  return { values };
}

/** Losses somebody else measured: `{ "losses": { "<option>": { "<layer>": number } }, "description": "…" }`. @param path for messages. @throws AllocationError */
export function givenLosses(text: string, path: string): Losses {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new AllocationError(`${path}: no JSON (${(error as Error).message}). Losses look like { "losses": { "W4A4": { "proj_out": 0.01 } } }.`);
  }
  const { losses, description } = (parsed ?? {}) as { losses?: unknown; description?: unknown };
  const values = new Map<string, Map<string, number>>();
  for (const [label, layers] of Object.entries(losses ?? {})) {
    const entries = Object.entries((layers ?? {}) as Record<string, unknown>);
    const bad = entries.find(([, value]) => !(typeof value === 'number' && value >= 0));
    if (bad) {
      throw new AllocationError(`${path}: the loss of "${bad[0]}" as ${label} must be a number, 0 or more, not ${JSON.stringify(bad[1])}.`);
    }
    values.set(label, new Map(entries as [string, number][]));
  }
  if (values.size === 0) {
    throw new AllocationError(`${path}: holds no losses. They look like { "losses": { "W4A4": { "proj_out": 0.01 } } }.`);
  }
  return { kind: 'given', values, description: typeof description === 'string' ? description : 'Sum over layers of the losses given in a file.' };
}

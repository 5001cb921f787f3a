/** The quantized preview: pictures and numbers of one or more plans beside full precision. Reference and quantized passes run the same kernels. */
import type { CancellationToken } from 'vscode-jsonrpc';
import { EngineError } from '../engine/client';
import type { Engine } from '../engine/client';
import { requireUnchanged } from '../checkpoint';
import type { IntegerLayer, LinearRecipe } from '../engine/graph';
import { sharedBytes } from '../config/packedSize';
import type { DeployedPreview, Plan, PreviewAgreement, PreviewCandidate, PreviewDevice, PreviewFrame, PreviewResult, PreviewScope, PreviewSettings, PreviewStep } from '../protocol';
import { agreement, averageAgreement, averageSteps, compareStep, toFrames } from './compare';
import { describeDeployed } from './deployed';
import type { DecodeOptions } from './decoder';
import { JobDevice } from './device';
import type { Picture } from './metrics';
import type { Pipeline, PredictOptions } from './pipelines';
import { computeTrajectory, referenceTrajectory } from './trajectory';
import type { Trajectory } from './trajectory';

export interface Candidate { label: string; uri: string; plan: Plan; /** Apply only the layers this rule decides. */ rule: number | null; layers: ReadonlySet<string>; recipes: Record<string, LinearRecipe>; /** On integers where layers can. The candidate before it is the same with fake quantization. */ asDeployed?: boolean }

export interface PreviewRequest {
  pipeline: Pipeline;
  candidates: readonly Candidate[];
  /** Where reference trajectories are kept; null for nowhere. */
  folder: string | null;
  cancellation?: CancellationToken | undefined;
  onFrame?(frame: PreviewFrame, items: string[]): void;
  /** Numbers of one item alone, as soon as they are known: of the finished sample or the mean of the compared steps, and of each of these. */
  onItem?(candidate: number, item: number, metrics: PreviewAgreement, perStep: PreviewStep[]): void;
  onProgress?(fraction: number, what: string): void;
}

/** @throws EngineError */
export async function runPreview(request: PreviewRequest, engine: Engine): Promise<PreviewResult> {
  const started = performance.now();
  const { pipeline } = request;
  const { checkpoint, settings } = pipeline;
  const device = await JobDevice.of(engine);
  const progress = new Progress(request, device.options);
  const frames: PreviewFrame[] = [];
  const show = (all: PreviewFrame[]): void => all.forEach((frame) => {
    frames.push(frame);
    request.onFrame?.(frame, pipeline.items);
  });

  let decoderOn: DecodeOptions['device'] = device.identity === '' ? undefined : 'float32';
  let decoderReason: string | undefined;
  const decode = async (latent: Float32Array): Promise<Picture[]> => {
    const { cancellation } = request;
    try {
      return await pipeline.decode(latent, engine, { cancellation, device: decoderOn });
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== 'MEMORY' || decoderOn === undefined) {
        throw error;
      }
      // Decoders need more memory than models; both ways are float32.
      [decoderOn, decoderReason] = [undefined, `does not fit the device: ${error.message}`];
      return pipeline.decode(latent, engine, { cancellation });
    }
  };
  // A latent is decoded once: the same one is shown and measured.
  const decoded = new Map<Float32Array, Promise<Picture[]>>();
  const pictures = (latent: Float32Array): Promise<Picture[]> => {
    const known = decoded.get(latent) ?? decode(latent);
    decoded.set(latent, known);
    return known;
  };

  const references: Trajectory[] = [];
  for (const [item, name] of pipeline.items.entries()) {
    const reference = await referenceTrajectory(request.folder, pipeline, item, engine, () => progress.step(`full precision, ${name}`), device.identity);
    if (reference.cached) {
      progress.skip(settings.steps);
    }
    references.push(reference);
    for (const { clean, step } of points(pipeline, settings, reference)) {
      show(toFrames(await pictures(clean), -1, item, step));
    }
  }

  /** How far a candidate as deployed is from the one before it. */
  const besideFake = async (integers: readonly IntegerLayer[], own: readonly Trajectory[], fake: readonly Trajectory[]): Promise<DeployedPreview> => {
    const compared = await Promise.all(own.flatMap((each, item) => (fake[item] ? [comparePoints(pipeline, settings, each, fake[item], pictures)] : [])));
    const perStep = averageSteps(compared.map(({ steps }) => steps));
    const relativeMse = perStep.reduce((sum, { outputRelativeMse }) => sum + outputRelativeMse, 0) / Math.max(1, perStep.length);
    return { ...describeDeployed(integers, relativeMse), metrics: averageAgreement(compared.map(({ final }) => final)), perStep };
  };

  const candidates: PreviewCandidate[] = [];
  let before: Trajectory[] = [];
  for (const [index, candidate] of request.candidates.entries()) {
    const { recipes } = candidate;
    const integers: IntegerLayer[] = [];
    const trajectories: Trajectory[] = [];
    const steps: PreviewStep[][] = [];
    const finals: PreviewAgreement[] = [];
    for (const [item, reference] of references.entries()) {
      const options = (): PredictOptions => ({
        ...progress.step(`${candidate.label}, ${pipeline.items[item] ?? ''}`),
        ...(candidate.asDeployed ? { asDeployed: (layers: IntegerLayer[]) => { integers.push(...layers); } } : {}),
      });
      const own = settings.mode === 'free' ? await computeTrajectory(pipeline, item, recipes, engine, options) : await forcedOutputs(pipeline, item, reference, settings, recipes, engine, options);
      const compared = await comparePoints(pipeline, settings, own, reference, pictures);
      trajectories.push(own);
      steps.push(compared.steps);
      finals.push(compared.final);
      request.onItem?.(index, item, compared.final, compared.steps);
      for (const { clean, step } of points(pipeline, settings, own)) {
        show(toFrames(await pictures(clean), index, item, step));
      }
    }
    candidates.push({ label: candidate.label, uri: candidate.uri, rule: candidate.rule, scope: describeScope(candidate), metrics: averageAgreement(finals), perStep: averageSteps(steps), ...(candidate.asDeployed ? { deployed: await besideFake(integers, trajectories, before) } : {}) });
    before = trajectories;
  }
  return {
    architecture: checkpoint.architecture, settings, items: pipeline.items, candidates, frames,
    reference: { ...soundness(references), cached: references.every((reference) => reference.cached) }, device: withDecoder(device.use, decoderReason), milliseconds: performance.now() - started,
  };
}

function withDecoder(device: PreviewDevice | null, reason: string | undefined): PreviewDevice | null {
  return device && reason !== undefined ? { ...device, processor: [...device.processor, { name: 'the decoder', reason }] } : device;
}

/** Which steps are compared: evenly spread, the last always among them. */
export function comparedSteps({ steps, compareSteps }: PreviewSettings): number[] {
  return [...new Set(Array.from({ length: compareSteps }, (_, i) => Math.round(((i + 1) * steps) / compareSteps) - 1))];
}

/** The quantized model at the reference's x_t of the compared steps. */
export async function forcedOutputs(pipeline: Pipeline, item: number, reference: Trajectory, settings: PreviewSettings, recipes: Record<string, LinearRecipe>, engine: Engine, options: () => PredictOptions): Promise<Trajectory> {
  const { timesteps } = pipeline.sampler();
  const outputs = [...reference.outputs];
  for (const step of comparedSteps(settings)) {
    outputs[step] = await pipeline.predict(item, reference.samples[step] ?? new Float32Array(), timesteps[step] ?? 0, recipes, engine, options());
  }
  await requireUnchanged(pipeline.checkpoint);
  return { samples: reference.samples, outputs, cached: false };
}

/** What is shown of a trajectory: in forced mode the clean estimate at every compared step, in free mode the finished sample. */
function points(pipeline: Pipeline, settings: PreviewSettings, trajectory: Trajectory): { step: number | null; clean: Float32Array }[] {
  if (settings.mode === 'free') {
    return [{ step: null, clean: trajectory.samples.at(-1) ?? new Float32Array() }];
  }
  return comparedSteps(settings).map((step) => ({ step, clean: cleanAt(pipeline, trajectory, step) }));
}

async function comparePoints(pipeline: Pipeline, settings: PreviewSettings, own: Trajectory, reference: Trajectory, pictures: (latent: Float32Array) => Promise<Picture[]>): Promise<{ steps: PreviewStep[]; final: PreviewAgreement }> {
  const { timesteps } = pipeline.sampler();
  const compare = async (latent: Float32Array, other: Float32Array): Promise<PreviewAgreement> => agreement(latent, other, await pictures(latent), await pictures(other));
  const steps: PreviewStep[] = [];
  for (const step of comparedSteps(settings)) {
    const [output, referenceOutput] = [own.outputs[step] ?? new Float32Array(), reference.outputs[step] ?? new Float32Array()];
    steps.push(compareStep(step, timesteps[step] ?? 0, output, referenceOutput, await compare(cleanAt(pipeline, own, step), cleanAt(pipeline, reference, step))));
  }
  // Forced mode has no sample of its own, and its last step alone hardly reacts to quantization: the mean over the compared steps does.
  return { steps, final: settings.mode === 'forced' ? averageAgreement(steps) : await compare(own.samples.at(-1) ?? new Float32Array(), reference.samples.at(-1) ?? new Float32Array()) };
}

const estimates = new WeakMap<Trajectory, Map<number, Float32Array>>();

/** The clean estimate at a step, one array per trajectory and step. */
export function cleanAt(pipeline: Pipeline, trajectory: Trajectory, step: number): Float32Array {
  const known = estimates.get(trajectory) ?? new Map<number, Float32Array>();
  estimates.set(trajectory, known);
  const clean = known.get(step) ?? pipeline.sampler().clean(trajectory.outputs[step] ?? new Float32Array(), step, trajectory.samples[step] ?? new Float32Array());
  known.set(step, clean);
  return clean;
}

/** A reference with NaNs, or one flat colour, would make any quantized model look right or wrong by accident. */
function soundness(references: readonly Trajectory[]): { finite: boolean; uniform: boolean } {
  const finals = references.map((reference) => reference.samples.at(-1) ?? new Float32Array());
  return {
    finite: references.every((reference) => reference.outputs.every((output) => output.every(Number.isFinite))),
    uniform: finals.some((final) => final.every((value) => value === final[0])),
  };
}

function describeScope({ plan, layers }: Candidate): PreviewScope {
  const quantized = plan.layers.filter(({ name, recipe }) => layers.has(name) && (recipe.weights.kind !== 'keep' || recipe.activations.kind !== 'keep'));
  const names = new Set(quantized.map((layer) => layer.name));
  const bytes = sharedBytes(quantized) + plan.layers.reduce((sum, layer) => sum + (names.has(layer.name) ? layer.packedBytes : layer.tensor.bytes), 0);
  const params = quantized.reduce((sum, layer) => sum + layer.params, 0);
  return { quantizedLayers: quantized.length, layers: plan.layers.length, paramsPercent: (100 * params) / Math.max(1, plan.totals.params), averageBits: (8 * bytes) / Math.max(1, plan.totals.params) };
}

/** One bar over every step of every item and candidate. A step is one or two calls of the model. */
class Progress {
  private done = 0;
  private readonly total: number;

  constructor(private readonly request: PreviewRequest, private readonly where: JobDevice['options']) {
    const { pipeline: { settings, items }, candidates } = request;
    const compared = settings.mode === 'free' ? settings.steps : comparedSteps(settings).length;
    this.total = items.length * (settings.steps + candidates.length * compared);
  }

  skip(steps: number): void { this.done += steps; }

  step(what: string): PredictOptions {
    const at = this.done++;
    let [call, last] = [0, 0];
    return {
      ...this.where,
      cancellation: this.request.cancellation,
      progress: (fraction) => {
        call += fraction < last ? 1 : 0; // the second call starts again from 0
        last = fraction;
        this.request.onProgress?.((at + Math.min(1, (call + fraction) / this.request.pipeline.calls)) / this.total, what);
      },
    };
  }
}

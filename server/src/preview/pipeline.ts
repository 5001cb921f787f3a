/** What a diffusers pipeline does around its transformer: starting noise, guidance, sampler, decoder. */
import { readFile } from 'node:fs/promises';
import { join, dirname } from 'node:path';
import type { Engine, JobOptions } from '../engine/client';
import type { CaptureRequest, CapturedLayer, LinearRecipe } from '../engine/graph';
import { openCheckpoint } from '../checkpoint';
import { decoderFor, modelFor } from '../models';
import { ModelError } from '../models/builder';
import type { Given } from '../models/builder';
import { prepare, runForward } from '../models/forward';
import type { Checkpoint, PreviewSettings } from '../protocol';
import { samplerFor } from '../samplers';
import { torchRandn } from '../samplers/noise';
import type { Sampler } from '../samplers/sampler';
import type { Picture } from './metrics';

/** The two halves of guidance see different activations. */
export type Half = 'conditional' | 'unconditional';

export interface PredictOptions extends JobOptions { capture?: { request: CaptureRequest; received(half: Half, layers: CapturedLayer[]): void } }

export interface Pipeline {
  /** What each item shows. */
  items: string[];
  /** Latent (or pixel) shape of one item. */
  shape: number[];
  /** Model calls of one `predict`: two with guidance. */
  calls: number;
  /** Floating point operations of one `predict`. */
  flops: number;
  noise(item: number): Float32Array;
  sampler(): Sampler;
  /** The guided model output at a step. */
  predict(item: number, sample: Float32Array, timestep: number, recipes: Record<string, LinearRecipe>, engine: Engine, options: PredictOptions): Promise<Float32Array>;
  /** Pictures of a latent, one per frame. */
  decode(latent: Float32Array, engine: Engine, options?: JobOptions): Promise<Picture[]>;
}

/** @throws ModelError when this model cannot be previewed, with the reason. */
export async function openPipeline(checkpoint: Checkpoint, settings: PreviewSettings): Promise<Pipeline> {
  const model = modelFor(checkpoint);
  if (!model.classes.includes('DiTTransformer2DModel')) {
    throw new ModelError(`Previews run class-conditional DiT models so far; ${model.classes[0] ?? ''} also needs prompt embeddings, which previews cannot read yet. "quantscope forward" runs its transformer on inputs you give.`);
  }
  const folder = pipelineFolder(checkpoint);
  const index = await readJson(join(folder, 'model_index.json'));
  const hasVae = Array.isArray(index?.['vae']) && index['vae'][0] !== null;
  const decode = hasVae ? latentDecoder(await openCheckpoint(join(folder, 'vae'))) : pixelDecoder;
  const scheduler = await readJson(join(folder, 'scheduler/scheduler_config.json'));
  if (!scheduler) {
    throw new ModelError(`There is no scheduler/scheduler_config.json in ${folder}: a preview needs the pipeline folder, not the weights alone.`);
  }
  const { config } = checkpoint;
  const number = (key: string): number => Number(config?.[key]);
  const [channels, size, nullClass] = [number('in_channels'), number('sample_size'), number('num_embeds_ada_norm')];
  const wrong = settings.classes.find((label) => label >= nullClass);
  if (wrong !== undefined) {
    throw new ModelError(`There is no class ${wrong}: this model knows 0 to ${nullClass - 1}. Change "preview: { classes: […] }".`);
  }
  const shape = [channels, size, size];
  const count = channels * size * size;
  const given = (sample: Float32Array, timestep: number, label: number): Record<string, Given> => ({
    hidden_states: { shape, data: sample }, timestep: { shape: [1], data: Float32Array.of(timestep) }, class_labels: { shape: [1], data: Float32Array.of(label) },
  });
  const prepared = prepare(model, checkpoint, given(new Float32Array(count), 0, 0));
  const labels = (index?.['id2label'] ?? {}) as Record<string, unknown>;
  return {
    items: settings.classes.map((label) => `class ${label}${typeof labels[label] === 'string' ? `: ${labels[label].split(',')[0] ?? ''}` : ''}`),
    shape,
    calls: settings.guidance > 1 ? 2 : 1,
    flops: programFlops(prepared.program) * (settings.guidance > 1 ? 2 : 1),
    noise: () => torchRandn(count, settings.seed),
    sampler: () => samplerFor(scheduler, settings.steps, (size / number('patch_size')) ** 2),
    async predict(item, sample, timestep, recipes, engine, { capture, ...options }) {
      const run = async (label: number, half: Half): Promise<Float32Array> => {
        const result = await runForward(prepared, given(sample, timestep, label), engine, { ...options, recipes, ...(capture ? { capture: capture.request } : {}) });
        capture?.received(half, result.captured);
        // Channels beyond the input's are the learned variance, which these samplers do not use.
        return result.sample.data.subarray(0, count);
      };
      const conditional = await run(settings.classes[item] ?? 0, 'conditional');
      if (settings.guidance <= 1) {
        return Float32Array.from(conditional);
      }
      const unconditional = await run(nullClass, 'unconditional');
      return unconditional.map((value, i) => value + settings.guidance * ((conditional[i] ?? 0) - value));
    },
    decode: (latent, engine, options) => decode({ shape, data: latent }, engine, options ?? {}),
  };
}

type Decoder = (latent: Given, engine: Engine, options: JobOptions) => Promise<Picture[]>;

/** The sample is the picture, −1..1. */
const pixelDecoder: Decoder = (sample) => Promise.resolve([toPicture(sample)]);

/** AutoencoderKL: latents are stored scaled and shifted. A tiny decoder takes them as they are, which its config says with a scaling factor of 1. */
function latentDecoder(vae: Checkpoint): Decoder {
  const model = decoderFor(vae);
  const number = (key: string, fallback: number): number => (typeof vae.config?.[key] === 'number' ? (vae.config[key] as number) : fallback);
  const [scale, shift] = [number('scaling_factor', 1), number('shift_factor', 0)];
  return async ({ shape, data }, engine, options) => {
    const given = { latents: { shape, data: data.map((value) => value / scale + shift) } };
    return [toPicture((await runForward(prepare(model, vae, given), given, engine, options)).sample)];
  };
}

function toPicture({ shape: [channels = 0, height = 0, width = 0], data }: Given): Picture {
  return { channels, height, width, data: data.map((value) => Math.min(1, Math.max(0, (value + 1) / 2))) };
}

/** The folder with model_index.json: the checkpoint itself, or the parent of its component. */
function pipelineFolder(checkpoint: Checkpoint): string {
  return dirname(dirname(checkpoint.tensors[0]?.file ?? checkpoint.path));
}

async function readJson(path: string): Promise<Record<string, unknown> | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return undefined;
    }
    throw new ModelError(`${path} cannot be read: ${(error as Error).message}.`);
  }
}

/** Two per multiply-add of every linear, attention and convolution. */
export function programFlops(program: ReturnType<typeof prepare>['program']): number {
  const size = (id: number): number => (program.buffers[id] ?? []).reduce((product, each) => product * each, 1);
  const width = (id: number): number => program.buffers[id]?.at(-1) ?? 0;
  return program.ops.reduce((sum, op) => {
    switch (op.op) {
      case 'linear': return sum + 2 * size(op.x) * width(op.out);
      case 'attention': return sum + 4 * size(op.q) * (program.buffers[op.k]?.[0] ?? 0);
      case 'conv': return sum + 2 * size(op.out) * op.weight.shape.slice(1).reduce((product, each) => product * each, 1);
      default: return sum;
    }
  }, 0);
}

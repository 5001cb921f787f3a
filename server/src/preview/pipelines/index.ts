/** What a diffusers pipeline does around its transformer: starting noise, conditioning, guidance, sampler, decoder. */
import type { Engine, JobOptions } from '../../engine/client';
import type { CaptureRequest, CapturedLayer, DeviceUse, IntegerLayer, LinearRecipe, Program, RunRequest } from '../../engine/graph';
import { modelFor } from '../../models';
import { ModelError } from '../../models/builder';
import { prepare, runForward } from '../../models/forward';
import type { Prepared } from '../../models/forward';
import type { Model } from '../../models/model';
import type { Checkpoint, Half, PreviewSettings } from '../../protocol';
import { samplerFor } from '../../samplers';
import { torchRandn } from '../../samplers/noise';
import type { Sampler } from '../../samplers/sampler';
import { openDecoder } from '../decoder';
import type { DecodeOptions } from '../decoder';
import { programFlops } from '../flops';
import type { Picture } from '../metrics';
import { openPrompt } from '../prompts';
import type { PromptNeeds } from '../prompts';
import { settle } from '../settings';
import { cogvideox } from './cogvideox';
import { classItems, dit } from './dit';
import type { Context, Family, Inputs, TextFamily } from './family';
import { flux } from './flux';
import { pixart } from './pixart';
import { configNumber, openSource } from './source';
import type { Source } from './source';
import { wan } from './wan';
import { zimage } from './zimage';

export interface PredictOptions extends JobOptions { /** Quantized layers run on integers where they can; gets how each ran. */ asDeployed?(layers: IntegerLayer[]): void; /** See RunRequest. */ device?: RunRequest['device']; /** Gets how each call used a device. */ onDevice?(use: DeviceUse | null): void; capture?: { request: CaptureRequest; received(half: Half, layers: CapturedLayer[]): void } }

export interface ModelCall { half: Half; program: Prepared; inputs: Inputs }

export interface Pipeline {
  checkpoint: Checkpoint;
  /** With every default filled in. */
  settings: PreviewSettings;
  /** What each item shows. */
  items: string[];
  /** Of one item's noise and of every x_t. */
  shape: number[];
  /** A size a quarter as large, where the model draws well at it. */
  halfSize: { width: number; height: number } | null;
  /** Model calls of one `predict`: two with guidance. */
  calls: number;
  /** What the latents of an item depend on, besides checkpoint and engine. */
  identity(item: number): unknown[];
  /** Floating point operations of one `predict`, and of one `decode`. */
  flops(item: number): number;
  decodeFlops(): number;
  /** By linear layer: all that read the same input, in order of the forward pass, itself among them. */
  inputs(): ReadonlyMap<string, string[]>;
  /** What the engine runs for an item: texts of different lengths are different programs. */
  programs(item: number): Prepared[];
  noise(): Float32Array;
  sampler(): Sampler;
  /** What the model is called with for one `predict`. */
  callsAt(item: number, x: Float32Array, timestep: number): ModelCall[];
  /** The guided output from what the calls of `callsAt` gave. */
  guided(samples: readonly Float32Array[]): Float32Array;
  /** The guided model output at a step. */
  predict(item: number, x: Float32Array, timestep: number, recipes: Record<string, LinearRecipe>, engine: Engine, options: PredictOptions): Promise<Float32Array>;
  /** Pictures of a latent, one per frame. */
  decode(x: Float32Array, engine: Engine, options?: DecodeOptions): Promise<Picture[]>;
}

/** By class of diffusers. */
const families: Readonly<Record<string, Family>> = {
  DiTTransformer2DModel: dit, PixArtTransformer2DModel: pixart, FluxTransformer2DModel: flux, ZImageTransformer2DModel: zimage, WanTransformer3DModel: wan, CogVideoXTransformer3DModel: cogvideox,
};

/**
 * @param written of the config's `preview`
 * @param base folder of the config, where relative paths start and `prompts/` lies
 * @throws ModelError when this model cannot be previewed with these settings, with the reason; CheckpointError for a decoder or embeddings that cannot be read
 */
export async function openPipeline(checkpoint: Checkpoint, written: Partial<PreviewSettings>, base: string): Promise<Pipeline> {
  const model = modelFor(checkpoint);
  const family = familyOf(model);
  const source = await openSource(checkpoint);
  const channels = family.channels(source);
  const { decoder, factors } = await openDecoder(source, written.decoder ?? 'vae', base, { channels, video: family.video });
  const settings = settle(written, family, source, factors);
  const latent = { channels, frames: (settings.frames - 1) / factors.time + 1, height: settings.height / factors.space, width: settings.width / factors.space };
  const context: Context = { source, settings, latent };
  const shape = family.shape(latent);
  const count = shape.reduce((product, size) => product * size, 1);
  const guided = family.guided(settings.guidance);
  const items = family.text ? await promptItems(family.text, context, guided, base) : classItems(source, settings);

  const programs = new Map<string, Prepared>();
  const prepared = (inputs: Inputs): Prepared => {
    const key = JSON.stringify(Object.entries(inputs).map(([name, { shape: each }]) => [name, each]));
    const known = programs.get(key) ?? prepare(model, checkpoint, inputs);
    programs.set(key, known);
    return known;
  };
  const halves = (item: number): [Half, Inputs][] => {
    const { conditional, unconditional } = items[item] ?? {};
    return [...(conditional ? [['conditional', conditional] as [Half, Inputs]] : []), ...(guided && unconditional ? [['unconditional', unconditional] as [Half, Inputs]] : [])];
  };
  const callsAt = (item: number, x: Float32Array, timestep: number): ModelCall[] => halves(item).map(([half, conditioning]) => {
    const inputs = { ...family.step(x, timestep, latent), ...conditioning };
    return { half, program: prepared(inputs), inputs };
  });
  const guide = (samples: readonly Float32Array[]): Float32Array => {
    const [conditional = new Float32Array(), unconditional] = samples.map((sample) => family.prediction(sample, latent));
    return unconditional ? conditional.map((value, i) => family.guide(value, unconditional[i] ?? 0, settings.guidance)) : conditional;
  };
  const start = family.step(new Float32Array(count), 0, latent);
  const tokens = (latent.frames * latent.height * latent.width) / family.patch(source) ** 2;
  const half = (pixels: number): number => pixels / 2 - ((pixels / 2) % (family.patch(source) * factors.space));
  return {
    checkpoint, settings, items: items.map(({ name }) => name), shape, calls: guided ? 2 : 1,
    halfSize: family.anySize && Math.min(settings.width, settings.height) >= 512 ? { width: half(settings.width), height: half(settings.height) } : null,
    identity: (item) => [source.scheduler, settings.steps, settings.seed, settings.guidance, settings.width, settings.height, shape, items[item]?.identity],
    flops: (item) => halves(item).reduce((sum, [, inputs]) => sum + programFlops(prepared({ ...start, ...inputs }).program), 0),
    decodeFlops: () => decoder.flops(family.latents(new Float32Array(count), latent)),
    inputs: () => layersByInput(prepared({ ...start, ...halves(0)[0]?.[1] }).program),
    programs: (item) => [...new Set(halves(item).map(([, inputs]) => prepared({ ...start, ...inputs })))],
    noise: () => torchRandn(count, settings.seed),
    callsAt,
    guided: guide,
    sampler: () => samplerFor(source.scheduler, settings.steps, tokens),
    async predict(item, x, timestep, recipes, engine, { capture, asDeployed, device, onDevice, ...options }) {
      const samples: Float32Array[] = [];
      for (const { half, program, inputs } of callsAt(item, x, timestep)) {
        const result = await runForward(program, inputs, engine, { ...options, recipes, asDeployed: asDeployed !== undefined, ...(device ? { device } : {}), ...(capture ? { capture: capture.request } : {}) });
        asDeployed?.(result.integers);
        onDevice?.(result.device);
        capture?.received(half, result.captured);
        samples.push(result.sample.data);
      }
      return guide(samples);
    },
    decode: (x, engine, options) => decoder.decode(family.latents(x, latent), engine, options ?? {}),
  };
}

export function familyOf({ classes }: Pick<Model, 'classes'>): Family { return families[classes[0] ?? ''] as Family; }

function layersByInput({ ops }: Program): Map<string, string[]> {
  const readers = new Map<number, string[]>();
  const found = new Map<string, string[]>();
  for (const op of ops) {
    if (op.op === 'linear' && !found.has(op.name)) {
      const layers = readers.get(op.x) ?? [];
      readers.set(op.x, layers);
      layers.push(op.name);
      found.set(op.name, layers);
    }
  }
  return found;
}

interface Item { name: string; identity: string; conditional: Inputs; unconditional: Inputs | null }

export function promptNeeds(text: TextFamily, source: Source, guided: boolean): PromptNeeds {
  const named = source.index?.['_class_name'];
  return {
    encoder: typeof named === 'string' ? named : text.pipeline, width: configNumber(source, text.width), pooled: text.pooled === null ? null : configNumber(source, text.pooled), negative: guided,
    refusal: (shape) => text.refusal?.(shape, source),
  };
}

export function promptsMissing({ checkpoint }: Source): string {
  return `${checkpoint.architecture} makes pictures of text: name at least one prompt in the config, "preview: { prompts: ["a red fox in the snow"] }". docs/prompts.md says how its embeddings are made.`;
}

async function promptItems(text: TextFamily, context: Context, guided: boolean, base: string): Promise<Item[]> {
  const { source, settings } = context;
  const needs = promptNeeds(text, source, guided);
  if (settings.prompts.length === 0) {
    throw new ModelError(promptsMissing(source));
  }
  return Promise.all(settings.prompts.map(async (entry) => {
    const { name, identity, positive, negative } = await openPrompt(entry, base, needs);
    return { name, identity, conditional: text.inputs(positive, context), unconditional: negative && text.inputs(negative, context) };
  }));
}

/** Latents → pictures: the pipeline's VAE, or a tiny decoder. models.md B. */
import { join, resolve } from 'node:path';
import type { Engine } from '../engine/client';
import { openCheckpoint } from '../checkpoint';
import { decoderFor } from '../models';
import { ModelError } from '../models/builder';
import type { Given } from '../models/builder';
import { prepare, runForward } from '../models/forward';
import type { ForwardOptions, Prepared } from '../models/forward';
import { programFlops } from './flops';
import type { Picture } from './metrics';
import type { Json, Source } from './pipelines/source';

export interface DecodeOptions extends Pick<ForwardOptions, 'progress' | 'cancellation'> { device?: ForwardOptions['device'] | undefined }

export interface Decoder {
  /** Pictures of a latent as the sampler leaves it, one per frame. */
  decode(latent: Given, engine: Engine, options: DecodeOptions): Promise<Picture[]>;
  flops(latent: Given): number;
}

/** Pixels per latent cell, and pictures per latent frame behind the first. */
export interface Factors { space: number; time: number }

interface Kind {
  video: boolean;
  /** The convolution that takes the latents. */
  first: string;
  factors(config: Json): Factors;
  /** From the scale a transformer works in to what the decoder takes. */
  unscale(latent: Given, config: Json): Float32Array;
  /** The range of what it gives. */
  range: readonly [number, number];
}

const levels = (config: Json, key: string, fallback: number): number => (Array.isArray(config[key]) ? config[key].length : fallback) - 1;
const number = (config: Json, key: string, fallback: number): number => (typeof config[key] === 'number' ? config[key] : fallback);

const kinds: Readonly<Record<string, Kind>> = {
  AutoencoderKL: {
    video: false, first: 'decoder.conv_in', range: [-1, 1], factors: (config) => ({ space: 2 ** levels(config, 'block_out_channels', 4), time: 1 }),
    unscale: ({ data }, config) => data.map((value) => value / number(config, 'scaling_factor', 0.18215) + number(config, 'shift_factor', 0)),
  },
  AutoencoderTiny: {
    video: false, first: 'decoder.layers.0', range: [-1, 1], factors: (config) => ({ space: 2 ** levels(config, 'num_decoder_blocks', 4), time: 1 }),
    unscale: ({ data }, config) => data.map((value) => value / number(config, 'scaling_factor', 1) + number(config, 'shift_factor', 0)),
  },
  AutoencoderKLWan: {
    video: true, first: 'decoder.conv_in', range: [-1, 1],
    factors: (config) => ({ space: 2 ** levels(config, 'dim_mult', 4), time: 2 ** (Array.isArray(config['temperal_downsample']) ? config['temperal_downsample'].filter(Boolean).length : 2) }),
    unscale({ shape: [channels = 0], data }, config) {
      const [mean, std] = ['latents_mean', 'latents_std'].map((key) => statistics(config, key, channels)) as [number[], number[]];
      return data.map((value, i) => value * (std[Math.floor((i * channels) / data.length)] ?? 1) + (mean[Math.floor((i * channels) / data.length)] ?? 0));
    },
  },
  AutoencoderKLCogVideoX: {
    video: true, first: 'decoder.conv_in.conv', range: [-1, 1], factors: (config) => ({ space: 2 ** levels(config, 'block_out_channels', 4), time: number(config, 'temporal_compression_ratio', 4) }),
    unscale: ({ data }, config) => data.map((value) => value / number(config, 'scaling_factor', 1.15258426)),
  },
  TAEHV: { video: true, first: 'decoder.1', range: [0, 1], factors: () => ({ space: 8, time: 4 }), unscale: ({ data }) => data },
};

function statistics(config: Json, key: string, channels: number): number[] {
  const list = config[key];
  if (!Array.isArray(list) || list.length !== channels || !list.every((value) => typeof value === 'number' && Number.isFinite(value))) {
    throw new ModelError(`vae/config.json: "${key}" must list ${channels} numbers, one per latent channel. Copy the VAE's config.json anew from where the model came from.`);
  }
  return list as number[];
}

/** @param named `vae`, or a path relative to `base`. Where the pipeline has no VAE, samples are the pictures. @throws ModelError, CheckpointError */
export async function openDecoder({ folder, vae }: Source, named: string, base: string, { channels, video }: { channels: number; video: boolean }, open = openCheckpoint): Promise<{ decoder: Decoder; factors: Factors }> {
  if (named === 'vae' && vae === null) {
    if (video || (channels !== 1 && channels !== 3)) {
      throw new ModelError(`The pipeline in ${folder} has no VAE, and its samples of ${channels} channels are no pictures. Add its vae folder, or name a tiny decoder in "preview: { decoder: … }".`);
    }
    return { decoder: pixels, factors: { space: 1, time: 1 } };
  }
  const path = named === 'vae' ? join(folder, 'vae') : resolve(base, named);
  const checkpoint = await open(path);
  const model = decoderFor(checkpoint);
  const kind = kinds[model.classes[0] ?? ''] as Kind;
  const config = checkpoint.config ?? {};
  if (kind.video !== video) {
    throw new ModelError(`${path} decodes ${kind.video ? 'videos' : 'pictures'}, this model makes ${video ? 'videos' : 'pictures'}. Name ${video ? 'a TAEHV file (taew2_1 for Wan, taecvx for CogVideoX)' : 'an AutoencoderTiny folder (taesd, taesdxl, taef1)'} or "vae" in "preview: { decoder: … }".`);
  }
  const taken = checkpoint.tensors.find((tensor) => tensor.name === `${kind.first}.weight`)?.shape[1];
  if (taken !== undefined && taken !== channels) {
    throw new ModelError(`${path} decodes latents of ${taken} channels; this model makes ${channels}. Name a decoder made for this model (taesd for DiT, taesdxl for PixArt, taef1 for FLUX.1 and Z-Image, taew2_1 for Wan, taecvx for CogVideoX), or "vae".`);
  }
  const prepared = programs((latents) => prepare(model, checkpoint, { latents }));
  return {
    factors: kind.factors(config),
    decoder: {
      async decode(latent, engine, options) {
        const latents = { shape: latent.shape, data: kind.unscale(latent, config) };
        return toPictures((await runForward(prepared(latents), { latents }, engine, options)).sample, kind.range);
      },
      flops: (latent) => programFlops(prepared(latent).program),
    },
  };
}

/** One program per shape. */
function programs(make: (latents: Given) => Prepared): (latents: Given) => Prepared {
  const known = new Map<string, Prepared>();
  return (latents) => {
    const key = latents.shape.join();
    const prepared = known.get(key) ?? make(latents);
    known.set(key, prepared);
    return prepared;
  };
}

/** The sample is the picture. */
const pixels: Decoder = { decode: (sample) => Promise.resolve(toPictures(sample, [-1, 1])), flops: () => 0 };

/** [C, H, W] or [C, T, H, W] → values 0..1. */
function toPictures({ shape, data }: Given, [low, high]: readonly [number, number]): Picture[] {
  const [channels = 0, frames = 0, height = 0, width = 0] = shape.length === 4 ? shape : [shape[0], 1, ...shape.slice(1)];
  const area = height * width;
  return Array.from({ length: frames }, (_, frame) => ({
    channels, height, width,
    data: Float32Array.from({ length: channels * area }, (_value, i) => Math.min(1, Math.max(0, ((data[(Math.floor(i / area) * frames + frame) * area + (i % area)] ?? 0) - low) / (high - low)))),
  }));
}

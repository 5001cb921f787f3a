/** What differs between the pipelines of diffusers: one small record per model family. models.md A2 and C. */
import type { Given } from '../../models/builder';
import type { PreviewSettings } from '../../protocol';
import type { Text, TextShape } from '../prompts';
import type { SettingProblem } from '../settings';
import type { Source } from './source';

/** Size of a latent. frames is 1 for pictures. */
export interface Latent { channels: number; frames: number; height: number; width: number }

export type Inputs = Record<string, Given>;

export interface Context { source: Source; settings: PreviewSettings; latent: Latent }

export interface TextFamily {
  /** The diffusers class whose `encode_prompt` makes the embeddings, where model_index.json does not say. */
  pipeline: string;
  /** Keys of config.json: the width of the embeddings, and of the pooled ones where the model takes them. */
  width: string;
  pooled: string | null;
  /** Why embeddings of this shape do not fit; looked at before their values are read. */
  refusal?(text: TextShape, source: Source): string | undefined;
  /** The inputs that stay the same over a run. */
  inputs(text: Text, context: Context): Inputs;
}

export interface Family {
  /** null for models of classes. */
  text: TextFamily | null;
  video: boolean;
  /** Settings that the config leaves out; sizes in pixels. */
  defaults(source: Source, factor: number): Pick<PreviewSettings, 'steps' | 'guidance' | 'width' | 'height' | 'frames'>;
  channels(source: Source): number;
  /** Settings that this family alone refuses. */
  problems?(settings: PreviewSettings, source: Source): SettingProblem[];
  /** Latent rows and columns of a token. */
  patch(source: Source): number;
  /** Pictures far from the size of training still look like something. */
  anySize: boolean;
  /** The number of latent frames is odd. */
  oddFrames?: true;
  /** How diffusers draws the noise, without the batch; every x_t keeps this shape. */
  shape(latent: Latent): number[];
  /** Whether a step is two calls, conditional and unconditional. */
  guided(guidance: number): boolean;
  /** The guided output from both halves. */
  guide(conditional: number, unconditional: number, guidance: number): number;
  /** The inputs of a step. @param timestep as the sampler counts, 0..1000 */
  step(x: Float32Array, timestep: number, latent: Latent): Inputs;
  /** The model's output as the sampler wants it, in the shape of the noise. */
  prediction(output: Float32Array, latent: Latent): Float32Array;
  /** Latents as decoders take them: [C, h, w] or [C, T, h, w], still scaled. */
  latents(x: Float32Array, latent: Latent): Given;
}

/** What most families share: images [C, h, w], integer time steps, classifier-free guidance above 1. Channels beyond the noise's are a learned variance, which no sampler here uses. */
export const image = {
  video: false,
  anySize: true,
  shape: ({ channels, height, width }: Latent) => [channels, height, width],
  guided: (guidance: number) => guidance > 1,
  guide: (conditional: number, unconditional: number, guidance: number) => unconditional + guidance * (conditional - unconditional),
  step: (x: Float32Array, timestep: number, { channels, height, width }: Latent): Inputs => ({ hidden_states: { shape: [channels, height, width], data: x }, timestep: scalar(timestep) }),
  prediction: (output: Float32Array, { channels, frames, height, width }: Latent) => output.slice(0, channels * frames * height * width),
  latents: (x: Float32Array, { channels, height, width }: Latent): Given => ({ shape: [channels, height, width], data: x }),
};

export function scalar(...values: number[]): Given { return { shape: [values.length], data: Float32Array.from(values) }; }

/** [a, b, n] → [b, a, n]. */
export function swapAxes(x: Float32Array, a: number, b: number): Float32Array {
  const plane = x.length / (a * b);
  const out = new Float32Array(x.length);
  for (let i = 0; i < a; i++) {
    for (let j = 0; j < b; j++) {
      out.set(x.subarray((i * b + j) * plane, (i * b + j + 1) * plane), (j * a + i) * plane);
    }
  }
  return out;
}

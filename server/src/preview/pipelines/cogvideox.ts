import { image, scalar, swapAxes } from './family';
import type { Family } from './family';
import { configNumber } from './source';

/** CogVideoXPipeline (1.0): frames come first, latents [T, C, h, w]; exactly the padded rows of T5, without a mask. Its VAE decodes two latent frames at a time behind the first one. */
export const cogvideox: Family = {
  ...image,
  video: true,
  oddFrames: true,
  text: {
    pipeline: 'CogVideoXPipeline', width: 'text_embed_dim', pooled: null,
    refusal({ file, rows }, source) {
      const exact = configNumber(source, 'max_text_seq_length');
      return rows === exact ? undefined : `${file}: ${rows} rows of embeddings; this model takes exactly ${exact}, padding included. Encode with max_sequence_length=${exact}, as docs/prompts.md shows.`;
    },
    inputs: ({ embeds }) => ({ encoder_hidden_states: embeds }),
  },
  defaults: (source, factor) => ({
    steps: 20, guidance: 6, frames: Math.min(9, configNumber(source, 'sample_frames')),
    width: configNumber(source, 'sample_width') * factor, height: configNumber(source, 'sample_height') * factor,
  }),
  channels: (source) => configNumber(source, 'in_channels'),
  patch: (source) => configNumber(source, 'patch_size'),
  shape: ({ channels, frames, height, width }) => [frames, channels, height, width],
  step: (x, timestep, { channels, frames, height, width }) => ({ hidden_states: { shape: [frames, channels, height, width], data: x }, timestep: scalar(timestep) }),
  latents: (x, { channels, frames, height, width }) => ({ shape: [channels, frames, height, width], data: swapAxes(x, frames, channels) }),
};

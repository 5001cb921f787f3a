import { ModelError } from '../../models/builder';
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
    inputs({ file, embeds }, { source }) {
      const rows = configNumber(source, 'max_text_seq_length');
      if (embeds.shape[0] !== rows) {
        throw new ModelError(`${file}: ${embeds.shape[0] ?? 0} rows of embeddings; this model takes exactly ${rows}, padding included. Encode with max_sequence_length=${rows}, as docs/prompts.md shows.`);
      }
      return { encoder_hidden_states: embeds };
    },
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

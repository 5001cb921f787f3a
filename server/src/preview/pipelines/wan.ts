import { image, scalar } from './family';
import type { Family } from './family';
import { configNumber } from './source';

/** Rows of text, those behind the prompt being zero. They pass the text MLP and are attended like any other. */
const textRows = 512;

/** WanPipeline (2.1, text to video): latents [C, T, h, w]. */
export const wan: Family = {
  ...image,
  video: true,
  text: {
    pipeline: 'WanPipeline', width: 'text_dim', pooled: null,
    refusal: ({ file, rows }) => (rows <= textRows ? undefined : `${file}: ${rows} rows of embeddings; Wan takes at most ${textRows}. Encode with max_sequence_length=${textRows}, as docs/prompts.md shows.`),
    inputs({ embeds, mask }) {
      const [, width = 0] = embeds.shape;
      const data = new Float32Array(textRows * width);
      data.set(embeds.data.map((value, i) => (mask?.[Math.floor(i / width)] === 0 ? 0 : value)));
      return { encoder_hidden_states: { shape: [textRows, width], data } };
    },
  },
  defaults: () => ({ steps: 20, guidance: 5, width: 448, height: 256, frames: 5 }),
  problems: (_settings, { index, folder }) => ((index?.['boundary_ratio'] ?? null) === null && index?.['expand_timesteps'] !== true ? [] : [{
    key: null, instead: [],
    message: `${folder} is a pipeline of Wan 2.2, which changes its transformer or its time steps along the way; previews run Wan 2.1. "quantscope forward" runs a transformer of 2.2 on inputs you give.`,
  }]),
  channels: (source) => configNumber(source, 'in_channels'),
  patch: () => 2,
  shape: ({ channels, frames, height, width }) => [channels, frames, height, width],
  step: (x, timestep, { channels, frames, height, width }) => ({ hidden_states: { shape: [channels, frames, height, width], data: x }, timestep: scalar(timestep) }),
  latents: (x, { channels, frames, height, width }) => ({ shape: [channels, frames, height, width], data: x }),
};

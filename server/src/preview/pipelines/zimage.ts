import { image, scalar } from './family';
import type { Family } from './family';
import { configNumber } from './source';

/** ZImagePipeline: the rows of real tokens only, time as 1 − σ, the output negated, guidance pos + g (pos − neg). A scheduler shift of at most 3 is the Turbo model's, which runs in 8 steps without guidance. */
export const zimage: Family = {
  ...image,
  text: {
    pipeline: 'ZImagePipeline', width: 'cap_feat_dim', pooled: null,
    inputs({ embeds, mask }) {
      const [rows = 0, width = 0] = embeds.shape;
      const real = Array.from({ length: rows }, (_, row) => row).filter((row) => mask === null || mask[row] !== 0);
      const data = new Float32Array(real.length * width);
      real.forEach((row, i) => data.set(embeds.data.subarray(row * width, (row + 1) * width), i * width));
      return { encoder_hidden_states: { shape: [real.length, width], data } };
    },
  },
  defaults: ({ scheduler }) => ({ ...(typeof scheduler['shift'] === 'number' && scheduler['shift'] <= 3 ? { steps: 8, guidance: 0 } : { steps: 20, guidance: 5 }), width: 512, height: 512, frames: 1 }),
  channels: (source) => configNumber(source, 'in_channels'),
  patch: () => 2,
  guided: (guidance) => guidance > 0,
  guide: (positive, negative, guidance) => positive + guidance * (positive - negative),
  step: (x, timestep, { channels, height, width }) => ({ hidden_states: { shape: [channels, 1, height, width], data: x }, timestep: scalar((1000 - timestep) / 1000) }),
  prediction: (output) => output.map((value) => -value),
};

import type { Recipe } from '../protocol';
import { blocksOnly, crossKept, plain, quantizerFor, usualPolicy } from './method';
import type { Method, Scheme } from './method';

/** SVDQuant (arXiv 2411.05007): smoothing found by a grid, the largest singular directions in 16 bits, groups of 64 for the rest. */
export const svdquant: Method = {
  name: 'svdquant',
  title: 'SVDQuant',
  summary: 'Moves outliers from the activations into the weights, takes the 32 largest singular directions of the weights into a 16-bit branch and rounds what is left to 4 bits in groups of 64. ' +
    'Needs a sample of the activations. The strongest calibrated 4-bit method with kernels in the field; the branch costs about a third of a bit at width 3072.',
  source: 'SVDQuant, arXiv 2411.05007; deepcompressor',
  recipe({ weightBits, activationBits }: Scheme): Recipe {
    return {
      ...plain,
      method: 'svdquant',
      smooth: { kind: 'search', steps: 20 },
      lowRank: { rank: 32, iterations: 100, dtype: 'bf16' },
      weights: quantizerFor(weightBits, { kind: 'int', bits: weightBits, symmetric: true, group: 64, scale: 'fp16' }),
      activations: quantizerFor(activationBits, { kind: 'int', bits: activationBits, symmetric: true, group: 64, scale: 'fp16' }),
    };
  },
  // deepcompressor: FLUX.1's modulation is weight-only INT4; elsewhere it stays, and so do PixArt's text keys and values.
  policy: (architecture) => (architecture === 'FluxTransformer2DModel' ? usualPolicy : [...blocksOnly, crossKept]),
};

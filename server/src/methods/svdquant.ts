import type { Recipe } from '../protocol';
import { blocksOnly, crossKept, plain, quantizerFor, usualPolicy } from './method';
import type { Method, PolicyRule, Scheme } from './method';

/** SVDQuant (arXiv 2411.05007): smoothing found by a grid, the largest singular directions in 16 bits, groups of 64 for the rest. */
export const svdquant: Method = {
  name: 'svdquant',
  title: 'SVDQuant',
  summary: 'Moves outliers from the activations into the weights, takes the 32 largest singular directions of the weights into a 16-bit branch and rounds what is left to 4 bits in groups of 64. ' +
    'Needs a sample of the activations. The strongest calibrated 4-bit method with kernels in the field; the branch costs about a third of a bit at width 3072.',
  source: 'SVDQuant, arXiv 2411.05007; deepcompressor',
  schemes: ['W4A4', 'W4A8'],
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
  policy: (architecture, { activationBits }) => [
    ...(architecture === 'FluxTransformer2DModel' ? usualPolicy : [...blocksOnly, crossKept]), ...(behindGelu.has(architecture) && activationBits !== 16 ? [shifted] : []),
  ],
};

/** Models whose second feed-forward layers read the outputs of a GELU. (Z-Image's are behind SwiGLU; FLUX.1's single blocks put outputs of the attention beside.) */
const behindGelu: ReadonlySet<string> = new Set(['DiTTransformer2DModel', 'PixArtTransformer2DModel', 'FluxTransformer2DModel', 'WanTransformer3DModel', 'CogVideoXTransformer3DModel']);

/** GELU gives nothing below −0.17: shifted by deepcompressor's 0.171875, codes need no sign. */
const shifted: PolicyRule = { name: 'behind GELU', roles: ['ffn-down', 'context-ffn-down'], settings: ['method: { name: svdquant, activations: { shift: 0.171875 } }'] };

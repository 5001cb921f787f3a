import type { Recipe } from '../protocol';
import { blocksOnly, plain, quantizerFor } from './method';
import type { Method, Scheme } from './method';

/** LRQ-DiT (arXiv 2508.03485): twin-log weights, and a rotation chosen per layer by how strong its outliers are. */
export const lrqdit: Method = {
  name: 'lrq-dit',
  title: 'LRQ-DiT',
  summary: 'Quantizes the logarithms of positive and negative weights apart, and rotates the inputs by a Hadamard matrix, or, where outliers are strong (RMS of the inputs from 1 on), by a rotation fitted to them. ' +
    'Needs a sample of the activations. Made for W3 and W4 weights with heavy tails.',
  source: 'LRQ-DiT, arXiv 2508.03485, Eq 3–12; the corrected twin-log form',
  schemes: ['W3A4', 'W3A6', 'W3A8', 'W4A4', 'W4A6'],
  recipe({ weightBits, activationBits }: Scheme): Recipe {
    return {
      ...plain,
      method: 'lrq-dit',
      smooth: { kind: 'smoothquant', alpha: 0.5, beta: 0.5 },
      rotate: { kind: 'adaptive', threshold: 1, signal: 'rms', seed: 0 },
      weights: quantizerFor(weightBits, { kind: 'twin-log', bits: weightBits, form: 'corrected' }),
      activations: quantizerFor(activationBits, { kind: 'int', bits: activationBits, symmetric: true, group: 'row', scale: 'fp16' }),
    };
  },
  // FLUX.1's released config quantizes attention alone.
  policy: (architecture) => [...blocksOnly, ...(architecture === 'FluxTransformer2DModel'
    ? [{ name: 'feed-forward layers', roles: ['ffn-up', 'ffn-down', 'context-ffn-up', 'context-ffn-down', 'single-out'], settings: ['keep: original'] } as const] : [])],
};

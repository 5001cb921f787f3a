import type { Recipe } from '../protocol';
import { plain, quantizerFor, usualPolicy } from './method';
import type { Method, Scheme } from './method';

/** DuQuant (arXiv 2406.01721): smoothing, then block rotation, zigzag permutation and a second block rotation fitted to the outlier channels. */
export const duquant: Method = {
  name: 'duquant',
  title: 'DuQuant',
  summary: 'Smooths, then rotates blocks of 128 channels greedily towards the smallest peak, deals the channels out in zigzag so that blocks have equal outliers, and rotates again. ' +
    'Needs a sample of the activations. Stronger than a fixed rotation where a few channels stand out far.',
  source: 'DuQuant, arXiv 2406.01721; clip ratios of its released run script',
  schemes: ['W4A4', 'W6A6'],
  recipe({ weightBits, activationBits }: Scheme): Recipe {
    // The clip ratios are those of the released W4A4 script; with more bits the range is worth more than the step.
    return {
      ...plain,
      method: 'duquant',
      smooth: { kind: 'smoothquant', alpha: 0.5, beta: 0.5 },
      rotate: { kind: 'outlier-aware', block: 128, steps: 256, order: 'zigzag', seed: 0 },
      weights: quantizerFor(weightBits, { kind: 'int', bits: weightBits, symmetric: true, group: 'row', scale: 'fp16', ...(weightBits <= 4 ? { clip: 0.8 } : {}) }),
      activations: quantizerFor(activationBits, { kind: 'int', bits: activationBits, symmetric: true, group: 'row', scale: 'fp16', ...(activationBits <= 4 ? { clip: 0.9 } : {}) }),
    };
  },
  policy: () => usualPolicy,
};

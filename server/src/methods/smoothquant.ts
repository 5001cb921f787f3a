import type { Recipe } from '../protocol';
import { plain, quantizerFor, usualPolicy } from './method';
import type { Method, Scheme } from './method';

/** SmoothQuant (arXiv 2211.10438): moves the range of outlier channels from the activations into the weights, λ = max|x|^α / max|w|^(1−α). */
export const smoothquant: Method = {
  name: 'smoothquant',
  title: 'SmoothQuant',
  summary: 'Divides every input channel by λ = max|x|^½ / max|w|^½ and multiplies the weights by it, then rounds both to integers. ' +
    'Needs the largest activation per channel. Good at 8 bits; at 4 bits the weights inherit what the activations lost.',
  source: 'SmoothQuant, arXiv 2211.10438, Eq 4',
  schemes: ['W8A8', 'W4A8'],
  recipe({ weightBits, activationBits }: Scheme): Recipe {
    return {
      ...plain,
      method: 'smoothquant',
      smooth: { kind: 'smoothquant', alpha: 0.5, beta: 0.5 },
      weights: quantizerFor(weightBits, { kind: 'int', bits: weightBits, symmetric: true, group: 'row', scale: 'fp16' }),
      activations: quantizerFor(activationBits, { kind: 'int', bits: activationBits, symmetric: true, group: 'row', scale: 'fp16' }),
    };
  },
  policy: () => usualPolicy,
};

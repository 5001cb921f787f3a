import type { Recipe } from '../protocol';
import { plain, quantizerFor, usualPolicy } from './method';
import type { Method, Scheme } from './method';

/** OrbitQuant (arXiv 2607.02461): one seeded rotation per width and one fixed Lloyd–Max codebook for weights and activations alike. Eq 3–9. */
export const orbitquant: Method = {
  name: 'orbitquant',
  title: 'OrbitQuant',
  summary: 'Rotates every row with a randomised permuted block Hadamard transform, divides it by its norm and rounds to one fixed Lloyd–Max codebook. ' +
    'Needs no calibration: after the rotation every coordinate follows the same known marginal. Strongest at 2 and 3 bits and on large models.',
  source: 'OrbitQuant, arXiv 2607.02461',
  schemes: ['W4A4', 'W4A6', 'W4A16', 'W3A3', 'W2A4'],
  recipe({ weightBits, activationBits }: Scheme): Recipe {
    return {
      ...plain,
      method: 'orbitquant',
      rotate: { kind: 'rpbh', seed: 0 },
      weights: quantizerFor(weightBits, { kind: 'codebook', bits: weightBits, norm: 'bf16' }),
      activations: quantizerFor(activationBits, { kind: 'codebook', bits: activationBits, norm: 'fp32' }),
    };
  },
  policy: () => usualPolicy,
};

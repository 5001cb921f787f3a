import type { Recipe } from '../protocol';
import { blocksOnly, plain, quantizerFor } from './method';
import type { Method, Scheme } from './method';

/** ViDiT-Q (arXiv 2406.02540): static channel scaling for what stays over time, a Hadamard rotation for what varies, min–max ranges per token. */
export const viditq: Method = {
  name: 'vidit-q',
  title: 'ViDiT-Q',
  summary: 'Balances channels once with α = 0.3, rotates by a Hadamard matrix and rounds with min–max ranges per output channel and per token. ' +
    'Needs the largest activation per channel. Made for video at W8A8 and W4A8; loses much at W4A4.',
  source: 'ViDiT-Q, arXiv 2406.02540',
  schemes: ['W8A8', 'W4A8', 'W4A4'],
  recipe({ weightBits, activationBits }: Scheme): Recipe {
    return {
      ...plain,
      method: 'vidit-q',
      smooth: { kind: 'smoothquant', alpha: 0.3, beta: 0.7 },
      rotate: { kind: 'hadamard', seed: 0 },
      weights: quantizerFor(weightBits, { kind: 'int', bits: weightBits, symmetric: false, group: 'row', scale: 'fp16' }),
      activations: quantizerFor(activationBits, { kind: 'int', bits: activationBits, symmetric: false, group: 'row', scale: 'fp16' }),
    };
  },
  policy: () => blocksOnly,
};

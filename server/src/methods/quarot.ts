import type { Recipe } from '../protocol';
import { gptqSolver, plain, quantizerFor, usualPolicy } from './method';
import type { Method, Scheme } from './method';

/** QuaRot (arXiv 2404.00456): one Hadamard rotation over the whole width, GPTQ with clipped ranges, activations per token. */
export const quarot: Method = {
  name: 'quarot',
  title: 'QuaRot',
  summary: 'Rotates the inputs of every layer by a randomised Hadamard matrix over the whole width, so that outliers spread over all channels, and rounds the weights with GPTQ. ' +
    'In a diffusion transformer the rotation stays online: adaLN\'s shift and scale per channel stand between it and the layer before.',
  source: 'QuaRot, arXiv 2404.00456; released code',
  schemes: ['W4A4', 'W8A8'],
  recipe({ weightBits, activationBits }: Scheme): Recipe {
    return {
      ...plain,
      method: 'quarot',
      rotate: { kind: 'hadamard', seed: 0 },
      weights: quantizerFor(weightBits, { kind: 'int', bits: weightBits, symmetric: true, group: 'row', scale: 'fp16', clip: 'mse' }),
      activations: quantizerFor(activationBits, { kind: 'int', bits: activationBits, symmetric: true, group: 'row', scale: 'fp16' }),
      solver: gptqSolver,
    };
  },
  policy: () => usualPolicy,
};

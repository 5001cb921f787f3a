import type { Recipe } from '../protocol';
import { gptqSolver, plain, quantizerFor, usualPolicy } from './method';
import type { Method, Scheme } from './method';

/** GPTQ (arXiv 2210.17323): rounds a column at a time and moves the error into the columns that are left. */
export const gptq: Method = {
  name: 'gptq',
  title: 'GPTQ',
  summary: 'Rounds the weights one input channel at a time and compensates every error in the channels still to come, weighted by the second moments of the inputs. ' +
    'Needs d × d second moments. A better weight quantizer than RTN at the same bits; activations are rounded per token.',
  source: 'GPTQ, arXiv 2210.17323',
  schemes: ['W4A16', 'W3A16', 'W4A8'],
  recipe({ weightBits, activationBits }: Scheme): Recipe {
    return {
      ...plain,
      method: 'gptq',
      weights: quantizerFor(weightBits, { kind: 'int', bits: weightBits, symmetric: true, group: 'row', scale: 'fp16', clip: 'mse' }),
      activations: quantizerFor(activationBits, { kind: 'int', bits: activationBits, symmetric: true, group: 'row', scale: 'fp16' }),
      solver: gptqSolver,
    };
  },
  policy: () => usualPolicy,
};

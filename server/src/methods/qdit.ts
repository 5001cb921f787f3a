import type { Recipe } from '../protocol';
import { plain, quantizerFor, usualPolicy } from './method';
import type { Method, Scheme } from './method';

/** Q-DiT (arXiv 2406.17343): fine groups with zero points for weights and activations, found anew for every token. */
export const qdit: Method = {
  name: 'q-dit',
  title: 'Q-DiT',
  summary: 'Rounds weights and activations in groups of 128 with min–max ranges, activations anew for every token. No calibration. ' +
    'Solid at W4A8 and above; the groups help where channels differ, not where single values stand out.',
  source: 'Q-DiT, arXiv 2406.17343',
  schemes: ['W4A8', 'W6A8', 'W8A8'],
  recipe({ weightBits, activationBits }: Scheme): Recipe {
    return {
      ...plain,
      method: 'q-dit',
      weights: quantizerFor(weightBits, { kind: 'int', bits: weightBits, symmetric: false, group: 128, scale: 'fp16', clip: 'mse' }),
      activations: quantizerFor(activationBits, { kind: 'int', bits: activationBits, symmetric: false, group: 128, scale: 'fp16' }),
    };
  },
  policy: () => usualPolicy,
};

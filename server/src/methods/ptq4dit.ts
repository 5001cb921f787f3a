import type { Recipe } from '../protocol';
import { plain, quantizerFor } from './method';
import type { Method, Scheme } from './method';

/** PTQ4DiT (arXiv 2405.16005): channel-wise salience balancing calibrated over time steps, static activation ranges, AdaRound. */
export const ptq4dit: Method = {
  name: 'ptq4dit',
  title: 'PTQ4DiT',
  summary: 'Balances every channel between activations and weights, time steps weighted by how little their saliences agree, then uses one static range per tensor and learns the rounding of the weights. ' +
    'Needs activations over many time steps. Runs on plain static INT8 kernels; the balancing can be folded into adaLN.',
  source: 'PTQ4DiT, arXiv 2405.16005, Eq 4–12; released code',
  schemes: ['W8A8', 'W4A8'],
  recipe({ weightBits, activationBits }: Scheme): Recipe {
    return {
      ...plain,
      method: 'ptq4dit',
      smooth: { kind: 'csb' },
      weights: quantizerFor(weightBits, { kind: 'int', bits: weightBits, symmetric: false, group: 'row', scale: 'fp16', clip: 'mse' }),
      activations: quantizerFor(activationBits, { kind: 'int', bits: activationBits, symmetric: false, group: 'tensor', scale: 'fp32', range: 'static' }),
      solver: { kind: 'adaround', iterations: 20_000 },
    };
  },
  // Every linear is quantized; only qkv, the attention output and fc1 are balanced.
  policy: () => [{ name: 'not balanced', roles: ['ffn-down', 'modulation', 'embedder', 'final'], settings: ['method: { name: ptq4dit, smooth: false }'] }],
};

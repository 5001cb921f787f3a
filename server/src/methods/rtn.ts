import type { Recipe } from '../protocol';
import { plain, quantizerFor, usualPolicy } from './method';
import type { Method, Scheme } from './method';

/** Round to nearest: symmetric absmax integers, one scale per output channel and per token. methods.md 5. */
export const rtn: Method = {
  name: 'rtn',
  title: 'RTN',
  summary: 'Round to nearest integer with an absmax scale per row (or per group, per tensor). No calibration, runs on every INT4/INT8 kernel. ' +
    'Fine at 8 bits and for weight-only 4 bits with groups of 64 or 128; outliers cost it most.',
  source: 'baseline; the INT4 group-64 form is what OrbitQuant uses for adaLN modulation',
  schemes: ['W8A8', 'W8A16', 'W4A16', 'W4A4'],
  recipe({ weightBits, activationBits }: Scheme): Recipe {
    return {
      ...plain,
      method: 'rtn',
      weights: quantizerFor(weightBits, { kind: 'int', bits: weightBits, symmetric: true, group: 'row', scale: 'fp16' }),
      activations: quantizerFor(activationBits, { kind: 'int', bits: activationBits, symmetric: true, group: 'row', scale: 'fp16' }),
    };
  },
  policy: () => usualPolicy,
};

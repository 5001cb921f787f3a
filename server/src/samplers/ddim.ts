import { roundHalfEven } from '../numpy';
import { combine } from './sampler';
import type { Sampler } from './sampler';

export interface DdimOptions { prediction: 'epsilon' | 'v_prediction'; spacing: 'leading' | 'trailing'; offset: number; /** ᾱ beyond the last step. */ finalAlpha: number }

/** DDIM without noise (eta 0), the default of DiT checkpoints. x' = √ᾱ' x0 + √(1−ᾱ') ε. */
export function ddim(alphas: Float64Array, steps: number, { prediction, spacing, offset, finalAlpha }: DdimOptions): Sampler {
  const total = alphas.length;
  const stride = Math.floor(total / steps);
  const timesteps = spacing === 'leading'
    ? Array.from({ length: steps }, (_, i) => (steps - 1 - i) * stride + offset)
    : Array.from({ length: steps }, (_, i) => roundHalfEven(total - (i * total) / steps) - 1);
  const alpha = (t: number): number => (t >= 0 ? alphas[t] ?? finalAlpha : finalAlpha);
  const split = (output: Float32Array, index: number, sample: Float32Array): { clean: Float32Array; noise: Float32Array } => {
    const a = alpha(timesteps[index] ?? 0);
    return prediction === 'epsilon'
      ? { clean: combine([1 / Math.sqrt(a), sample], [-Math.sqrt((1 - a) / a), output]), noise: output }
      : { clean: combine([Math.sqrt(a), sample], [-Math.sqrt(1 - a), output]), noise: combine([Math.sqrt(a), output], [Math.sqrt(1 - a), sample]) };
  };
  return {
    timesteps,
    clean: (output, index, sample) => split(output, index, sample).clean,
    step(output, index, sample) {
      const { clean, noise } = split(output, index, sample);
      const next = alpha((timesteps[index] ?? 0) - stride);
      return combine([Math.sqrt(next), clean], [Math.sqrt(1 - next), noise]);
    },
  };
}

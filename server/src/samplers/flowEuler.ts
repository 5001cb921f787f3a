import { linspace } from '../numpy';
import { combine } from './sampler';
import type { Sampler } from './sampler';

/** FlowMatchEuler: FLUX (dynamic shift μ by the number of image tokens) and Z-Image (static shift). timesteps are 1000 σ. */
export function flowEuler(steps: number, shift: { shift: number } | { mu: number }): Sampler {
  const sigmas = linspace(1, 1 / steps, steps).map((g) => ('mu' in shift ? Math.exp(shift.mu) / (Math.exp(shift.mu) + (1 / g - 1)) : (shift.shift * g) / (1 + (shift.shift - 1) * g)));
  sigmas.push(0);
  return {
    timesteps: sigmas.slice(0, -1).map((sigma) => 1000 * sigma),
    clean: (velocity, i, sample) => combine([1, sample], [-(sigmas[i] ?? 0), velocity]),
    step: (velocity, i, sample) => combine([1, sample], [(sigmas[i + 1] ?? 0) - (sigmas[i] ?? 0), velocity]),
  };
}

/** μ of the dynamic shift: linear in the number of image tokens. */
export function dynamicShift(tokens: number, { baseShift = 0.5, maxShift = 1.15, baseTokens = 256, maxTokens = 4096 } = {}): number {
  return baseShift + ((maxShift - baseShift) * (tokens - baseTokens)) / (maxTokens - baseTokens);
}

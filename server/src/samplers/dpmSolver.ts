import { linspace, roundHalfEven } from '../numpy';
import { combine } from './sampler';
import type { Sampler } from './sampler';

/** DPM-Solver++ 2M, midpoint, final σ 0: PixArt's default. The first and the last step are first order. */
export function dpmSolver(alphas: Float64Array, steps: number): Sampler {
  const timesteps = linspace(0, alphas.length - 1, steps + 1).map(roundHalfEven).reverse().slice(0, -1);
  const sigmas = [...timesteps.map((t) => Math.sqrt((1 - (alphas[t] ?? 1)) / (alphas[t] ?? 1))), 0];
  const sigma = (i: number): number => sigmas[i] ?? 0;
  const alpha = (i: number): number => 1 / Math.sqrt(sigma(i) ** 2 + 1);
  const lambda = (i: number): number => (sigma(i) > 0 ? -Math.log(sigma(i)) : Infinity);
  let previous: Float32Array | undefined;
  const clean = (output: Float32Array, i: number, sample: Float32Array): Float32Array => combine([1 / alpha(i), sample], [-sigma(i), output]);
  return {
    timesteps, clean,
    step(output, i, sample) {
      const x0 = clean(output, i, sample);
      const h = lambda(i + 1) - lambda(i);
      const factor = alpha(i + 1) * (h < Infinity ? Math.expm1(-h) : -1);
      const base: [number, Float32Array][] = [[(sigma(i + 1) * alpha(i + 1)) / (sigma(i) * alpha(i)), sample], [-factor, x0]];
      if (previous && i < steps - 1) {
        const r = (lambda(i) - lambda(i - 1)) / h;
        base.push([(-0.5 * factor) / r, x0], [(0.5 * factor) / r, previous]);
      }
      previous = x0;
      return combine(...base);
    },
  };
}

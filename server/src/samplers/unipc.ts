import { linspace } from '../numpy';
import { combine } from './sampler';
import type { Sampler } from './sampler';

/** UniPC, order 2, B(h) = e^h − 1 ("bh2"), predicts x0 from a flow velocity: Wan's default. A corrector runs before every step but the first. */
export function unipc(steps: number, shift: number): Sampler {
  const shifted = linspace(1, 1 / 1000, steps + 1).slice(0, -1).map((g) => (shift * g) / (1 + (shift - 1) * g));
  if (Math.abs((shifted[0] ?? 0) - 1) < 1e-6) {
    shifted[0] = (shifted[0] ?? 0) - 1e-6;
  }
  const sigmas = [...shifted, 0].map(Math.fround);
  const sigma = (i: number): number => sigmas[i] ?? 0;
  const lambda = (i: number): number => (sigma(i) > 0 ? Math.log(1 - sigma(i)) - Math.log(sigma(i)) : Infinity);
  const history: Float32Array[] = [];
  let last: Float32Array | undefined;
  let order = 0;

  const correct = (x0: Float32Array, i: number, previous: Float32Array): Float32Array => {
    const h = lambda(i) - lambda(i - 1);
    const phi = Math.expm1(-h);
    const newest = history.at(-1) ?? x0;
    const scale = (1 - sigma(i)) * phi;
    const base: [number, Float32Array][] = [[sigma(i) / sigma(i - 1), previous], [-scale, newest]];
    if (order === 1) {
      return combine(...base, [-0.5 * scale, x0], [0.5 * scale, newest]);
    }
    const rk = (lambda(i - 2) - lambda(i - 1)) / h;
    const k1 = phi / -h - 1;
    const [b1, b2] = [k1 / phi, ((k1 / -h - 0.5) * 2) / phi];
    const rho1 = (b2 - b1) / (rk - 1);
    const rho2 = b1 - rho1;
    return combine(...base, [(-scale * rho1) / rk, history.at(-2) ?? newest], [(scale * rho1) / rk + scale * rho2, newest], [-scale * rho2, x0]);
  };

  return {
    timesteps: shifted.map((value) => Math.trunc(value * 1000)),
    clean: (velocity, i, sample) => combine([1, sample], [-sigma(i), velocity]),
    step(velocity, i, sample) {
      const x0 = combine([1, sample], [-sigma(i), velocity]);
      const x = last ? correct(x0, i, last) : sample;
      history.push(x0);
      order = Math.min(2, steps - i, history.length);
      last = x;
      const h = lambda(i + 1) - lambda(i);
      const scale = (1 - sigma(i + 1)) * (h < Infinity ? Math.expm1(-h) : -1);
      const terms: [number, Float32Array][] = [[sigma(i + 1) / sigma(i), x], [-scale, x0]];
      if (order === 2) {
        const rk = (lambda(i - 1) - lambda(i)) / h;
        const before = history.at(-2) ?? x0;
        terms.push([(-0.5 * scale) / rk, before], [(0.5 * scale) / rk, x0]);
      }
      return combine(...terms);
    },
  };
}

/** The plan whose time steps fare best on the whole, as a PSNR per step sees them. */
import { solve } from './allocation';
import type { Allocatable } from './allocation';
import type { Choices } from './choices';
import { weighed } from './losses';
import type { Losses } from './losses';
import { keepLabel } from './options';

const maxRounds = 30;

/**
 * Makes Σ over steps of log(error at the step) small, errors of layers added up: the mean PSNR over steps, as far as they do add up. A sum of logarithms is no knapsack, yet the logarithm lies below its
 * tangents: with steps weighed by 1 / their error under the last plan, the exact plan of the next round is never worse (majorisation and minimisation). Ends where it stays the same, which need not be the best of all.
 * @returns null where losses know no steps
 */
export function balanced(possible: Allocatable, losses: Losses, budget: number): Choices | null {
  const { steps } = losses;
  let plan = steps ? solve(possible, losses, budget) : null;
  if (!steps || !plan) {
    return null;
  }
  let errors = stepErrors(steps, plan);
  for (let round = 0; round < maxRounds && errors.every((error) => error > 0); round++) {
    const next = solve(possible, { ...losses, values: weighed(steps, errors.map((error) => 1 / error)) }, budget);
    const reached = next ? stepErrors(steps, next) : [];
    if (!next || logSum(reached) >= logSum(errors) - 1e-12) {
      break;
    }
    [plan, errors] = [next, reached];
  }
  return plan;
}

/** What a plan's layers do at each step, added up. */
export function stepErrors(steps: NonNullable<Losses['steps']>, plan: Choices): number[] {
  const layers = [...plan].flatMap(([name, label]) => (label === keepLabel ? [] : [steps.get(label)?.get(name) ?? []]));
  return (layers[0] ?? []).map((_, step) => layers.reduce((sum, errors) => sum + (errors[step] ?? 0), 0));
}

export function logSum(errors: readonly number[]): number {
  return errors.reduce((sum, error) => sum + Math.log(error), 0);
}

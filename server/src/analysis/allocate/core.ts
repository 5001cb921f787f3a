/** The optimum for one budget by searching only what the Lagrangian bound cannot rule out (Pisinger 1995, "A minimal algorithm for the multiple-choice knapsack problem"). */
import type { Hull } from './hull';
import { solutionOf } from './knapsack';
import type { Groups, Solved } from './knapsack';

/** About a second and 200 MB; beyond, the solution comes with its gap. */
const usualStates = 1_000_000;

/** What differs from the Lagrangian solution: bytes and loss against it, and how it came about. */
interface State { bytes: number; loss: number; group: number; option: number; from: State | null }

/** A group and the options that may lie in a better solution, with how much each raises the bound. */
interface Candidate { group: number; options: { option: number; bytes: number; loss: number; raise: number }[]; nearest: number }

/** Null when not even the smallest options fit. @param maxStates what is looked at before it gives up: `exact` is false then, and `bound` that of the hull. */
export function solveCore(groups: Groups, hull: Hull, budget: number, maxStates = usualStates): Solved | null {
  const greedy = hull.greedy(budget);
  if (!greedy) {
    return null;
  }
  const { slope, bound } = hull.relax(budget);
  const priced = groups.map((options) => options.map((option) => option.loss + slope * option.bytes));
  const base = solutionOf(groups, priced.map((prices, group) => cheapest(prices, (option) => groups[group]?.[option]?.bytes ?? 0)));
  const room = budget - base.bytes;
  let [least, best] = [greedy.loss, null as State | null];
  /** How much a solution may raise the bound and still be better than the best one known. */
  const slack = (): number => least - base.loss + slope * room;
  const candidates = groups.map((options, group): Candidate => {
    const from = base.choices[group] ?? 0;
    const raises = options.map((option, index) => ({
      option: index, bytes: option.bytes - (options[from]?.bytes ?? 0), loss: option.loss - (options[from]?.loss ?? 0), raise: Math.max(0, (priced[group]?.[index] ?? 0) - (priced[group]?.[from] ?? 0)),
    }));
    const others = raises.filter(({ option }) => option !== from);
    return { group, options: others, nearest: others.reduce((low, { raise }) => Math.min(low, raise), Infinity) };
  }).sort((a, b) => a.nearest - b.nearest);

  const consider = (state: State): void => {
    if (state.bytes <= room && base.loss + state.loss < least) {
      [least, best] = [base.loss + state.loss, state];
    }
  };
  let states: State[] = [{ bytes: 0, loss: 0, group: -1, option: 0, from: null }];
  states.forEach(consider);
  let [seen, exact] = [0, true];
  for (const { group, options, nearest } of candidates) {
    if (nearest > slack()) {
      break;
    }
    const next = [...states];
    for (const state of states) {
      const raised = state.loss + slope * state.bytes;
      for (const { option, bytes, loss, raise } of options) {
        if (raised + raise <= slack()) {
          const made = { bytes: state.bytes + bytes, loss: state.loss + loss, group, option, from: state };
          consider(made);
          next.push(made);
        }
      }
    }
    seen += next.length;
    if (seen > maxStates) {
      exact = false;
      break;
    }
    states = prune(next, (state) => state.loss + slope * state.bytes <= slack());
  }
  const choices = [...(best ? base : greedy).choices];
  for (let state = best as State | null; state?.from; state = state.from) {
    choices[state.group] = state.option;
  }
  const solution = solutionOf(groups, choices);
  return { ...solution, bound: exact ? solution.loss : Math.min(bound, solution.loss), exact };
}

/** Of equal prices the one with fewer bytes. */
function cheapest(prices: readonly number[], bytes: (option: number) => number): number {
  return prices.reduce((low, price, option) => (price < (prices[low] ?? 0) || (price === prices[low] && bytes(option) < bytes(low)) ? option : low), 0);
}

/** What has more bytes and no less loss than another cannot become better than it. */
function prune(states: State[], within: (state: State) => boolean): State[] {
  let least = Infinity;
  return states.filter(within).sort((a, b) => a.bytes - b.bytes || a.loss - b.loss).filter(({ loss }) => {
    const better = loss < least;
    least = Math.min(least, loss);
    return better;
  });
}

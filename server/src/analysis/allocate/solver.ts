/** Allocation under a hard bound: the knapsack of knapsack.ts, and beside it data that is stored once for all who use it (codebooks, permutations, signs). */
import { solveCore } from './core';
import { Frontier } from './frontier';
import { Hull } from './hull';
import type { Groups, Option, Solution, Solved } from './knapsack';

/** shared: what a decoder of this option needs once, however many groups chose it: bytes by key. */
export interface SharingOption extends Option { shared: ReadonlyMap<string, number> }
export type SharingGroups = readonly (readonly SharingOption[])[];

/** bytes: groups and shared data together. */
export interface Allocation extends Solved { sharedBytes: number }

/** Solves for one budget after the other; what budgets have in common is computed once. */
export class Allocator {
  /** All budgets at once, shared data left out; null where that would take too much time or memory. */
  readonly frontier: Frontier | null;
  readonly hull: Hull;

  constructor(private readonly groups: SharingGroups) {
    this.frontier = Frontier.of(groups);
    this.hull = new Hull(groups);
  }

  /** @param paid shared data that is there in any case and has been counted. Null when nothing fits. */
  solve(budget: number, paid: ReadonlySet<string> = new Set()): Allocation | null {
    return new Branching(this.groups, budget, paid).run(this.solveAll);
  }

  private readonly solveAll: Solve = (budget) => {
    if (!this.frontier) {
      return solveCore(this.groups, this.hull, budget);
    }
    const found = this.frontier.at(budget);
    return found && { ...found, bound: found.loss, exact: true };
  };
}

/** Bytes of the shared data that a choice uses. */
export function sharedOf(groups: SharingGroups, { choices }: Pick<Solution, 'choices'>): Map<string, number> {
  return new Map(choices.flatMap((choice, group) => [...groups[group]?.[choice]?.shared ?? []]));
}

type Solve = (budget: number) => Solved | null;

/** More of these problems are not solved; what is left counts with its bound. */
const maxNodes = 200;

/**
 * Branch and bound over shared data: it is either paid for, or nobody may use it. A solution that uses no more than was paid for, or for which the rest fits as well, is optimal below its branch.
 * Shared data is small and hard to do without, so few branches are ever looked at.
 */
class Branching {
  private best: (Solution & { sharedBytes: number }) | null = null;
  private bound = Infinity;
  private nodes = 0;

  constructor(private readonly groups: SharingGroups, private readonly budget: number, private readonly paid: ReadonlySet<string>) {}

  run(solve: Solve): Allocation | null {
    this.explore(solve, this.paid, 0, new Set());
    const { best } = this;
    return best && { ...best, bound: Math.min(this.bound, best.loss), exact: this.bound >= best.loss };
  }

  private explore(solve: Solve, charged: ReadonlySet<string>, chargedBytes: number, forbidden: ReadonlySet<string>): void {
    const found = solve(this.budget - chargedBytes);
    if (!found || (this.best && found.bound >= this.best.loss)) {
      return;
    }
    const used = sharedOf(this.groups, found);
    const unpaid = [...used].filter(([key]) => !charged.has(key)).sort((a, b) => b[1] - a[1]);
    const sharedBytes = [...used].reduce((sum, [key, bytes]) => sum + (this.paid.has(key) ? 0 : bytes), 0);
    const fits = found.bytes + sharedBytes <= this.budget;
    if (fits && (!this.best || found.loss < this.best.loss)) {
      this.best = { choices: found.choices, bytes: found.bytes + sharedBytes, loss: found.loss, sharedBytes };
    }
    const [next] = unpaid;
    if (fits || !next || this.nodes++ >= maxNodes) {
      this.bound = Math.min(this.bound, found.bound);
      return;
    }
    const [key, bytes] = next;
    this.explore(solve, new Set([...charged, key]), chargedBytes + bytes, forbidden);
    this.without(charged, chargedBytes, new Set([...forbidden, key]));
  }

  private without(charged: ReadonlySet<string>, chargedBytes: number, forbidden: ReadonlySet<string>): void {
    const places = this.groups.map((options) => [...options.keys()].filter((option) => ![...options[option]?.shared.keys() ?? []].some((key) => forbidden.has(key))));
    if (places.some((options) => options.length === 0)) {
      return;
    }
    const left: Groups = places.map((options, group) => options.flatMap((option) => this.groups[group]?.[option] ?? []));
    const hull = new Hull(left);
    if (this.best && hull.bound(this.budget - chargedBytes) >= this.best.loss) {
      return;
    }
    const solve: Solve = (budget) => {
      const found = solveCore(left, hull, budget);
      return found && { ...found, choices: found.choices.map((choice, group) => places[group]?.[choice] ?? 0) };
    };
    this.explore(solve, charged, chargedBytes, forbidden);
  }
}

/** The convex hull of a multiple-choice knapsack: its Lagrangian relaxation at every budget at once (Sinha & Zoltners 1979). */
import { solutionOf, undominated } from './knapsack';
import type { Groups, Option, Solution } from './knapsack';

/** From one option on a group's hull to the next. slope: loss saved per byte. */
interface Step { group: number; option: number; bytes: number; saved: number; slope: number }

export class Hull {
  /** Steepest first; within a group in the order of its hull. */
  private readonly steps: readonly Step[];
  private readonly first: Solution;

  constructor(private readonly groups: Groups) {
    const hulls = groups.map(hullOf);
    this.first = solutionOf(groups, hulls.map((hull) => hull[0] ?? 0));
    this.steps = hulls.flatMap((hull, group) => hull.slice(1).map((option, i): Step => {
      const [from, to] = [groups[group]?.[hull[i] ?? 0], groups[group]?.[option]];
      const [bytes, saved] = [(to?.bytes ?? 0) - (from?.bytes ?? 0), (from?.loss ?? 0) - (to?.loss ?? 0)];
      return { group, option, bytes, saved, slope: saved / bytes };
    })).sort((a, b) => b.slope - a.slope || a.group - b.group || a.bytes - b.bytes);
  }

  /** No choice within the budget has less loss than this; Infinity when none fits. */
  bound(budget: number): number {
    return this.relax(budget).bound;
  }

  /** The loss per byte at which the relaxation meets the budget, 0 when everything fits. */
  relax(budget: number): { bound: number; slope: number } {
    let { bytes, loss } = this.first;
    if (bytes > budget) {
      return { bound: Infinity, slope: 0 };
    }
    for (const step of this.steps) {
      if (bytes + step.bytes > budget) {
        return { bound: loss - step.slope * (budget - bytes), slope: step.slope };
      }
      bytes += step.bytes;
      loss -= step.saved;
    }
    return { bound: loss, slope: 0 };
  }

  /** Steps as long as they fit; a group whose step does not fit stays where it is. Null when not even the smallest options fit. */
  greedy(budget: number): Solution | null {
    if (this.first.bytes > budget) {
      return null;
    }
    const choices = [...this.first.choices];
    const stuck = new Set<number>();
    let { bytes } = this.first;
    for (const step of this.steps) {
      if (stuck.has(step.group) || bytes + step.bytes > budget) {
        stuck.add(step.group);
      } else {
        bytes += step.bytes;
        choices[step.group] = step.option;
      }
    }
    return solutionOf(this.groups, choices);
  }

  /** Sizes at which the relaxation chooses whole options: each is the true optimum for its own bytes. */
  supported(): Option[] {
    let { bytes, loss } = this.first;
    return [{ bytes, loss }, ...this.steps.map((step) => {
      bytes += step.bytes;
      loss -= step.saved;
      return { bytes, loss };
    })];
  }
}

function hullOf(options: readonly Option[]): number[] {
  const hull: number[] = [];
  for (const index of undominated(options)) {
    while (hull.length > 1 && !convex(options[hull.at(-2) ?? 0], options[hull.at(-1) ?? 0], options[index])) {
      hull.pop();
    }
    hull.push(index);
  }
  return hull;
}

function convex(a: Option | undefined, b: Option | undefined, c: Option | undefined): boolean {
  return !!a && !!b && !!c && (a.loss - b.loss) * (c.bytes - b.bytes) > (b.loss - c.loss) * (b.bytes - a.bytes);
}

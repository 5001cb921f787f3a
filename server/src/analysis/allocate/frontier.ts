/** The least loss for every budget at once, where the sizes have a large enough common divisor. */
import { solutionOf, undominated } from './knapsack';
import type { Groups, Option, Solution } from './knapsack';

/** A frontier that needs more than this is not built: about half a second and 256 MB. */
export interface FrontierLimits { steps: number; bytes: number }
const usualLimits: FrontierLimits = { steps: 4e8, bytes: 2 ** 28 };

interface Stage { group: number; /** Option by its place among those that no other dominates. */ options: number[]; shifts: number[]; /** Most units up to this group. */ reach: number; taken: Uint8Array }

/** The least loss for every budget, by dynamic programming over bytes in units of their greatest common divisor (Bellman 1957; Dudziński & Walukiewicz 1987, section 5). */
export class Frontier {
  /** Ascending bytes, strictly descending loss: every size at which the optimum changes. */
  readonly points: readonly Option[];

  private constructor(private readonly groups: Groups, private readonly stages: readonly Stage[], private readonly base: number, private readonly unit: number, losses: Float64Array) {
    const points: Option[] = [];
    losses.forEach((loss, units) => {
      if (points.length === 0 || loss < (points.at(-1)?.loss ?? 0)) {
        points.push({ bytes: base + units * unit, loss });
      }
    });
    this.points = points;
  }

  /** Null where the table would need more than the limits. */
  static of(groups: Groups, limits: FrontierLimits = usualLimits): Frontier | null {
    const kept = groups.map(undominated);
    const least = kept.map((options, group) => groups[group]?.[options[0] ?? 0]?.bytes ?? 0);
    const extra = kept.map((options, group) => options.map((option) => (groups[group]?.[option]?.bytes ?? 0) - (least[group] ?? 0)));
    const unit = extra.flat().reduce(gcd, 0) || 1;
    // Small spans first: the table grows late.
    const order = [...groups.keys()].sort((a, b) => (extra[a]?.at(-1) ?? 0) - (extra[b]?.at(-1) ?? 0));
    let [reach, steps, bytes] = [0, 0, 0];
    for (const group of order) {
      reach += (extra[group]?.at(-1) ?? 0) / unit;
      steps += (reach + 1) * (kept[group]?.length ?? 0);
      bytes += reach + 1;
    }
    if (steps > limits.steps || bytes + 16 * reach > limits.bytes || kept.some((options) => options.length > 256)) {
      return null;
    }
    const stages: Stage[] = [];
    let losses = new Float64Array(1);
    for (const group of order) {
      const options = kept[group] ?? [];
      const shifts = (extra[group] ?? []).map((more) => more / unit);
      const { best, taken } = addGroup(losses, shifts, options.map((option) => groups[group]?.[option]?.loss ?? 0));
      stages.push({ group, options, shifts, reach: best.length - 1, taken });
      losses = best;
    }
    return new Frontier(groups, stages, least.reduce((sum, each) => sum + each, 0), unit, losses);
  }

  /** The optimum within `budget` bytes; of equal losses the smaller one. Null when not even the smallest options fit. */
  at(budget: number): Solution | null {
    if (!(budget >= this.base)) {
      return null;
    }
    let left = Math.floor((budget - this.base) / this.unit);
    const choices = this.groups.map(() => 0);
    for (let k = this.stages.length - 1; k >= 0; k--) {
      const stage = this.stages[k];
      if (stage) {
        left = Math.min(left, stage.reach);
        const taken = stage.taken[left] ?? 0;
        choices[stage.group] = stage.options[taken] ?? 0;
        left -= stage.shifts[taken] ?? 0;
      }
    }
    return solutionOf(this.groups, choices);
  }
}

/** losses[s]: least loss of the groups so far with at most s units more than the least; constant beyond the end. */
function addGroup(losses: Float64Array, shifts: readonly number[], added: readonly number[]): { best: Float64Array<ArrayBuffer>; taken: Uint8Array } {
  const reach = losses.length - 1;
  const best = new Float64Array(reach + (shifts.at(-1) ?? 0) + 1).fill(Infinity);
  const taken = new Uint8Array(best.length);
  shifts.forEach((shift, option) => {
    const loss = added[option] ?? 0;
    for (let s = shift; s < best.length; s++) {
      const total = (losses[Math.min(s - shift, reach)] ?? 0) + loss;
      if (total < (best[s] ?? 0)) {
        best[s] = total;
        taken[s] = option;
      }
    }
  });
  return { best, taken };
}

function gcd(a: number, b: number): number {
  while (b > 0) {
    [a, b] = [b, a % b];
  }
  return a;
}

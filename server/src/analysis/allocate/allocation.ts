/** Losses and a budget → which layer gets which option, how good that can be at most, and what simple rules would have given. */
import { sharedParts } from '../../config/packedSize';
import type { QuantConfig } from '../../config/parse';
import { copiesIn } from '../../checkpoint/copies';
import { packedLayers } from '../../checkpoint/packed';
import { selectLayers } from '../report';
import type { Allocation, Checkpoint, LayerPlan, ParetoPoint, Plan } from '../../protocol';
import { baselines, randomly } from './baselines';
import type { LabelledGroup } from './baselines';
import { allocatedLayers, currentLayers, currentOf, lossOf, named, pointOf, toChoices } from './choices';
import type { Choices } from './choices';
import { AllocationError } from './errors';
import { tieLayers } from './groups';
import type { Option, Solution } from './knapsack';
import { currentLabel } from './losses';
import type { Losses } from './losses';
import { keepLabel, layersUnder } from './options';
import type { LayerOption } from './options';
import { Allocator, sharedOf } from './solver';

/** Layers to choose for, in groups that share a choice, and what every option would make of them. */
export interface Allocatable {
  plan: Plan;
  /** What the config says now, rules of earlier allocations included. */
  current: Plan;
  options: readonly LayerOption[];
  groups: readonly { layers: readonly LayerPlan[]; options: readonly { label: string; layers: readonly LayerPlan[] }[] }[];
  fixed: readonly LayerPlan[];
}

const maxCurve = 200;
const baselineSeed = 0;

/**
 * @param plan without what an earlier allocation chose
 * @param patterns which layers to choose for; those that `defaults` decides when undefined
 * @param current with it
 * @throws AllocationError
 */
export function allocatable(plan: Plan, config: QuantConfig, checkpoint: Checkpoint, options: readonly LayerOption[], patterns: readonly string[] | undefined, current = plan): Allocatable {
  const packed = packedLayers(checkpoint);
  const wanted = new Set((patterns ? selectLayers(plan, patterns) : plan.layers.filter(({ decidedBy }) => (decidedBy?.rule ?? -1) < 0)).map(({ name }) => name));
  const [free, fixed] = [plan.layers.filter(({ name }) => wanted.has(name) && !packed.has(name)), plan.layers.filter(({ name }) => !wanted.has(name) || packed.has(name))];
  if (free.length === 0) {
    throw new AllocationError(patterns ? `No layer that could be changed matches "${patterns.join(', ')}". "quantscope plan" lists the layers.`
      : 'Rules decide every layer of this config, so nothing is left to choose. Remove rules, or name the layers to choose for: --layers "**"');
  }
  const under = options.map((option) => ({ label: option.label, plans: layersUnder(option, config, checkpoint) }));
  const groups = tieLayers(free, copiesIn(checkpoint)).map((layers) => {
    const possible = under.flatMap(({ label, plans }) => {
      const found = layers.map(({ name }) => plans.get(name) ?? null);
      return found.every((layer) => layer !== null) ? [{ label, layers: found }] : [];
    });
    if (possible.length === 0) {
      throw new AllocationError(`No option is possible for ${layers.map(({ name }) => name).join(', ')}: their widths refuse all of ${options.map(({ label }) => label).join(', ')}. Add keep to --options.`);
    }
    return { layers, options: possible };
  });
  return { plan, current, options, groups, fixed };
}

/** What losses are needed for: by option label, without the layers that stay as they are; last, what the config says now and no option is. */
export function layersToMeasure(possible: Allocatable): Map<string, LayerPlan[]> {
  const { groups, options } = possible;
  const byOption = options.filter(({ label }) => label !== keepLabel).map(({ label }) => [label, groups.flatMap((group) => group.options.filter((option) => option.label === label).flatMap(({ layers }) => layers))] as const);
  const { loose } = currentLayers(possible);
  return new Map([...byOption, ...(loose.length > 0 ? [[currentLabel, loose] as const] : [])]);
}

/** @param budget of the whole checkpoint in bytes. @throws AllocationError when no plan fits, or a loss is missing */
export function allocate(possible: Allocatable, losses: Losses, budget: number): Allocation {
  const { allocator, groups, base, paid } = problemOf(possible, losses);
  const found = allocator.solve(budget - base, paid);
  if (!found) {
    const least = groups.reduce((sum, { options }) => sum + Math.min(...options.map(({ bytes }) => bytes)), base);
    throw new AllocationError(`No plan fits into ${budget} bytes: with the smallest option everywhere the checkpoint takes more than ${least - 1} bytes, ${base} of them for what is not chosen here. Raise the budget, add smaller options (--options), or choose for more layers (--layers).`);
  }
  const labels = possible.options.map(({ label }) => label);
  const { otherBytes, params } = possible.plan.totals;
  const sharing = groups.map(({ options }) => options);
  const point = ({ choices, bytes, loss }: Solution): ParetoPoint => {
    const all = base + bytes + [...sharedOf(sharing, { choices })].reduce((sum, [key, own]) => sum + (paid.has(key) ? 0 : own), 0);
    return { bytes: all, averageBits: (8 * (all - otherBytes)) / params, objective: loss };
  };
  const chosen = toChoices(possible, found.choices);
  return {
    ...pointOf(possible, losses, chosen), budgetBytes: budget, loss: { kind: losses.kind, description: losses.description },
    plan: { fixed: possible.fixed.length, layers: allocatedLayers(possible, losses, chosen) },
    options: labels,
    ...currentOf(possible, losses),
    baselines: baselines({ groups, labels, budget: budget - base, paid, seed: baselineSeed, architecture: possible.plan.architecture }).map(({ name, description, choices }) => named(possible, losses, toChoices(possible, choices), name, description)),
    certificate: {
      optimal: found.exact, bound: found.bound, gap: found.loss - found.bound,
      method: found.exact ? `Exact: ${allocator.frontier ? 'dynamic programming over all budgets' : 'search of everything that the Lagrangian bound does not rule out'}, shared data by branch and bound.`
        : 'Not proved: the search was stopped at its limit. The bound is that of the Lagrangian relaxation; fewer options or one method make the proof easier.',
    },
    pareto: curve(allocator, point),
    finalists: [], recommended: null, verification: null,
  };
}

/** The plan of least loss within a budget; null when none fits. */
export function solve(possible: Allocatable, losses: Losses, budget: number): Choices | null {
  const { allocator, base, paid } = problemOf(possible, losses);
  const found = allocator.solve(budget - base, paid);
  return found && toChoices(possible, found.choices);
}

/** A larger option for layers in random order, as the baseline "random" has it, from one seed; null when not even the smallest fits. */
export function randomChoices(possible: Allocatable, losses: Losses, budget: number, seed: number): Choices | null {
  const { groups, base, paid } = problemOf(possible, losses);
  const found = randomly(seed, { groups, labels: possible.options.map(({ label }) => label), budget: budget - base, paid });
  return found && toChoices(possible, found.choices);
}

/** As a knapsack. base: bytes that no choice changes. paid: shared data among them. @throws AllocationError when a loss is missing */
function problemOf({ plan, groups, fixed }: Allocatable, losses: Losses): { allocator: Allocator; groups: LabelledGroup[]; base: number; paid: ReadonlySet<string> } {
  const paid = sharedParts(fixed);
  const labelled = groups.map((group) => ({
    layers: group.layers,
    options: group.options.map(({ label, layers }) => ({
      label, bytes: layers.reduce((sum, { packedBytes }) => sum + packedBytes, 0), loss: layers.reduce((sum, layer) => sum + lossOf(losses, label, layer), 0), shared: sharedParts(layers),
    })),
  }));
  return {
    groups: labelled, allocator: new Allocator(labelled.map((group) => group.options)), paid: new Set(paid.keys()),
    base: plan.totals.otherBytes + fixed.reduce((sum, { packedBytes }) => sum + packedBytes, 0) + [...paid.values()].reduce((sum, bytes) => sum + bytes, 0),
  };
}

/** Points of the frontier, or of its convex hull where the frontier would be too large; evenly thinned out. */
function curve({ frontier, hull }: Allocator, pointAt: (solution: Solution) => ParetoPoint): ParetoPoint[] {
  const points: readonly Option[] = frontier?.points ?? hull.supported();
  const count = Math.min(maxCurve, points.length);
  const chosen = Array.from({ length: count }, (_, i) => points[Math.round((i * (points.length - 1)) / Math.max(1, count - 1))]);
  return chosen.flatMap((point): ParetoPoint[] => {
    const solution = point && (frontier ? frontier.at(point.bytes) : hull.greedy(point.bytes));
    return solution ? [pointAt(solution)] : [];
  }).sort((a, b) => a.bytes - b.bytes).filter((point, i, sorted) => sorted.slice(0, i).every(({ objective }) => objective > point.objective));
}

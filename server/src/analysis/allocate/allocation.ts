/** Losses and a budget → which layer gets which option, how good that can be at most, and what simple rules would have given. */
import { sharedParts } from '../../config/packedSize';
import type { QuantConfig } from '../../config/parse';
import { packedLayers } from '../../checkpoint/packed';
import { selectLayers } from '../report';
import type { Allocation, Checkpoint, LayerPlan, ParetoPoint, Plan } from '../../protocol';
import { baselines } from './baselines';
import type { LabelledGroup } from './baselines';
import { AllocationError } from './errors';
import { tieLayers } from './groups';
import type { Option } from './knapsack';
import type { Losses } from './losses';
import { keepLabel, layersUnder } from './options';
import type { LayerOption } from './options';
import { Allocator, sharedOf } from './solver';

/** Layers to choose for, in groups that share a choice, and what every option would make of them. */
export interface Allocatable { plan: Plan; options: readonly LayerOption[]; groups: readonly { layers: readonly LayerPlan[]; options: readonly { label: string; layers: readonly LayerPlan[] }[] }[]; fixed: readonly LayerPlan[] }

const maxCurve = 200;
const baselineSeed = 0;

/** @param patterns which layers to choose for; those that `defaults` decides when undefined. @throws AllocationError */
export function allocatable(plan: Plan, config: QuantConfig, checkpoint: Checkpoint, options: readonly LayerOption[], patterns: readonly string[] | undefined): Allocatable {
  const packed = packedLayers(checkpoint);
  const wanted = new Set((patterns ? selectLayers(plan, patterns) : plan.layers.filter(({ decidedBy }) => (decidedBy?.rule ?? -1) < 0)).map(({ name }) => name));
  const [free, fixed] = [plan.layers.filter(({ name }) => wanted.has(name) && !packed.has(name)), plan.layers.filter(({ name }) => !wanted.has(name) || packed.has(name))];
  if (free.length === 0) {
    throw new AllocationError(patterns ? `No layer that could be changed matches "${patterns.join(', ')}". "quantscope plan" lists the layers.`
      : 'Rules decide every layer of this config, so nothing is left to choose. Remove rules, or name the layers to choose for: --layers "**"');
  }
  const under = options.map((option) => ({ label: option.label, plans: layersUnder(option, config, checkpoint) }));
  const groups = tieLayers(free).map((layers) => {
    const possible = under.flatMap(({ label, plans }) => {
      const found = layers.map(({ name }) => plans.get(name) ?? null);
      return found.every((layer) => layer !== null) ? [{ label, layers: found }] : [];
    });
    if (possible.length === 0) {
      throw new AllocationError(`No option is possible for ${layers.map(({ name }) => name).join(', ')}: their widths refuse all of ${options.map(({ label }) => label).join(', ')}. Add keep to --options.`);
    }
    return { layers, options: possible };
  });
  return { plan, options, groups, fixed };
}

/** What losses are needed for: by option label, without the layers that stay as they are. */
export function layersToMeasure({ groups, options }: Allocatable): Map<string, LayerPlan[]> {
  return new Map(options.filter(({ label }) => label !== keepLabel).map(({ label }) => [label, groups.flatMap((group) => group.options.filter((option) => option.label === label).flatMap(({ layers }) => layers))]));
}

/** @param budget of the whole checkpoint in bytes. @throws AllocationError when no plan fits, or a loss is missing */
export function allocate({ plan, options, groups, fixed }: Allocatable, losses: Losses, budget: number): Allocation {
  const { otherBytes, params } = plan.totals;
  const paidParts = sharedParts(fixed);
  const paid = new Set(paidParts.keys());
  const base = otherBytes + fixed.reduce((sum, { packedBytes }) => sum + packedBytes, 0) + [...paidParts.values()].reduce((sum, bytes) => sum + bytes, 0);
  const labelled: LabelledGroup[] = groups.map((group) => ({
    layers: group.layers,
    options: group.options.map(({ label, layers }) => ({
      label, bytes: layers.reduce((sum, { packedBytes }) => sum + packedBytes, 0), loss: layers.reduce((sum, layer) => sum + lossOf(losses, label, layer), 0), shared: sharedParts(layers),
    })),
  }));
  const sharing = labelled.map((group) => group.options);
  const allocator = new Allocator(sharing);
  const found = allocator.solve(budget - base, paid);
  if (!found) {
    const least = sharing.reduce((sum, each) => sum + Math.min(...each.map(({ bytes }) => bytes)), base);
    throw new AllocationError(`No plan fits into ${budget} bytes: with the smallest option everywhere the checkpoint takes more than ${least - 1} bytes, ${base} of them for what is not chosen here. Raise the budget, add smaller options (--options), or choose for more layers (--layers).`);
  }
  const bits = (bytes: number): number => ((bytes - otherBytes) * 8) / params;
  const totalOf = (choices: number[]): number => base + choices.reduce((sum, choice, group) => sum + (sharing[group]?.[choice]?.bytes ?? 0), 0)
    + [...sharedOf(sharing, { choices })].reduce((sum, [key, bytes]) => sum + (paid.has(key) ? 0 : bytes), 0);
  const bytes = base + found.bytes;
  return {
    bytes, averageBits: bits(bytes), budgetBytes: budget, objective: found.loss, loss: { kind: losses.kind, description: losses.description },
    plan: {
      fixed: fixed.length,
      layers: groups.flatMap(({ layers, options: possible }, group) => {
        const option = possible[found.choices[group] ?? 0];
        return (option?.layers ?? []).map((layer) => ({ name: layer.name, option: option?.label ?? '', packedBytes: layer.packedBytes, loss: lossOf(losses, option?.label ?? '', layer), tiedTo: layers.map(({ name }) => name).filter((name) => name !== layer.name) }));
      }),
    },
    options: options.map(({ label }) => label),
    baselines: baselines({ groups: labelled, labels: options.map(({ label }) => label), budget: budget - base, paid, seed: baselineSeed }).map(({ name, description, choices, bytes: own, loss }) => ({
      name, description, bytes: base + own, averageBits: bits(base + own), objective: loss, counts: countsOf(labelled, choices),
    })),
    certificate: {
      optimal: found.exact, bound: found.bound, gap: found.loss - found.bound,
      method: found.exact ? `Exact: ${allocator.frontier ? 'dynamic programming over all budgets' : 'search of everything that the Lagrangian bound does not rule out'}, shared data by branch and bound.`
        : 'Not proved: the search was stopped at its limit. The bound is that of the Lagrangian relaxation; fewer options or one method make the proof easier.',
    },
    pareto: curve(allocator, totalOf, bits),
  };
}

function lossOf(losses: Losses, label: string, { name }: LayerPlan): number {
  if (label === keepLabel) {
    return 0;
  }
  const loss = losses.values.get(label)?.get(name);
  if (loss === undefined || !Number.isFinite(loss)) {
    throw new AllocationError(`There is no loss of ${name} as ${label}${loss === undefined ? '' : ` but ${loss}`}. ${losses.kind === 'given' ? 'Add it to the file of losses, or remove the option.' : 'Look for NaN or infinite values with "quantscope stats", or keep the layer with a rule.'}`);
  }
  return loss;
}

function countsOf(groups: readonly LabelledGroup[], choices: readonly number[]): Record<string, number> {
  const counts: Record<string, number> = {};
  groups.forEach(({ layers, options }, group) => {
    const label = options[choices[group] ?? 0]?.label ?? '';
    counts[label] = (counts[label] ?? 0) + layers.length;
  });
  return counts;
}

/** Points of the frontier, or of its convex hull where the frontier would be too large; evenly thinned out. */
function curve({ frontier, hull }: Allocator, totalOf: (choices: number[]) => number, bits: (bytes: number) => number): ParetoPoint[] {
  const points: readonly Option[] = frontier?.points ?? hull.supported();
  const count = Math.min(maxCurve, points.length);
  const chosen = Array.from({ length: count }, (_, i) => points[Math.round((i * (points.length - 1)) / Math.max(1, count - 1))]);
  return chosen.flatMap((point): ParetoPoint[] => {
    const solution = point && (frontier ? frontier.at(point.bytes) : hull.greedy(point.bytes));
    const bytes = solution ? totalOf(solution.choices) : 0;
    return solution ? [{ bytes, averageBits: bits(bytes), objective: solution.loss }] : [];
  }).sort((a, b) => a.bytes - b.bytes).filter((point, i, sorted) => sorted.slice(0, i).every(({ objective }) => objective > point.objective));
}

/** What people do without an allocator, within the same budget, each in the best form that fits. */
import type { LayerPlan } from '../../protocol';
import { solutionOf } from './knapsack';
import type { Solution } from './knapsack';
import { nameRuleOf } from './nameRules';
import { sharedOf } from './solver';
import type { SharingGroups, SharingOption } from './solver';

/** bytes: groups and shared data together, as in an Allocation. */
export interface Baseline extends Solution { name: string; description: string }

/** A group's layers, with its options by label. */
export interface LabelledGroup { layers: readonly LayerPlan[]; options: readonly (SharingOption & { label: string })[] }

interface Problem { groups: readonly LabelledGroup[]; labels: readonly string[]; budget: number; /** Keys of shared data that is there in any case. */ paid: ReadonlySet<string> }

export interface BaselineRequest extends Problem { seed: number; architecture: string }

const randomRuns = 21;

/** A baseline that does not fit in any form is left out. */
export function baselines(request: BaselineRequest): Baseline[] {
  const { groups, architecture, seed } = request;
  const levels = levelsOf(request);
  const blocks = blockPlaces(groups);
  const outer = (count: number) => (group: LabelledGroup): boolean => group.layers.some(({ block }) => isOuter(block === null ? undefined : blocks.get(block), count));
  const most = Math.max(0, ...[...blocks.values()].map(({ of }) => Math.ceil(of / 2)));
  const rule = nameRuleOf(architecture);
  const kept = (count: number) => (group: LabelledGroup): boolean => group.layers.some((layer) => rule.keeps(layer)) || outer(count)(group);
  const candidates: [name: string, description: string, plans: number[][]][] = [
    ['uniform', 'One option for all layers.', levels],
    ['first and last blocks', 'One option for all layers, and a larger one for the N first and last blocks: the best N and options that fit.', Array.from({ length: most }, (_, n) => mixed(groups, levels, outer(n + 1))).flat()],
    ['by name', `${rule.text} These get a larger option than the rest: the best two that fit.${groups.some(kept(Math.max(...rule.outer))) ? '' : ' None of them is chosen for here.'}`, rule.outer.flatMap((count) => mixed(groups, levels, kept(count)))],
  ];
  const runs = Array.from({ length: randomRuns }, (_, run) => randomly(seed + run, request, levels)).filter((plan) => plan !== null).sort((a, b) => a.loss - b.loss);
  const median = runs[runs.length >> 1];
  return [
    ...candidates.flatMap(([name, description, plans]) => best(name, description, plans, request)),
    ...(median ? [{ name: 'random', description: `One option for all layers, and a larger one for layers in random order as long as it fits: the best two for each order; the median of ${randomRuns} seeds from ${seed}.`, ...median }] : []),
  ];
}

/** From small to large: one option for all, a group that cannot have it taking its next larger one. */
function levelsOf({ groups, labels }: Problem): number[][] {
  return labels.map((label) => groups.map((group) => levelOf(group, label, groups))).sort((a, b) => solutionOf(optionsOf(groups), a).bytes - solutionOf(optionsOf(groups), b).bytes);
}

/** One option for most layers and a larger one for the chosen. */
function mixed(groups: readonly LabelledGroup[], levels: readonly number[][], chosen: (group: LabelledGroup, index: number) => boolean): number[][] {
  return levels.flatMap((level, low) => levels.slice(low + 1).map((better) => groups.map((group, i) => (chosen(group, i) ? better : level)[i] ?? 0)));
}

function optionsOf(groups: readonly LabelledGroup[]): SharingGroups {
  return groups.map(({ options }) => options);
}

function levelOf({ options }: LabelledGroup, label: string, groups: readonly LabelledGroup[]): number {
  const own = options.findIndex((option) => option.label === label);
  // How large the option is elsewhere tells what comes next above it here.
  const elsewhere = groups.find((group) => group.options.some((option) => option.label === label));
  const above = new Set(elsewhere?.options.filter((option) => option.bytes >= (elsewhere.options.find((each) => each.label === label)?.bytes ?? 0)).map((option) => option.label));
  const larger = [...options.keys()].filter((i) => above.has(options[i]?.label ?? ''));
  const among = larger.length > 0 ? larger : [...options.keys()];
  return own >= 0 ? own : among.reduce((low, i) => ((options[i]?.bytes ?? 0) < (options[low]?.bytes ?? 0) ? i : low), among[0] ?? 0);
}

function isOuter(place: { index: number; of: number } | undefined, count: number): boolean {
  return place !== undefined && (place.index < count || place.index >= place.of - count);
}

/** Where a block stands among those of its list. */
function blockPlaces(groups: readonly LabelledGroup[]): Map<string, { index: number; of: number }> {
  const lists = new Map<string, Set<string>>();
  for (const block of groups.flatMap(({ layers }) => layers.flatMap((layer) => layer.block ?? []))) {
    const list = block.replace(/\.\d+$/, '');
    lists.set(list, (lists.get(list) ?? new Set()).add(block));
  }
  return new Map([...lists.values()].flatMap((blocks) => [...blocks].sort((a, b) => Number(/\d+$/.exec(a)?.[0]) - Number(/\d+$/.exec(b)?.[0])).map((block, index) => [block, { index, of: blocks.size }] as const)));
}

function best(name: string, description: string, plans: readonly number[][], request: BaselineRequest): Baseline[] {
  return fitting(plans, request).slice(0, 1).map((solution) => ({ name, description, ...solution }));
}

/** Best first. */
function fitting(plans: readonly number[][], request: Problem): Solution[] {
  return plans.flatMap((choices) => fit(choices, request) ?? []).sort((a, b) => a.loss - b.loss || a.bytes - b.bytes);
}

/** With shared data; null when it does not fit. */
function fit(choices: number[], { groups, budget, paid }: Problem): Solution | null {
  const options = optionsOf(groups);
  const solution = solutionOf(options, choices);
  const shared = [...sharedOf(options, solution)].reduce((sum, [key, bytes]) => sum + (paid.has(key) ? 0 : bytes), 0);
  return solution.bytes + shared <= budget ? { ...solution, bytes: solution.bytes + shared } : null;
}

/** Layers in random order get a larger option as long as it fits beside all shared data there could be: of all two options the best. */
export function randomly(seed: number, request: Problem, levels = levelsOf(request)): Solution | null {
  const { groups, budget, paid } = request;
  const options = optionsOf(groups);
  const shared = new Map(options.flatMap((group) => group.flatMap((option) => [...option.shared])));
  const limit = budget - [...shared].reduce((sum, [key, bytes]) => sum + (paid.has(key) ? 0 : bytes), 0);
  const order = shuffled(groups.length, seed);
  const plans = levels.flatMap((level, low) => levels.slice(low + 1).map((better) => {
    let { bytes } = solutionOf(options, level);
    const taken = new Set(order.filter((group) => {
      const more = (options[group]?.[better[group] ?? 0]?.bytes ?? 0) - (options[group]?.[level[group] ?? 0]?.bytes ?? 0);
      const fits = bytes + more <= limit;
      bytes += fits ? more : 0;
      return fits;
    }));
    return groups.map((_, group) => (taken.has(group) ? better : level)[group] ?? 0);
  }));
  return fitting(plans, request)[0] ?? null;
}

/** Fisher–Yates with mulberry32. */
function shuffled(length: number, seed: number): number[] {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const order = [...Array(length).keys()];
  for (let i = length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [order[i], order[j]] = [order[j] ?? 0, order[i] ?? 0];
  }
  return order;
}

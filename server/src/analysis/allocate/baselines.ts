/** What people do without an allocator, within the same budget, each in the best form that fits. */
import type { LayerPlan, Role } from '../../protocol';
import { solutionOf } from './knapsack';
import type { Solution } from './knapsack';
import { sharedOf } from './solver';
import type { SharingGroups, SharingOption } from './solver';

/** bytes: groups and shared data together, as in an Allocation. */
export interface Baseline extends Solution { name: string; description: string }

/** A group's layers, with its options by label. */
export interface LabelledGroup { layers: readonly LayerPlan[]; options: readonly (SharingOption & { label: string })[] }

export interface BaselineRequest { groups: readonly LabelledGroup[]; labels: readonly string[]; budget: number; paid: ReadonlySet<string>; seed: number }

const randomRuns = 21;

/** A baseline that does not fit in any form is left out. */
export function baselines(request: BaselineRequest): Baseline[] {
  const { groups, labels } = request;
  // From small to large: one option for all, a group that cannot have it taking its next larger one.
  const levels = labels.map((label) => groups.map((group) => levelOf(group, label, groups))).sort((a, b) => solutionOf(optionsOf(groups), a).bytes - solutionOf(optionsOf(groups), b).bytes);
  // One option for most layers and a larger one for the chosen.
  const mixed = (chosen: (group: LabelledGroup) => boolean): number[][] => levels.flatMap((level, low) => levels.slice(low + 1).map((better) => groups.map((group, i) => (chosen(group) ? better : level)[i] ?? 0)));
  const blocks = blockPlaces(groups);
  const outer = (count: number) => (group: LabelledGroup): boolean => group.layers.some(({ block }) => {
    const place = block === null ? undefined : blocks.get(block);
    return place !== undefined && (place.index < count || place.index >= place.of - count);
  });
  const most = Math.max(0, ...[...blocks.values()].map(({ of }) => Math.ceil(of / 2)));
  const kept = (count: number) => (group: LabelledGroup): boolean => group.layers.some(({ role }) => keptRoles.includes(role)) || outer(count)(group);
  const candidates: [name: string, description: string, plans: number[][]][] = [
    ['uniform', 'One option for all layers.', levels],
    ['first and last blocks', 'One option for all layers, and a larger one for the N first and last blocks: the best N and options that fit.', Array.from({ length: most }, (_, n) => mixed(outer(n + 1))).flat()],
    ['by name', 'A larger option for embedders, modulation and final layers, with or without the first and last one or two blocks: the best options that fit.', [...mixed(kept(0)), ...mixed(kept(1)), ...mixed(kept(2))]],
  ];
  return [...candidates.flatMap(([name, description, plans]) => best(name, description, plans, request)), ...randomly(levels[0] ?? [], request)];
}

const keptRoles: readonly Role[] = ['embedder', 'modulation', 'final'];

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
  const fitting = plans.flatMap((choices) => fit(choices, request) ?? []).sort((a, b) => a.loss - b.loss || a.bytes - b.bytes);
  return fitting.slice(0, 1).map((solution) => ({ name, description, ...solution }));
}

/** With shared data; null when it does not fit. */
function fit(choices: number[], { groups, budget, paid }: BaselineRequest): Solution | null {
  const options = optionsOf(groups);
  const solution = solutionOf(options, choices);
  const shared = [...sharedOf(options, solution)].reduce((sum, [key, bytes]) => sum + (paid.has(key) ? 0 : bytes), 0);
  return solution.bytes + shared <= budget ? { ...solution, bytes: solution.bytes + shared } : null;
}

/** Groups in random order take the best option that still fits beside all shared data there could be, beginning with the smallest for all; the median of several runs. */
function randomly(smallest: readonly number[], request: BaselineRequest): Baseline[] {
  const shared = new Map(request.groups.flatMap(({ options }) => options.flatMap((option) => [...option.shared])));
  const limit = request.budget - [...shared].reduce((sum, [key, bytes]) => sum + (request.paid.has(key) ? 0 : bytes), 0);
  const runs = Array.from({ length: randomRuns }, (_, run) => {
    const choices = [...smallest];
    let { bytes } = solutionOf(optionsOf(request.groups), choices);
    for (const group of shuffled(choices.length, request.seed + run)) {
      const options = request.groups[group]?.options ?? [];
      const before = choices[group] ?? 0;
      const more = (i: number): number => (options[i]?.bytes ?? 0) - (options[before]?.bytes ?? 0);
      const better = [...options.keys()].filter((i) => (options[i]?.loss ?? 0) < (options[before]?.loss ?? 0)).sort((a, b) => (options[a]?.loss ?? 0) - (options[b]?.loss ?? 0));
      const taken = better.find((i) => bytes + more(i) <= limit) ?? before;
      bytes += more(taken);
      choices[group] = taken;
    }
    return fit(choices, request);
  }).filter((solution) => solution !== null).sort((a, b) => a.loss - b.loss);
  const median = runs[runs.length >> 1];
  return median ? [{ name: 'random', description: `Layers in random order take the best option that still fits; the median of ${randomRuns} seeds from ${request.seed}.`, ...median }] : [];
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

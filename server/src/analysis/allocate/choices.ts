/** A plan as the option of every layer that is chosen for: what it weighs, what it loses, and the plan that it stands for. */
import { sharedBytes } from '../../config/packedSize';
import { quantizedLayers } from '../../models/forward';
import type { AllocatedLayer, LayerPlan, NamedPlan, ParetoPoint, Plan } from '../../protocol';
import type { Allocatable } from './allocation';
import { AllocationError } from './errors';
import { currentLabel } from './losses';
import type { Losses } from './losses';
import { keepLabel } from './options';

/** Option label by layer. */
export type Choices = ReadonlyMap<string, string>;

/** Indices of options, by group → labels by layer. */
export function toChoices({ groups }: Allocatable, choices: readonly number[]): Choices {
  return new Map(groups.flatMap(({ layers, options }, group) => layers.map(({ name }) => [name, options[choices[group] ?? 0]?.label ?? ''] as const)));
}

/** The whole plan with these options in it. */
export function planOf(possible: Allocatable, choices: Choices): Plan {
  const chosen = new Map(chosenLayers(possible, choices).map(({ layer }) => [layer.name, layer]));
  return { ...possible.plan, layers: possible.plan.layers.map((layer) => chosen.get(layer.name) ?? layer) };
}

export function allocatedLayers(possible: Allocatable, losses: Losses, choices: Choices): AllocatedLayer[] {
  return chosenLayers(possible, choices).map(({ layer, label, tied }) => ({ name: layer.name, option: label, packedBytes: layer.packedBytes, loss: lossOf(losses, label, layer), tiedTo: tied.filter((name) => name !== layer.name) }));
}

/** @throws AllocationError when a loss is missing */
export function pointOf(possible: Allocatable, losses: Losses, choices: Choices): ParetoPoint {
  // Group by group, as the knapsack adds up: equal plans have equal objectives to the last bit.
  const objective = possible.groups.reduce((sum, { layers, options }) => {
    const option = options.find(({ label }) => label === choices.get(layers[0]?.name ?? ''));
    return sum + (option?.layers ?? []).reduce((own, layer) => own + lossOf(losses, option?.label ?? '', layer), 0);
  }, 0);
  return sized(possible, planOf(possible, choices).layers, objective);
}

export function named(possible: Allocatable, losses: Losses, choices: Choices, name: string, description: string): NamedPlan {
  const counts: Record<string, number> = {};
  choices.forEach((label) => { counts[label] = (counts[label] ?? 0) + 1; });
  return { name, description, ...pointOf(possible, losses, choices), counts, layers: Object.fromEntries(choices) };
}

/** What the config says now, under losses that were measured of its options, and of `currentLayers` where it says something else. */
export function currentOf(possible: Allocatable, losses: Losses): { current: ParetoPoint | null; noCurrent: string | null } {
  const { loose, options } = currentLayers(possible);
  const unknown = loose.find(({ name }) => !Number.isFinite(losses.values.get(currentLabel)?.get(name)))?.name;
  if (losses.unmeasured !== undefined || unknown !== undefined) {
    return { current: null, noCurrent: losses.unmeasured ?? `There is no loss of ${unknown ?? ''} as the config has it now: it is none of the options ${possible.options.map(({ label }) => label).join(', ')}.` };
  }
  const measured = [...options, ...loose.map((layer) => ({ layer, label: currentLabel }))];
  return { current: sized(possible, possible.current.layers, measured.reduce((sum, { layer, label }) => sum + lossOf(losses, label, layer), 0)), noCurrent: null };
}

/** What the config says now as a choice of options; null where some layer has none of them. */
export function currentChoices(possible: Allocatable): Choices | null {
  const { loose, options } = currentLayers(possible);
  const choices = new Map(options.map(({ layer, label }) => [layer.name, label]));
  // Tied layers that the config treats apart are no choice either.
  return loose.length === 0 && possible.groups.every(({ layers }) => new Set(layers.map(({ name }) => choices.get(name))).size === 1 && choices.has(layers[0]?.name ?? '')) ? choices : null;
}

/** Layers chosen for, as the config has them now. loose: quantized as none of the options says, which must be measured. Layers that stay as they are lose nothing. */
export function currentLayers({ current, groups }: Allocatable): { loose: LayerPlan[]; options: { layer: LayerPlan; label: string }[] } {
  const now = new Map(current.layers.map((layer) => [layer.name, layer]));
  const quantized = new Set(quantizedLayers(current).map(({ name }) => name));
  const layers = groups.flatMap((group) => group.layers.flatMap(({ name }, i) => {
    const layer = now.get(name);
    return layer ? [{ layer, label: group.options.find((option) => JSON.stringify(option.layers[i]?.recipe) === JSON.stringify(layer.recipe))?.label }] : [];
  }));
  return {
    loose: layers.flatMap(({ layer, label }) => (label === undefined && quantized.has(layer.name) ? [layer] : [])),
    options: layers.flatMap(({ layer, label }) => (label === undefined ? [] : [{ layer, label }])),
  };
}

export function lossOf(losses: Losses, label: string, { name }: LayerPlan): number {
  if (label === keepLabel) {
    return 0;
  }
  const loss = losses.values.get(label)?.get(name);
  if (loss === undefined || !Number.isFinite(loss)) {
    throw new AllocationError(`There is no loss of ${name} as ${label}${loss === undefined ? '' : ` but ${loss}`}. ${losses.kind === 'given' ? 'Add it to the file of losses, or remove the option.' : 'Look for NaN or infinite values with "quantscope stats", or keep the layer with a rule.'}`);
  }
  return loss;
}

function chosenLayers({ groups }: Allocatable, choices: Choices): { layer: LayerPlan; label: string; tied: string[] }[] {
  return groups.flatMap(({ layers, options }) => layers.flatMap(({ name }, i) => {
    const label = choices.get(name) ?? '';
    const layer = options.find((option) => option.label === label)?.layers[i];
    return layer ? [{ layer, label, tied: layers.map((each) => each.name) }] : [];
  }));
}

function sized({ plan: { totals: { otherBytes, params } } }: Allocatable, layers: readonly LayerPlan[], objective: number): ParetoPoint {
  const packed = sharedBytes(layers) + layers.reduce((sum, { packedBytes }) => sum + packedBytes, 0);
  return { bytes: otherBytes + packed, averageBits: (8 * packed) / params, objective };
}

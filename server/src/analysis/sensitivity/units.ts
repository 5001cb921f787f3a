/** What is swapped as one: a layer, all quantized layers of a block, or all of a role. */
import type { LinearRecipe } from '../../engine/graph';
import type { LayerPlan, SensitivityUnit } from '../../protocol';
import type { Swap } from './measure';

const units: readonly SensitivityUnit[] = ['layer', 'block', 'role'];

export function isSensitivityUnit(value: unknown): value is SensitivityUnit { return units.some((unit) => unit === value); }

export interface Unit extends Swap { plans: readonly LayerPlan[] }

/** Layers outside of every block stand for themselves among blocks. */
export function unitsOf(layers: readonly LayerPlan[], by: SensitivityUnit, recipes: Readonly<Record<string, LinearRecipe>>): Unit[] {
  const groups = new Map<string, LayerPlan[]>();
  for (const layer of layers) {
    const name = by === 'layer' ? layer.name : by === 'block' ? layer.block ?? layer.name : layer.role;
    groups.set(name, [...(groups.get(name) ?? []), layer]);
  }
  return [...groups].map(([name, plans]) => unitOf(name, plans, recipes));
}

export function unitOf(name: string, plans: readonly LayerPlan[], recipes: Readonly<Record<string, LinearRecipe>>): Unit {
  const layers = plans.map((layer) => layer.name);
  return { name, plans, layers, recipes: Object.fromEntries(layers.flatMap((layer) => (recipes[layer] ? [[layer, recipes[layer]]] : []))) };
}

/** Which layers a plan quantizes, counted: the first question of every reviewer. */
import type { LayerPlan, Plan } from '../../protocol';

export interface RoleScope { role: string; layers: number; /** Weights or activations quantized. */ quantized: number; /** Share of all linear weights, percent. */ paramsPercent: number; averageBits: number }

/** What a rule takes; `text` and `matches` are null for `defaults`. paramsPercent is of what it matches, averageBits of what it decides. */
export interface RuleScope { name: string; text: string | null; decides: number; matches: number | null; paramsPercent: number; averageBits: number | null }

export interface Scope {
  layers: number;
  quantized: number;
  /** Layers whose activations are quantized as well. */
  activations: number;
  /** Share of the linear weights in quantized layers, percent. */
  paramsPercent: number;
  averageBits: number;
  packedBytes: number;
  baselineBytes: number;
  /** Whole checkpoint, and as it was. */
  checkpointBytes: number;
  originalBytes: number;
  rules: RuleScope[];
  roles: RoleScope[];
  /** Layers that stay as they are. */
  kept: string[];
  /** The same for readers: numbers in names are *, with how many layers that stands for. */
  keptNames: { name: string; count: number }[];
}

export function scopeOf({ layers, rules, totals }: Plan): Scope {
  const share = (some: readonly LayerPlan[]): number => (100 * sum(some, ({ params }) => params)) / Math.max(1, totals.params);
  const roles = [...new Set(layers.map(({ role }) => role))].map((role) => {
    const own = layers.filter((layer) => layer.role === role);
    return { role, layers: own.length, quantized: own.filter(isQuantized).length, paramsPercent: share(own), averageBits: bitsOf(own) };
  });
  const byDefault = layers.filter((layer) => layer.decidedBy?.rule === -1);
  const taken: RuleScope[] = [
    ...rules.map((rule) => ({ name: rule.name, text: rule.text, decides: rule.decidedLayers, matches: rule.matchedLayers, paramsPercent: rule.matchedParamsPercent, averageBits: rule.averageBits })),
    ...(byDefault.length === 0 ? [] : [{ name: 'defaults', text: null, decides: byDefault.length, matches: null, paramsPercent: share(byDefault), averageBits: bitsOf(byDefault) }]),
  ];
  const quantized = layers.filter(isQuantized);
  const kept = layers.filter((layer) => !isQuantized(layer)).map(({ name }) => name);
  return {
    layers: layers.length, quantized: quantized.length, activations: layers.filter(({ recipe }) => recipe.activations.kind !== 'keep').length, paramsPercent: share(quantized),
    averageBits: totals.averageBits, packedBytes: totals.packedBytes, baselineBytes: totals.baselineBytes, checkpointBytes: totals.checkpointBytes, originalBytes: totals.baselineBytes + totals.otherBytes,
    rules: taken, roles, kept, keptNames: withoutNumbers(kept),
  };
}

function withoutNumbers(names: readonly string[]): { name: string; count: number }[] {
  const groups = new Map<string, string[]>();
  for (const name of names) {
    const form = name.replace(/(?<=\.)\d+(?=\.)/g, '*');
    groups.set(form, [...(groups.get(form) ?? []), name]);
  }
  return [...groups].map(([form, all]) => ({ name: all.length > 1 ? form : all[0] ?? form, count: all.length }));
}

function isQuantized({ recipe }: LayerPlan): boolean { return recipe.weights.kind !== 'keep' || recipe.activations.kind !== 'keep'; }

function bitsOf(layers: readonly LayerPlan[]): number { return (8 * sum(layers, ({ packedBytes }) => packedBytes)) / Math.max(1, sum(layers, ({ params }) => params)); }

function sum(layers: readonly LayerPlan[], of: (layer: LayerPlan) => number): number { return layers.reduce((total, layer) => total + of(layer), 0); }

/**
 * A resolved plan as readable text: for every layer of the checkpoint its recipe, true size and the rule that decided it. Made to be compared: columns are as wide as the checkpoint asks for, so that a layer
 * whose decision stays keeps its line, whatever happens to others.
 */
import { URI } from 'vscode-uri';
import { escaped, grouped } from '../checkpoint/errors';
import type { QuantConfig } from '../config/parse';
import { recipeFor } from '../config/recipe';
import { formatBytes } from '../config/resolve';
import type { LayerPlan, Plan, Problem } from '../protocol';
import { describeRecipe } from './hoverNumbers';
import type { Model } from './model';
import { bits, layerCount, paramsOf, percent, separator, share } from './text';

export const planScheme = 'quantscope-plan';

/** The config's URI travels whole in the query; the URI's own path is the name that an editor tab shows. */
export function planUri(config: string): string {
  const name = URI.parse(config).path.split('/').at(-1)?.replace(/\.quant\.ya?ml$/, '') ?? '';
  return URI.from({ scheme: planScheme, path: `/${name || 'config'}.plan`, query: config }).toString();
}

/** Inverse of planUri. @throws Error when the URI is no plan's */
export function planConfig(uri: string): string {
  const { scheme, query } = URI.parse(uri);
  if (scheme !== planScheme || query === '') {
    throw new Error(`${uri} does not name a resolved plan.`);
  }
  return query;
}

export function planText({ plan, problems, parsed: { config } }: Pick<Model, 'plan' | 'problems' | 'parsed'>): string {
  return `${[...plan ? [...header(plan), ...rows(plan, config), '', ...totals(plan, config)] : ['No plan yet: the config names no checkpoint that can be read.'], ...problemLines(problems)].join('\n')}\n`;
}

function header({ architecture, checkpoint, layers }: Plan): string[] {
  return [
    `${architecture}${separator}${layerCount(layers.length)}${separator}${escaped(checkpoint)}`,
    'columns: bits of weights (W) and activations (A), true bits per weight and bytes with side data, name, recipe, ← what decided it',
  ];
}

function rows({ layers }: Plan, config: QuantConfig): string[] {
  const names = Math.max(0, ...layers.map(({ name }) => escaped(name).length));
  // Four bytes a weight are the most that anything is stored as.
  const bytes = Math.max(0, ...layers.map(({ params }) => grouped(4 * params).length));
  let block: string | null | undefined;
  return layers.flatMap((layer) => {
    const { name, weightBits, activationBits, averageBits, packedBytes, recipe, decidedBy } = layer;
    const refusal = refusalOf(layer, config);
    const line = [
      `W${weightBits}A${activationBits}`.padEnd(6), averageBits.toFixed(3).padStart(6), grouped(packedBytes).padStart(bytes), escaped(name).padEnd(names),
      `${describeRecipe(recipe)}  ← ${decidedBy ? escaped(decidedBy.name) : 'no rule'}${refusal === undefined ? '' : `  ! left as it is: ${refusal}`}`,
    ].join('  ');
    const heading = layer.block === block ? [] : ['', layer.block === null ? 'outside of blocks' : escaped(layer.block)];
    block = layer.block;
    return [...heading, `  ${line}`];
  });
}

/** Why a layer does not get what its rule asks for. */
function refusalOf({ inFeatures, outFeatures, role, heads, decidedBy }: LayerPlan, { rules, defaults }: QuantConfig): string | undefined {
  const result = recipeFor(rules[decidedBy?.rule ?? -1] ?? {}, defaults, { inFeatures, outFeatures, role, heads });
  return 'refusal' in result ? result.refusal : undefined;
}

function totals({ layers, totals: sum, hash }: Plan, { budget }: QuantConfig): string[] {
  const byRecipe = new Map<string, LayerPlan[]>();
  layers.forEach((layer) => byRecipe.set(describeRecipe(layer.recipe), [...(byRecipe.get(describeRecipe(layer.recipe)) ?? []), layer]));
  const left = !budget ? undefined : 'bytes' in budget.value ? budget.value.bytes - sum.checkpointBytes : budget.value.bits - sum.averageBits;
  const amount = budget && left !== undefined ? ('bytes' in budget.value ? formatBytes(Math.abs(left)) : bits(Math.abs(left))) : '';
  return [
    'by recipe (layers, share of the linear weights, true bits per weight)',
    ...[...byRecipe].sort(([a], [b]) => (a < b ? -1 : 1)).map(([recipe, own]) =>
      `  ${recipe}${separator}${layerCount(own.length)}${separator}${percent(share(own, layers))}${separator}${bits((own.reduce((bytes, { packedBytes }) => bytes + packedBytes, 0) * 8) / Math.max(1, paramsOf(own)))}`),
    '',
    'totals',
    `  linear weights    ${formatBytes(sum.packedBytes)}${separator}${bits(sum.averageBits)} per weight${separator}${formatBytes(sum.sharedBytes)} of it shared by layers${separator}${formatBytes(sum.baselineBytes)} as stored now`,
    `  other tensors     ${formatBytes(sum.otherBytes)}`,
    `  whole checkpoint  ${formatBytes(sum.checkpointBytes)} (${grouped(sum.checkpointBytes)} B)`,
    ...(left === undefined ? [] : [`  budget            ${amount} ${left >= 0 ? 'below' : 'over'}`]),
    `  hash of the plan  ${hash.slice(0, 16)}`,
  ];
}

function problemLines(problems: readonly Problem[]): string[] {
  return problems.length === 0 ? [] : ['', `problems (${problems.length})`, ...problems.map(({ severity, code, message, range }) => `  ${severity} ${code}${range ? ` (line ${range.start.line + 1})` : ''}: ${message}`)];
}

import { describeQuantizer } from '../config/describe';
import { formatBytes } from '../config/resolve';
import type { LayerPlan, Plan } from '../protocol';
import { describeProblem } from './command';
import type { Command } from './command';
import { significant, table } from './table';

export const plan: Command = {
  name: 'plan',
  usage: '<config>',
  summary: 'The resolved plan: for every linear layer its recipe, the rule that decided it and its true packed size.',
  async run(context) {
    const path = context.path('config');
    const { plan: resolved, problems } = await context.loadConfig(path);
    context.print(
      resolved ? { ...resolved, layers: resolved.layers.map(layerJson), problems } : { layers: [], rules: [], totals: null, problems },
      () => (resolved ? describePlan(resolved) : 'No plan: see the problems.'),
    );
    problems.forEach((problem) => context.note(describeProblem(problem, path)));
    return problems.some((problem) => problem.severity === 'error') ? 1 : 0;
  },
};

function layerJson(layer: LayerPlan): unknown {
  return { ...layer, rule: layer.decidedBy?.name ?? null, method: layer.recipe.method, averageBits: layer.averageBits };
}

function describePlan(resolved: Plan): string {
  const { totals } = resolved;
  return `${table(
    ['layer', 'rule', 'method', 'weights', 'activations', 'bits', 'packed'],
    resolved.layers.map((layer) => [layer.name, layer.decidedBy?.name ?? '–', layer.recipe.method, describeQuantizer(layer.recipe.weights), describeQuantizer(layer.recipe.activations),
      layer.averageBits.toFixed(3), formatBytes(layer.packedBytes)]),
  )}\n\n${totals.layers} linear layers, ${significant(totals.averageBits)} bits per weight with side data: ${formatBytes(totals.packedBytes)} (stored now: ${formatBytes(totals.baselineBytes)}); ` +
    `whole checkpoint ${formatBytes(totals.checkpointBytes)}`;
}

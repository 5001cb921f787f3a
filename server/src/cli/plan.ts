import { dirname } from 'node:path';
import { CheckpointError } from '../checkpoint';
import { describeNeeds, describeOnline, describeQuantizer, onlineParts } from '../config/describe';
import type { LoadedConfig } from '../config/load';
import { formatBytes } from '../config/resolve';
import { statisticsFor } from '../methods/statistics';
import { ModelError } from '../models/builder';
import type { LayerPlan, Plan } from '../protocol';
import { calibrationNeeds, requestFor, withWorkFolder } from '../quantize/recipes';
import type { CalibrationNeeds } from '../quantize/recipes';
import { describeProblem } from './command';
import type { Command, CommandContext } from './command';
import { significant, table } from './table';

export const plan: Command = {
  name: 'plan',
  usage: '<config>',
  summary: 'The resolved plan: for every linear layer its recipe, the rule that decided it and its true packed size.',
  async run(context) {
    const path = context.path('config');
    const loaded = await context.loadConfig(path);
    const { plan: resolved, problems } = loaded;
    const calibration = resolved ? await needsOf(context, loaded, path) : undefined;
    context.print(
      resolved && calibration ? { ...resolved, layers: resolved.layers.map((layer) => layerJson(layer, calibration)), calibration: { runs: calibration.runs, flops: calibration.flops, impossible: calibration.impossible }, problems }
        : { layers: [], rules: [], totals: null, problems },
      () => (resolved && calibration ? [describePlan(resolved), ...describeOnline(resolved.layers), ...describeCalibration(resolved, calibration)].join('\n') : 'No plan: see the problems.'),
    );
    problems.forEach((problem) => context.note(describeProblem(problem, path)));
    return problems.some((problem) => problem.severity === 'error') ? 1 : 0;
  },
};

/** `impossible`: why the model cannot be calibrated, or null. */
type Needs = CalibrationNeeds & { impossible: string | null };

async function needsOf(context: CommandContext, loaded: LoadedConfig, path: string): Promise<Needs> {
  try {
    return { ...await withWorkFolder(context.cacheFolder, (folder) => calibrationNeeds(requestFor(loaded, dirname(path), { folder }), context.engine)), impossible: null };
  } catch (error) {
    if (error instanceof ModelError || error instanceof CheckpointError) {
      return { layers: new Map(), runs: 0, flops: 0, impossible: error.message };
    }
    throw error;
  }
}

function layerJson(layer: LayerPlan, { layers }: Needs): unknown {
  return { ...layer, rule: layer.decidedBy?.name ?? null, method: layer.recipe.method, averageBits: layer.averageBits, online: onlineParts(layer.recipe), statistics: statisticsFor(layer.recipe), gathered: layers.get(layer.name)?.gathered ?? null };
}

/** One line per method and kind of statistics. */
function describeCalibration({ layers }: Plan, { layers: needs, runs, flops, impossible }: Needs): string[] {
  if (impossible !== null) {
    return [`Cannot be calibrated: ${impossible}`];
  }
  const groups = new Map<string, { layers: number; gathered: number }>();
  for (const { name, recipe } of layers) {
    const need = needs.get(name);
    if (need) {
      const what = `${recipe.method} needs ${describeNeeds(recipe)}`;
      const { layers: count, gathered } = groups.get(what) ?? { layers: 0, gathered: 0 };
      groups.set(what, { layers: count + 1, gathered: gathered + Number(need.gathered) });
    }
  }
  return [
    ...[...groups].map(([what, { layers: count, gathered }]) => `${what} (${count} layers, ${gathered === count ? 'gathered' : gathered === 0 ? 'not gathered yet' : `${gathered} gathered`})`),
    ...(runs > 0 ? [`To be gathered when first needed: ${runs} sampling runs, ${significant(flops / 1e9)} GFLOP`] : []),
  ];
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

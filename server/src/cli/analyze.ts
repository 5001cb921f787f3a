import { dirname } from 'node:path';
import { analyze as analyzePlan } from '../analysis/report';
import type { Analysis } from '../analysis/report';
import type { Plan } from '../protocol';
import { describeQuantizer } from '../config/describe';
import type { LoadedConfig } from '../config/load';
import { requestFor, withWorkFolder } from '../quantize/recipes';
import { describeProblem } from './command';
import type { Command, CommandContext } from './command';
import { significant, table } from './table';

export const analyze: Command = {
  name: 'analyze',
  usage: '<config> [--layers patterns] [--sample rows]',
  summary: 'Measures every layer: quantization error against the expected distortion, distance to the marginal before and after rotation.',
  options: { layers: { type: 'string' }, sample: { type: 'string' } },
  async run(context) {
    const path = context.path('config');
    const loaded = await context.requirePlan(path);
    const { plan, problems } = loaded;
    const analysis = await runAnalysis(context, path, loaded);
    context.print({ ...analysis, checkpoint: plan.checkpoint, totals: plan.totals, planHash: plan.hash }, () => describeAnalysis(plan, analysis));
    problems.filter((problem) => problem.severity !== 'info').forEach((problem) => context.note(describeProblem(problem, path)));
    analysis.failures.forEach(({ name, message }) => context.note(message.startsWith(name) ? message : `${name}: ${message}`));
    return analysis.failures.length > 0 || problems.some((problem) => problem.severity === 'error') ? 1 : 0;
  },
};

export function runAnalysis(context: CommandContext, path: string, loaded: LoadedConfig): Promise<Analysis> {
  return withWorkFolder(context.cacheFolder, (folder) => analyzePlan(requestFor(loaded, dirname(path), { folder }), context.engine, context.cache, {
    layers: context.layerPatterns(),
    sampleRows: context.integer('sample', 1, 1_000_000),
    cancellation: context.cancel.token,
    onProgress: (fraction, layer) => context.progress(fraction, layer),
  }));
}

/** relative MSE: lower is better; SQNR in dB: higher is better; ×expected: 1 is what the quantizer promises on its design distribution. */
function describeAnalysis(plan: Plan, { layers, cached }: Analysis): string {
  const plans = new Map(plan.layers.map((layer) => [layer.name, layer]));
  const rows = layers.map((report) => {
    const layer = plans.get(report.name);
    const { relativeMse, sqnrDb, expectedRelativeMse } = report.weight;
    const { before, after, rho } = report.marginal;
    return [report.name, layer ? describeQuantizer(layer.recipe.weights) : '', layer?.averageBits.toFixed(3) ?? '', significant(relativeMse), sqnrDb === null ? '∞' : sqnrDb.toFixed(2),
      expectedRelativeMse ? (relativeMse / expectedRelativeMse).toFixed(3) : '–', before.ks.toFixed(4), after.ks.toFixed(4), after.wasserstein1.toFixed(4), before.excessKurtosis.toFixed(2), rho.toFixed(2)];
  });
  return `${table(['layer', 'weights', 'bits', 'rel. MSE', 'SQNR dB ↑', '× expected', 'KS before', 'KS rotated', 'W1 rotated', 'kurtosis', 'ρ'], rows)}\n\n` +
    `${layers.length} layers measured${cached > 0 ? ` (${cached} from the cache)` : ''}; ${significant(plan.totals.averageBits)} bits per weight with side data. ` +
    '× expected: 1 is what the quantizer gives on its design distribution.';
}

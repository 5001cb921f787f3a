import { dirname, resolve } from 'node:path';
import { activationSummaries, outputErrors } from '../analysis/inputs';
import { analyze as analyzePlan, selectLayers } from '../analysis/report';
import type { Analysis } from '../analysis/report';
import { readCapture } from '../preview/captureFile';
import type { ActivationSummary, Capture, LayerReport, OutputError, Plan } from '../protocol';
import { describeQuantizer } from '../config/describe';
import type { LoadedConfig } from '../config/load';
import { requestFor, withWorkFolder } from '../quantize/recipes';
import { UsageError, describeProblem } from './command';
import type { Command, CommandContext } from './command';
import { significant, table } from './table';

export const analyze: Command = {
  name: 'analyze',
  usage: '<config> [--layers patterns] [--sample rows] [--capture stats.safetensors] [--outputs]',
  summary: 'Measures every layer: quantization error against the expected distortion, distance to the marginal before and after rotation.',
  options: { layers: { type: 'string' }, sample: { type: 'string' }, capture: { type: 'string' }, outputs: { type: 'boolean' } },
  async run(context) {
    const path = context.path('config');
    const loaded = await context.requirePlan(path);
    const { plan, problems } = loaded;
    const { path: capture, captured } = await givenCapture(context, plan);
    const analysis = withInputs(await runAnalysis(context, path, loaded), await inputsOf(context, path, loaded, capture, captured));
    context.print({ ...analysis, checkpoint: plan.checkpoint, totals: plan.totals, planHash: plan.hash }, () => describeAnalysis(plan, analysis));
    problems.filter((problem) => problem.severity !== 'info').forEach((problem) => context.note(describeProblem(problem, path)));
    analysis.failures.forEach(({ name, message }) => context.note(message.startsWith(name) ? message : `${name}: ${message}`));
    return analysis.failures.length > 0 || problems.some((problem) => problem.severity === 'error') ? 1 : 0;
  },
};

interface Inputs { activations: ReadonlyMap<string, ActivationSummary>; outputs: ReadonlyMap<string, OutputError> }

/** --capture: of the same model. @throws UsageError */
export async function givenCapture(context: CommandContext, plan: Plan): Promise<{ path: string | null; captured: Capture | null }> {
  const path = typeof context.values['capture'] === 'string' ? resolve(context.values['capture']) : null;
  const captured = path === null ? null : await readCapture(path);
  requireSameModel(captured, plan, path ?? '');
  return { path, captured };
}

function requireSameModel(captured: Capture | null, plan: Plan, path: string): void {
  const widths = new Map(plan.layers.map((layer) => [layer.name, layer.inFeatures]));
  const other = captured?.layers.find(({ layer, width }) => widths.get(layer) !== width);
  if (other) {
    throw new UsageError(`${path} is a capture of another model: it has ${other.layer} with ${other.width} channels, ${plan.checkpoint} ${widths.has(other.layer) ? `with ${widths.get(other.layer)}` : 'has no such layer'}. Capture with this config.`);
  }
}

/** Outputs are measured when they are asked for, or when a capture brings the rows: nothing is gathered that nobody asked for. */
function inputsOf(context: CommandContext, path: string, loaded: LoadedConfig, capture: string | null, captured: Capture | null): Promise<Inputs> {
  return withWorkFolder(context.cacheFolder, async (folder) => {
    const request = requestFor(loaded, dirname(path), { folder, cancellation: context.cancel.token, onProgress: (fraction, what) => context.progress(fraction, what) });
    const outputs = context.values['outputs'] === true || capture !== null ? await outputErrors(request, selectLayers(request.plan, context.layerPatterns()), capture, context.engine) : new Map<string, OutputError>();
    return { activations: await activationSummaries(request, captured, context.engine), outputs };
  });
}

type AnalyzedLayer = LayerReport & { activation?: ActivationSummary; output?: OutputError };

function withInputs(analysis: Analysis, { activations, outputs }: Inputs): Omit<Analysis, 'layers'> & { layers: AnalyzedLayer[] } {
  return {
    ...analysis, layers: analysis.layers.map((layer) => {
      const [activation, output] = [activations.get(layer.name), outputs.get(layer.name)];
      return { ...layer, ...(activation ? { activation } : {}), ...(output ? { output } : {}) };
    }),
  };
}

function runAnalysis(context: CommandContext, path: string, loaded: LoadedConfig): Promise<Analysis> {
  return withWorkFolder(context.cacheFolder, (folder) => analyzePlan(requestFor(loaded, dirname(path), { folder }), context.engine, context.cache, {
    layers: context.layerPatterns(),
    sampleRows: context.integer('sample', 1, 1_000_000),
    cancellation: context.cancel.token,
    onProgress: (fraction, layer) => context.progress(fraction, layer),
  }));
}

/** relative MSE: lower is better; SQNR in dB: higher is better; ×expected: 1 is what the quantizer promises on its design distribution. */
function describeAnalysis(plan: Plan, { layers, cached }: ReturnType<typeof withInputs>): string {
  const plans = new Map(plan.layers.map((layer) => [layer.name, layer]));
  const [withOutputs, withActivations] = [layers.some(({ output }) => output), layers.some(({ activation }) => activation)];
  const rows = layers.map((report) => {
    const layer = plans.get(report.name);
    const { relativeMse, sqnrDb, expectedRelativeMse } = report.weight;
    const { before, after, rho } = report.marginal;
    return [report.name, layer ? describeQuantizer(layer.recipe.weights) : '', layer?.averageBits.toFixed(3) ?? '', significant(relativeMse), sqnrDb === null ? '∞' : sqnrDb.toFixed(2),
      expectedRelativeMse ? (relativeMse / expectedRelativeMse).toFixed(3) : '–', before.ks.toFixed(4), after.ks.toFixed(4), after.wasserstein1.toFixed(4), before.excessKurtosis.toFixed(2), rho.toFixed(2),
      ...(withOutputs ? [report.output ? significant(report.output.relativeError) : '–'] : []), ...(withActivations ? [report.activation ? significant(report.activation.absMax) : '–', report.activation?.channelRange?.toFixed(1) ?? '–'] : [])];
  });
  return `${table(['layer', 'weights', 'bits', 'rel. MSE', 'SQNR dB ↑', '× expected', 'KS before', 'KS rotated', 'W1 rotated', 'kurtosis', 'ρ', ...(withOutputs ? ['output error ↓'] : []), ...(withActivations ? ['largest |x|', 'range'] : [])], rows)}\n\n` +
    `${layers.length} layers measured${cached > 0 ? ` (${cached} from the cache)` : ''}; ${significant(plan.totals.averageBits)} bits per weight with side data. ` +
    `× expected: 1 is what the quantizer gives on its design distribution.${withOutputs ? ` Output error: ‖quantized − full‖² / ‖full‖² of the layer's output on ${layers.find(({ output }) => output)?.output?.rows ?? 0} rows of its inputs.` : ''}`;
}

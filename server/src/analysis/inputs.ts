/** What is known of the inputs of layers, from a capture or from calibrations in the cache, and what quantizing does to their outputs on rows of them. */
import type { LayerStatistics } from '../calibration/statistics';
import type { Engine } from '../engine/client';
import { largestChannels, topEnergy } from '../preview/activationNumbers';
import { readSamples } from '../preview/captureFile';
import type { ActivationSummary, Capture, CaptureNumbers, LayerPlan, OutputError } from '../protocol';
import { LayerProbe } from '../quantize/evaluate';
import { knownInputs, prepareRecipes, sampleInputs, sampleValues } from '../quantize/recipes';
import type { PlanRequest } from '../quantize/recipes';
import { overTime } from './activations';

/** By layer. @param capture null for calibrations that are there already; nothing is gathered */
export async function activationSummaries(request: PlanRequest, capture: Capture | null, engine: Engine): Promise<ReadonlyMap<string, ActivationSummary>> {
  if (capture) {
    const over = overTime(capture, capture.thresholds);
    return new Map([...new Set(capture.layers.map(({ layer }) => layer))].map((name) => [name, ofCapture(capture.layers.filter(({ layer }) => layer === name), largest(over.filter(({ layer }) => layer === name).map(({ timeRange }) => timeRange)))]));
  }
  const known = await knownInputs(request, engine);
  return new Map(await Promise.all([...known].map(async ([layer, statistics]) => [layer, await ofCalibration(statistics)] as const)));
}

function ofCapture(cells: readonly CaptureNumbers[], timeRange: number | null): ActivationSummary {
  const correlations = cells.flatMap(({ salienceCorrelation }) => salienceCorrelation ?? []);
  return {
    source: 'capture', cells: cells.length, absMax: Math.max(...cells.map(({ absMax }) => absMax)), channelRange: largest(cells.map(({ channelRange }) => channelRange)), timeRange,
    energyShare: Math.max(...cells.map(({ topEnergy: { share } }) => share)), ksBefore: Math.max(...cells.map(({ before }) => before.ks)), ksAfter: Math.max(...cells.map(({ after }) => after.ks)),
    salienceCorrelation: correlations.length > 0 ? correlations.reduce((sum, value) => sum + value, 0) / correlations.length : null,
  };
}

async function ofCalibration({ absMax, sample }: LayerStatistics): Promise<ActivationSummary> {
  const tops = absMax.map((channels) => largestChannels(channels, channels)[0]);
  const peaks = tops.map((top) => top?.absMax ?? 0);
  const squares = new Float32Array(absMax[0]?.length ?? 0);
  (sample ? await sampleValues(sample) : new Float32Array()).forEach((value, i) => { squares[i % squares.length] = (squares[i % squares.length] ?? 0) + value * value; });
  return {
    source: 'calibration', cells: absMax.length, absMax: Math.max(...peaks), channelRange: largest(tops.map((top) => top?.ratio ?? null)), timeRange: Math.min(...peaks) > 0 ? Math.max(...peaks) / Math.min(...peaks) : null,
    energyShare: topEnergy(squares).share, ksBefore: null, ksAfter: null, salienceCorrelation: null,
  };
}

/** By layer; none for layers that are packed or in high precision. @param capturePath null for calibration rows, which are gathered where they are missing @throws ModelError, EngineError, CheckpointError */
export async function outputErrors(request: PlanRequest, layers: readonly LayerPlan[], capturePath: string | null, engine: Engine): Promise<ReadonlyMap<string, OutputError>> {
  const quantized = layers.filter(({ recipe }) => recipe.weights.kind !== 'keep' || recipe.activations.kind !== 'keep');
  const names = new Set(quantized.map(({ name }) => name));
  // What cannot be prepared has no output; the report of the layer says why.
  const prepared = await prepareRecipes({ ...request, only: (name) => names.has(name), onFailure: () => undefined, onProgress: (fraction, what) => request.onProgress?.(fraction / 3, what) }, engine);
  const samples = capturePath === null ? await sampleInputs({ ...request, onProgress: (fraction, what) => request.onProgress?.((1 + fraction) / 3, what) }, [...names], engine) : await readSamples(capturePath, names);
  const found = new Map<string, OutputError>();
  for (const [i, layer] of quantized.entries()) {
    const [sample, recipe] = [samples.get(layer.name), prepared.get(layer.name)?.recipe];
    if (sample && sample.length > 0 && recipe && recipe.packed === null) {
      found.set(layer.name, {
        source: capturePath === null ? 'calibration' : 'capture', rows: sample.length / layer.inFeatures,
        relativeError: await new LayerProbe(engine, layer, sample).outputError(recipe, { cancellation: request.cancellation }),
      });
    }
    request.onProgress?.((2 + (i + 1) / quantized.length) / 3, layer.name);
  }
  return found;
}

function largest(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length > 0 ? Math.max(...known) : null;
}

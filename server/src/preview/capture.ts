/** Activation statistics of every linear layer along full-precision trajectories: per step, conditional and unconditional apart. Streamed: no activation is kept beyond the sample. */
import type { CancellationToken } from 'vscode-jsonrpc';
import { packedLayers } from '../checkpoint/packed';
import type { Engine } from '../engine/client';
import type { CapturedLayer } from '../engine/graph';
import type { Capture, CapturedWeight, CaptureNumbers, Half, LayerPlan, Marginal } from '../protocol';
import { refOf } from '../quantize/files';
import { effectiveRows, expectedTail, largestChannels, salienceCorrelation, tailMass, topEnergy } from './activationNumbers';
import { JobDevice } from './device';
import type { Pipeline } from './pipelines';
import { comparedSteps } from './preview';
import { computeTrajectory } from './trajectory';

/** What went into one layer at one step, over all items. */
export interface LayerCapture extends Pick<CaptureNumbers, 'layer' | 'half' | 'step' | 'timestep' | 'rows' | 'nonFinite' | 'before' | 'after' | 'rho'> {
  /** Largest |x| per channel. */
  absMax: Float32Array;
  /** Mean of x² per channel. */
  meanSquare: Float32Array;
  /** Rows of the first item, [rows, width]. */
  sample: Float32Array;
  /** Normalised coordinates of all items over −6..6 standard deviations, before and after rotation: counts below, in even bins, above. */
  histograms: { before: Float32Array; after: Float32Array };
}

export interface Activations extends Pick<Capture, 'architecture' | 'items' | 'steps' | 'device'> { layers: LayerCapture[]; /** Largest |w| per input channel, by layer. */ weights: ReadonlyMap<string, Float32Array> }

export interface CaptureOptions { layers: readonly LayerPlan[]; sampleRows: number; cancellation?: CancellationToken | undefined; onProgress?(fraction: number, what: string): void }

/** Of the bar. Weights are read once for their ranges, and once for every step. */
const weightShare = 0.05;

/** Captures at the compared steps of each item's trajectory. @throws EngineError */
export async function captureActivations(pipeline: Pipeline, engine: Engine, { layers, sampleRows, cancellation, onProgress }: CaptureOptions): Promise<Activations> {
  const { checkpoint, settings } = pipeline;
  const { timesteps } = pipeline.sampler();
  const wanted = new Set(comparedSteps(settings));
  const device = await JobDevice.of(engine);
  const found = new Map<string, LayerCapture>();
  const weights = new Map<string, Float32Array>();
  const packed = packedLayers(checkpoint);
  for (const [i, { name, tensor }] of layers.entries()) {
    onProgress?.((weightShare * i) / layers.length, 'weights');
    if (!packed.has(name)) {
      weights.set(name, (await engine.columnRange({ tensor: refOf(tensor) }, { cancellation })).absMax);
    }
  }
  const request = { layers: layers.map(({ name }) => name), seed: 0, histogramBins: 96, sampleRows, secondMoments: null };
  for (const [item, name] of pipeline.items.entries()) {
    await computeTrajectory(pipeline, item, {}, engine, (step) => {
      onProgress?.(weightShare + ((1 - weightShare) * (item + step / settings.steps)) / pipeline.items.length, name);
      const received = (half: Half, captured: CapturedLayer[]): void => captured.forEach((layer) => merge(found, layer, half, step, timesteps[step] ?? 0));
      return { ...device.options, cancellation, ...(wanted.has(step) ? { capture: { request, received } } : {}) };
    });
  }
  const linears = pipeline.programs(0).flatMap(({ program }) => program.ops.flatMap((op) => (op.op === 'linear' ? [op.name] : [])));
  const order = new Map([...new Set(linears)].map((name, i) => [name, i]));
  const inOrder = [...found.values()].sort((a, b) => (order.get(a.layer) ?? 0) - (order.get(b.layer) ?? 0));
  return { architecture: checkpoint.architecture, items: pipeline.items, steps: settings.steps, device: device.use, layers: inOrder, weights };
}

function merge(found: Map<string, LayerCapture>, captured: CapturedLayer, half: Half, step: number, timestep: number): void {
  const key = `${captured.name} ${half} ${step}`;
  const known = found.get(key);
  if (!known) {
    const { name: layer, rows, nonFinite, absMax, meanSquare, sample, before, after, rho } = captured;
    found.set(key, { layer, half, step, timestep, rows, nonFinite, absMax, meanSquare, sample, before: numbers(before), after: numbers(after), rho, histograms: { before: Float32Array.from(before.histogram.counts), after: Float32Array.from(after.histogram.counts) } });
    return;
  }
  const rows = known.rows + captured.rows;
  known.absMax = known.absMax.map((value, i) => Math.max(value, captured.absMax[i] ?? 0));
  known.meanSquare = known.meanSquare.map((value, i) => (value * known.rows + (captured.meanSquare[i] ?? 0) * captured.rows) / rows);
  known.histograms = { before: summed(known.histograms.before, captured.before), after: summed(known.histograms.after, captured.after) };
  known.rho = Math.max(known.rho, captured.rho);
  known.nonFinite += captured.nonFinite;
  known.rows = rows;
}

function summed(counts: Float32Array, { histogram }: Marginal): Float32Array { return counts.map((count, bin) => count + (histogram.counts[bin] ?? 0)); }

function numbers({ ks, wasserstein1, excessKurtosis, maxAbs }: Marginal): CaptureNumbers['before'] {
  return { ks, wasserstein1, excessKurtosis, maxAbs };
}

/** @param weight largest |w| per input channel of the layer; undefined where it was not read */
export function captureNumbers({ layer, half, step, timestep, rows, nonFinite, absMax, meanSquare, sample, histograms, before, after, rho }: LayerCapture, weight: Float32Array | undefined): CaptureNumbers {
  const channels = largestChannels(absMax, meanSquare);
  const [largest] = channels;
  return {
    layer, half, step, timestep, width: absMax.length, rows, nonFinite, absMax: largest?.absMax ?? 0, channelRange: largest?.ratio ?? null, before, after, rho, effectiveRows: effectiveRows(sample, absMax.length),
    tails: { before: tailMass(histograms.before), after: tailMass(histograms.after), expected: expectedTail(absMax.length) }, channels, topEnergy: topEnergy(meanSquare), salienceCorrelation: salienceCorrelation(absMax, weight),
  };
}

export function weightNumbers(layer: string, absMax: Float32Array): CapturedWeight {
  const finite = absMax.filter(Number.isFinite);
  return { layer, absMax: finite.length > 0 ? finite.reduce((most, value) => Math.max(most, value), 0) : null, nonFinite: absMax.length - finite.length };
}

/** Activation statistics of every linear layer along full-precision trajectories: per step, conditional and unconditional apart. Streamed: no activation is kept beyond the sample. */
import type { CancellationToken } from 'vscode-jsonrpc';
import type { Engine } from '../engine/client';
import type { CapturedLayer } from '../engine/graph';
import type { CaptureNumbers, Half, Marginal } from '../protocol';
import type { Pipeline } from './pipelines';
import { comparedSteps } from './preview';
import { computeTrajectory } from './trajectory';

/** What went into one layer at one step, over all items. */
export interface LayerCapture extends Omit<CaptureNumbers, 'absMax' | 'channelRange'> {
  /** Largest |x| per channel. */
  absMax: Float32Array;
  /** Mean of x² per channel. */
  meanSquare: Float32Array;
  /** Rows of the first item, [rows, width]. */
  sample: Float32Array;
  /** Normalised coordinates of all items over −6..6 standard deviations, before and after rotation: counts below, in even bins, above. */
  histograms: { before: Float32Array; after: Float32Array };
}

export interface Activations { architecture: string; items: string[]; steps: number; layers: LayerCapture[] }

export interface CaptureOptions { layers: string[]; sampleRows: number; cancellation?: CancellationToken | undefined; onProgress?(fraction: number, what: string): void }

/** Captures at the compared steps of each item's trajectory. @throws EngineError */
export async function captureActivations(pipeline: Pipeline, engine: Engine, { layers, sampleRows, cancellation, onProgress }: CaptureOptions): Promise<Activations> {
  const { checkpoint, settings } = pipeline;
  const { timesteps } = pipeline.sampler();
  const wanted = new Set(comparedSteps(settings));
  const found = new Map<string, LayerCapture>();
  const request = { layers, seed: 0, histogramBins: 96, sampleRows, secondMoments: null };
  for (const [item, name] of pipeline.items.entries()) {
    await computeTrajectory(pipeline, item, {}, engine, (step) => {
      onProgress?.((item + step / settings.steps) / pipeline.items.length, name);
      const received = (half: Half, captured: CapturedLayer[]): void => captured.forEach((layer) => merge(found, layer, half, step, timesteps[step] ?? 0));
      return { cancellation, ...(wanted.has(step) ? { capture: { request, received } } : {}) };
    });
  }
  return { architecture: checkpoint.architecture, items: pipeline.items, steps: settings.steps, layers: [...found.values()] };
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

/** One number for all channels. */
export function captureNumbers({ layer, half, step, timestep, rows, nonFinite, absMax, before, after, rho }: LayerCapture): CaptureNumbers {
  const channels = absMax.toSorted();
  const [median = 0, largest = 0] = [channels[Math.floor(channels.length / 2)], channels.at(-1)];
  return { layer, half, step, timestep, rows, nonFinite, absMax: largest, channelRange: median > 0 ? largest / median : null, before, after, rho };
}

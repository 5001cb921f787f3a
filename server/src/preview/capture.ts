/** Activation statistics of every linear layer along full-precision trajectories: per step, conditional and unconditional apart. Streamed: no activation is kept beyond the sample. */
import type { CancellationToken } from 'vscode-jsonrpc';
import type { TensorValues } from '../checkpoint/values';
import type { Engine } from '../engine/client';
import type { CapturedLayer } from '../engine/graph';
import type { Checkpoint, Marginal, PreviewSettings } from '../protocol';
import { openPipeline } from './pipeline';
import type { Half } from './pipeline';
import { comparedSteps } from './preview';
import { computeTrajectory } from './trajectory';

/** What went into one layer at one step, over all items. */
export interface LayerCapture {
  layer: string;
  half: Half;
  step: number;
  timestep: number;
  rows: number;
  nonFinite: number;
  /** Largest |x| per channel. */
  absMax: Float32Array;
  /** Mean of x² per channel. */
  meanSquare: Float32Array;
  /** Of the first item. */
  sample: Float32Array;
  /** Rows over their norm, times √d, against the fixed marginal: of the first item. */
  before: Omit<Marginal, 'histogram'>;
  after: Omit<Marginal, 'histogram'>;
  rho: number;
}

export interface CaptureOptions { layers: string[]; sampleRows: number; cancellation?: CancellationToken | undefined; onProgress?(fraction: number, what: string): void }

/** Captures at the compared steps of each item's trajectory. @throws ModelError, EngineError */
export async function captureActivations(checkpoint: Checkpoint, settings: PreviewSettings, engine: Engine, { layers, sampleRows, cancellation, onProgress }: CaptureOptions): Promise<LayerCapture[]> {
  const pipeline = await openPipeline(checkpoint, settings);
  const { timesteps } = pipeline.sampler();
  const wanted = new Set(comparedSteps(settings));
  const found = new Map<string, LayerCapture>();
  const request = { layers, seed: 0, histogramBins: 96, sampleRows };
  for (const [item, name] of pipeline.items.entries()) {
    await computeTrajectory(pipeline, item, {}, engine, (step) => {
      onProgress?.((item + step / settings.steps) / pipeline.items.length, name);
      const received = (half: Half, captured: CapturedLayer[]): void => captured.forEach((layer) => merge(found, layer, half, step, timesteps[step] ?? 0));
      return { cancellation, ...(wanted.has(step) ? { capture: { request, received } } : {}) };
    });
  }
  return [...found.values()];
}

function merge(found: Map<string, LayerCapture>, captured: CapturedLayer, half: Half, step: number, timestep: number): void {
  const key = `${captured.name} ${half} ${step}`;
  const known = found.get(key);
  if (!known) {
    const { name: layer, rows, nonFinite, absMax, meanSquare, sample, before, after, rho } = captured;
    found.set(key, { layer, half, step, timestep, rows, nonFinite, absMax, meanSquare, sample, before: numbers(before), after: numbers(after), rho });
    return;
  }
  const rows = known.rows + captured.rows;
  known.absMax = known.absMax.map((value, i) => Math.max(value, captured.absMax[i] ?? 0));
  known.meanSquare = known.meanSquare.map((value, i) => (value * known.rows + (captured.meanSquare[i] ?? 0) * captured.rows) / rows);
  known.rho = Math.max(known.rho, captured.rho);
  known.nonFinite += captured.nonFinite;
  known.rows = rows;
}

function numbers({ ks, wasserstein1, excessKurtosis, maxAbs }: Marginal): LayerCapture['before'] {
  return { ks, wasserstein1, excessKurtosis, maxAbs };
}

/** As a safetensors file: `<layer>/<half>/step<k>/absmax`, `…/mean_square`, `…/sample`, and the numbers as JSON text in the metadata. */
export function captureTensors(captures: readonly LayerCapture[]): { tensors: Record<string, TensorValues>; metadata: Record<string, string> } {
  const tensors: Record<string, TensorValues> = {};
  for (const { layer, half, step, absMax, meanSquare, sample } of captures) {
    const at = `${layer}/${half}/step${step}`;
    const width = absMax.length;
    tensors[`${at}/absmax`] = { shape: [width], data: absMax };
    tensors[`${at}/mean_square`] = { shape: [width], data: meanSquare };
    tensors[`${at}/sample`] = { shape: [sample.length / width, width], data: sample };
  }
  const about = captures.map(({ layer, half, step, timestep, rows, nonFinite, before, after, rho }) => ({ layer, half, step, timestep, rows, nonFinite, before, after, rho }));
  return { tensors, metadata: { format: 'quantscope-capture-1', layers: JSON.stringify(about) } };
}

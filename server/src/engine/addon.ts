/**
 * The native addon's interface, as native/src/addon implements it. Types only; engine/host.ts is the one file that loads the addon.
 *
 * Every job returns { promise, cancel }. cancel() makes the promise reject with an Error whose `code` is 'CANCELLED' within 50 ms.
 * Other failures carry `code` 'IO' (file missing, too short, read error), 'ARGUMENT' (nonsense request) or 'MEMORY'. Messages name the file and what was expected.
 * `progress(fraction)` is called on the JavaScript thread with 0..1, at most about 20 times a second.
 */
import type { Program, RunRequest, RunResult } from './graph';
import type { Dtype, Marginal, Quantizer, TensorStats, Histogram, RpbhRotation } from '../protocol';

/** A row-major tensor inside a file: rows = product of all but the last dimension, columns = the last. */
export interface TensorRef { file: string; offset: number; dtype: Dtype; shape: number[] }

export interface MeasureRequest {
  tensor: TensorRef;
  /** Rotation the recipe applies before quantizing, or null. */
  rotate: RpbhRotation | null;
  /** Rotation of the `after` marginal when the recipe has none. */
  diagnosticSeed: number;
  weights: Quantizer;
  /** Bins of the marginal histograms over −6..6 standard deviations. */
  histogramBins: number;
  /** Measure this many rows, evenly spread; 0 measures all. */
  sampleRows: number;
}

export interface Measurement {
  relativeMse: number;
  expectedRelativeMse: number | null;
  before: Marginal;
  after: Marginal;
  rho: number;
  rows: number;
  sampledRows: number;
  zeroRows: number;
  /** NaN and infinite values in the measured rows. Rows that hold one are left out of every number. */
  nonFinite: number;
}

export interface StatsRequest { tensor: TensorRef; histogramBins: number }
export type StatsResult = Omit<TensorStats, 'name' | 'dtype' | 'shape'> & { histogram: Histogram | null };

/** Largest |w| per input channel, [width]; infinite where a column holds a NaN. */
export interface ColumnRange { absMax: Float32Array }

export interface Job<T> { promise: Promise<T>; cancel(): void }

export interface Codebook {
  /** Ascending reconstruction levels in units of 1/√d. */
  levels: Float64Array;
  /** Midpoints between neighbours, one fewer. */
  thresholds: Float64Array;
  /** Relative mean squared error on the sphere marginal (D·d in kernels.md C). */
  distortion: number;
}

export interface Rotation { block: number; permutation: Uint32Array; signs: Int8Array }

/** An opened program. Runs of one graph follow one another; it keeps its memory and the codes of quantized weights between them. */
export interface Graph {
  run(request: RunRequest, progress: (fraction: number) => void): Job<RunResult>;
  /** Frees everything once the last run has ended. Later runs fail with ARGUMENT. */
  close(): void;
}

export interface Addon {
  version(): string;
  /** cpuLevel: the dispatch table in use; supportedLevels: all this processor could use, best first. */
  cpu(): { level: string; supported: string[]; threads: number };
  /** Size of the worker pool; 0 = one per processor. Takes effect for the next job. */
  setThreads(count: number): void;
  measure(request: MeasureRequest, progress: (fraction: number) => void): Job<Measurement>;
  stats(request: StatsRequest, progress: (fraction: number) => void): Job<StatsResult>;
  /** One pass over a weight [out, …]. */
  columnRange(request: { tensor: TensorRef }, progress: (fraction: number) => void): Job<ColumnRange>;
  /** Checks the program and opens its files. Throws with `code` ARGUMENT (naming the op), IO or MEMORY. */
  openGraph(program: Program): Graph;
  codebook(width: number, bits: number): Codebook;
  rotation(width: number, seed: number): Rotation;
  /** Expected relative MSE of a quantizer on its design distribution; null when it has none. */
  expectedDistortion(quantizer: Quantizer, width: number): number | null;
}

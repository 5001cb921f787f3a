/**
 * The native addon's interface, as native/src/addon implements it. Types only; engine/host.ts is the one file that loads the addon.
 *
 * Every job returns { promise, cancel }. cancel() makes the promise reject with an Error whose `code` is 'CANCELLED' within 50 ms.
 * Other failures carry `code` 'IO' (file missing, too short, read error), 'ARGUMENT' (nonsense request), 'MEMORY' (of this machine or of a device) or 'DEVICE'. Messages name the file and what was expected.
 * `progress(fraction)` is called on the JavaScript thread with 0..1, at most about 20 times a second.
 */
import type { LinearRecipe, Program, RunRequest, RunResult, Transform } from './graph';
import type { CudaDevice, Dtype, Marginal, Quantizer, TensorStats, Histogram, RpbhRotation, Solver } from '../protocol';

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
  /** Why a device did not measure this, half a sentence; null when it did, and when none is used. */
  onProcessor: string | null;
}

export interface StatsRequest { tensor: TensorRef; histogramBins: number }
export type StatsResult = Omit<TensorStats, 'name' | 'dtype' | 'shape'> & { histogram: Histogram | null };

/** Largest |w| per input channel, [width]; infinite where a column holds a NaN. */
export interface ColumnRange { absMax: Float32Array }

/** DuQuant's rotation of outliers, fitted to rows of a layer's input in the coordinates it is applied to. Writes `first` F32 [1, block, block], `sources` I32 [width], `second` F32 [1, block, block]: blocks, permute, blocks. */
export interface OutlierRotationRequest { /** [rows, width], finite. */ sample: TensorRef; block: number; steps: number; order: 'zigzag' | 'round-robin'; seed: number; out: string }
/** Largest − smallest value of the sample. */
export interface OutlierRotationFit { peakBefore: number; peakAfter: number }

/** DiRotQ's basis. Writes `matrices` F32 [heads, b, b] and, with several heads, `sources` I32 [width]: blocks, permute; the `high` coordinates of largest variance then stand last. */
export interface BasisRequest { /** F32 [width, width], mean of x xᵀ. */ secondMoments: TensorRef; heads: number; high: number; seed: number; out: string }
export interface BasisFit { block: number }

/** Writes `sample` F32 [rows, width] as the transforms leave it. */
export interface TransformRequest { sample: TensorRef; transforms: Transform[]; out: string }
export interface TransformedSample { rows: number }

/** Codes of one layer, found once. Writes what PackedWeight names: `codes`, side tensors, `tail`, and `low_rank.down`, `low_rank.up` in BF16. */
export interface QuantizeLayerRequest {
  /** For messages. */
  layer: string;
  weight: TensorRef;
  /** lowRank and packed null: they are what is found. */
  recipe: LinearRecipe;
  solver: Exclude<Solver, { kind: 'adaround' }>;
  /** F32 [width, width], mean x xᵀ of the layer's inputs, before the recipe's transforms. gptq needs it; a low-rank branch is judged by it when given. */
  secondMoments: TensorRef | null;
  /** iterations: branches tried at most, each from the weight less the quantized residual of the one before. */
  lowRank: { rank: number; iterations: number } | null;
  out: string;
}
export interface LayerFit {
  /** ‖W − Ŵ‖² / ‖W‖² over the coordinates that are quantized, behind the transforms. */
  relativeMse: number;
  /** gptq: tr(Δ H Δᵀ) of rounding to nearest and of the codes that were found. */
  proxyLoss: { rtn: number; solver: number } | null;
  /** gptq: what was added to the diagonal of the second moments, and how often it had to be doubled. */
  damping: number | null;
  retries: number;
  lowRankIterations: number;
  /** gptq: as in Measurement. */
  onProcessor: string | null;
}

/** Writes `weight` BF16 in the weight's shape and original coordinates: what computes in full precision what the recipe's weights compute. */
export interface DequantizeLayerRequest { layer: string; weight: TensorRef; recipe: LinearRecipe; out: string }
/** In the original coordinates, rounding to BF16 included. */
export interface DequantizedLayer { relativeMse: number }

/**
 * AdaRound for all layers of a block at once: whether a weight is rounded up or down is learned, so that the block's outputs come close to the given ones. Layers that are not named stay in full precision.
 * Equal seeds give equal files whatever the number of threads.
 */
export interface ReconstructBlockRequest {
  /** Of the block. */
  program: Program;
  /** By the program's inputs and outputs: F32 [samples, shape of the buffer]. */
  inputs: Record<string, TensorRef>;
  outputs: Record<string, TensorRef>;
  /** Recipes with int weights and packed null. Each `out` gets what quantizeLayer writes. */
  layers: Record<string, { recipe: LinearRecipe; out: string }>;
  iterations: number;
  /** Samples of one iteration. */
  batch: number;
  seed: number;
}
export interface ReconstructedBlock {
  /** Mean squared error of the outputs over all samples: weights rounded to nearest, and with what the files hold. */
  lossBefore: number;
  lossAfter: number;
  /** False when learning ended no better than rounding to nearest, which the files then hold. */
  learned: boolean;
  /** By layer: weights that are not rounded to nearest. */
  flipped: Record<string, number>;
}

/** Tensor `second_moments` F32 [width, width], mean x xᵀ over `rows` rows. Layers that read the same input share a file. */
export interface SecondMomentsFile { layer: string; file: string; rows: number }

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
  /** Writes what runs added up into the folder, which exists, and forgets it. Empty when there is nothing. */
  takeSecondMoments(request: { folder: string }, progress: (fraction: number) => void): Job<SecondMomentsFile[]>;
  /** Frees everything once the last run has ended. Later runs fail with ARGUMENT. */
  close(): void;
}

/** What is known of CUDA without running anything on a device. device: number of the first that can be used; else reason (a stable code) and message say why there is none. */
export interface CudaState { library: string | null; devices: CudaDevice[]; device: number | null; reason: 'no-library' | 'bad-library' | 'no-driver' | 'old-driver' | 'no-device' | 'old-device' | null; message: string }

export interface Addon {
  version(): string;
  /** cpuLevel: the dispatch table in use; supportedLevels: all this processor could use, best first. */
  cpu(): { level: string; supported: string[]; threads: number };
  cuda(): CudaState;
  /** Tests all kernels of the CUDA library on the device of that number; what is wrong, or null. Blocks, and may crash: for a process of its own. */
  cudaSelfTest(device: number): string | null;
  /** From the next job on, those that can use a device use this one. */
  useCuda(device: number): void;
  /** Size of the worker pool; 0 = one per processor. Takes effect for the next job. */
  setThreads(count: number): void;
  measure(request: MeasureRequest, progress: (fraction: number) => void): Job<Measurement>;
  stats(request: StatsRequest, progress: (fraction: number) => void): Job<StatsResult>;
  /** One pass over a weight [out, …]. */
  columnRange(request: { tensor: TensorRef }, progress: (fraction: number) => void): Job<ColumnRange>;
  fitOutlierRotation(request: OutlierRotationRequest, progress: (fraction: number) => void): Job<OutlierRotationFit>;
  fitBasis(request: BasisRequest, progress: (fraction: number) => void): Job<BasisFit>;
  applyTransforms(request: TransformRequest, progress: (fraction: number) => void): Job<TransformedSample>;
  quantizeLayer(request: QuantizeLayerRequest, progress: (fraction: number) => void): Job<LayerFit>;
  dequantizeLayer(request: DequantizeLayerRequest, progress: (fraction: number) => void): Job<DequantizedLayer>;
  reconstructBlock(request: ReconstructBlockRequest, progress: (fraction: number) => void): Job<ReconstructedBlock>;
  /** Checks the program and opens its files. Throws with `code` ARGUMENT (naming the op), IO or MEMORY. */
  openGraph(program: Program): Graph;
  codebook(width: number, bits: number): Codebook;
  rotation(width: number, seed: number): Rotation;
  /** Expected relative MSE of a quantizer on its design distribution; null when it has none. */
  expectedDistortion(quantizer: Quantizer, width: number): number | null;
}

/**
 * A model as the engine runs it: a straight-line program over float32 buffers. TypeScript builds it from a checkpoint (server/src/models), native/src/graph runs it.
 * Types only. Buffers are row-major with fixed shapes; an op writes exactly one buffer, every buffer is written once (by an input, or by one op), and ops stand in order of execution.
 * Weights are named by place in a file and read when needed; they are never copied through JavaScript.
 */
import type { TensorRef } from './addon';
import type { Marginal, Quantizer, RpbhRotation } from '../protocol';

/** Index into Program.buffers. */
export type Buffer = number;

export interface Program {
  /** Shapes, outermost first. */
  buffers: number[][];
  inputs: Record<string, Buffer>;
  outputs: Record<string, Buffer>;
  ops: Op[];
}

export type Op =
  /** y = x Wᵀ + b over the last axis of x. `name` is the layer's name, which recipes and captures are keyed by. A weight with more than two dimensions is flattened to [out, rest]; null for a layer that runs from packed codes alone. */
  | { op: 'linear'; name: string; x: Buffer; weight: TensorRef | null; bias: TensorRef | null; out: Buffer }
  /** Data that the graph file computed (positions, angles). */
  | { op: 'constant'; data: Float32Array; out: Buffer }
  /** A tensor of the checkpoint as float32 data. */
  | { op: 'tensor'; tensor: TensorRef; out: Buffer }
  /** One row of a table [rows, D]; `index` is a buffer of one element, rounded to the nearest integer. Out of range is an error that names the table's bounds. */
  | { op: 'row'; table: TensorRef; index: Buffer; out: Buffer }
  /** Timestep embedding [cos | sin]: f_k = exp(−ln(10000)·k/(dim/2 − shift)), argument scale·t·f_k in float32; t is a buffer of one element. */
  | { op: 'timestep'; t: Buffer; dim: number; shift: number; scale: number; out: Buffer }
  /** Over the last axis, biased variance; affine where tensors are given. */
  | { op: 'layernorm'; x: Buffer; eps: number; weight: TensorRef | null; bias: TensorRef | null; out: Buffer }
  | { op: 'rmsnorm'; x: Buffer; eps: number; weight: TensorRef; out: Buffer }
  /** x [C, …] in groups of consecutive channels; weight and bias [C]. */
  | { op: 'groupnorm'; x: Buffer; groups: number; eps: number; weight: TensorRef; bias: TensorRef; out: Buffer }
  /** x [C, …]: x / max(‖x‖₂ over channels, 1e-12) · √C · weight[C]. */
  | { op: 'channelnorm'; x: Buffer; weight: TensorRef; out: Buffer }
  /** x·(1 + scale) + shift; scale and shift [D] apply to every row of x […, D]. */
  | { op: 'modulate'; x: Buffer; shift: Buffer; scale: Buffer; out: Buffer }
  /** x + gate·y; gate [D]. */
  | { op: 'gateAdd'; x: Buffer; gate: Buffer; y: Buffer; out: Buffer }
  /** numpy broadcasting. */
  | { op: 'binary'; kind: 'add' | 'sub' | 'mul'; a: Buffer; b: Buffer; out: Buffer }
  | { op: 'unary'; kind: 'silu' | 'gelu_tanh' | 'tanh' | 'relu'; x: Buffer; out: Buffer }
  /** clamp(mul·x + add, low, high); null = no bound. */
  | { op: 'affine'; x: Buffer; mul: number; add: number; low: number | null; high: number | null; out: Buffer }
  /** softmax(q kᵀ/√d + bias) v per head; q [T, H·d], k and v [S, H·d], bias [S] added to every query. Exact softmax, memory linear in S. */
  | { op: 'attention'; q: Buffer; k: Buffer; v: Buffer; heads: number; bias: Buffer | null; out: Buffer }
  /** Interleaved pairs (2i, 2i+1) of every head; cos and sin [T, d/2], x [T, H·d]. */
  | { op: 'rope'; x: Buffer; cos: Buffer; sin: Buffer; heads: number; out: Buffer }
  /** View x as `shape`, then order its axes by `axes` (numpy transpose), then view as the shape of `out`. Identity axes are a reshape. */
  | { op: 'permute'; x: Buffer; shape: number[]; axes: number[]; out: Buffer }
  | { op: 'slice'; x: Buffer; axis: number; start: number; end: number; out: Buffer }
  | { op: 'concat'; xs: Buffer[]; axis: number; out: Buffer }
  /** Nearest neighbour along every axis: source index = floor(i · in / out). */
  | { op: 'resize'; x: Buffer; out: Buffer }
  /** Stride 1. x [C, H, W] with weight [O, C, kh, kw], or x [C, T, H, W] with weight [O, C, kt, kh, kw]: zero padding k/2 in H and W, none in T. */
  | { op: 'conv'; x: Buffer; weight: TensorRef; bias: TensorRef | null; out: Buffer };

/** Done to x in order; the rows of the weight get the inverse transpose, so that x Wᵀ stays. Tensors are named by place in small files; those do not change while a graph is open. */
export type Transform =
  /** x_j · v_j, weights w_j / v_j. values F32 [d], finite, not 0. */
  | { kind: 'scale'; values: TensorRef }
  /** y_j = x[sources_j]. sources I32 [d]. */
  | { kind: 'permute'; sources: TensorRef }
  | RpbhRotation
  /** Hadamard matrix over the whole width times random signs; widths that methods/hadamard.ts knows an order for. */
  | { kind: 'hadamard'; seed: number }
  /** Dense random orthogonal matrix, d ≤ 4608. */
  | { kind: 'random'; seed: number }
  /** y_block = M x_block. matrices F32 [d/b, b, b], or [1, b, b] shared by all blocks; orthogonal. */
  | { kind: 'blocks'; matrices: TensorRef };

/** How one linear runs: what a Recipe comes to once its statistics are there. A layer without one runs in full precision. */
export interface LinearRecipe {
  transforms: Transform[];
  /** The last so many coordinates behind the transforms stay in high precision: weights BF16, activations as they are. */
  tail: number;
  /** y += (x_t downᵀ) upᵀ, x_t behind the transforms and before quantizing; the weights hold what up · down leaves. down [r, d], up [out, r], BF16 or F32. */
  lowRank: { down: TensorRef; up: TensorRef } | null;
  weights: Quantizer;
  activations: Quantizer;
  /** For activations with a static range: of calibration. */
  activationRange: { low: number; high: number } | null;
  /** Codes that a solver found; null rounds the transformed weight to nearest. */
  packed: PackedWeight | null;
  /** Codes multiplied as integers, as a deployed model would, instead of the floats they stand for. A recipe that does not fit runs on floats, and RunResult.integers says why. */
  execution?: 'integer';
}

/** Little-endian bitstream of codes per row, U8 [out, ceil(n · bits / 8)], n = d − tail; what the quantizer keeps beside them; tail BF16 [out, tail]. */
export interface PackedWeight { codes: TensorRef; sides: Record<string, TensorRef>; tail: TensorRef | null }

export interface RunRequest {
  inputs: Record<string, Float32Array>;
  /** By layer name. A name that no linear has is an error. */
  recipes: Record<string, LinearRecipe>;
  /** Layers whose inputs are to be described; empty for none. */
  capture: CaptureRequest | null;
  /** Runs on the device that the engine uses, if it uses one, with activations of this type; what a device does not take runs on the processor. Without it: the processor, float32. */
  device?: 'float32' | 'bfloat16';
}

export interface CaptureRequest { layers: string[]; /** Seed of the RPBH rotation that the marginal is taken after. */ seed: number; histogramBins: number; /** Rows kept per layer, evenly spread. */ sampleRows: number; /** Adds the rows to the second moments of the layers as well, which together may take so much memory. They stay with the graph until taken; a run that fails forgets them. */ secondMoments: { maxBytes: number } | null }

/** What went into one linear, streamed: no activation is kept beyond the sample. */
export interface CapturedLayer {
  name: string;
  rows: number;
  width: number;
  /** Largest |x| per channel, [width]. */
  absMax: Float32Array;
  /** Mean of x² per channel, [width]. */
  meanSquare: Float32Array;
  /** [sampled rows, width]. */
  sample: Float32Array;
  before: Marginal;
  after: Marginal;
  rho: number;
  nonFinite: number;
}

/** How a layer ran whose recipe asks for integers. */
export interface IntegerLayer {
  name: string;
  /** Why it ran on floats, as the end of a sentence that begins with its name; null when it ran on integers. */
  reason: string | null;
  /** Codebooks run on integers near their levels: mean squared difference over mean square of the levels, 0 where the integers are the levels. Lower is better. */
  weightSurrogate: number;
  activationSurrogate: number;
}

/** How a run used a device. */
export interface DeviceUse {
  name: string;
  /** Linears and ops that ran on the processor, each once. reason: the end of a sentence that begins with the name. */
  processor: { name: string; reason: string }[];
  /** Of the linears on the device, packed, and of those that stay there; the others are copied in every run. */
  weightBytes: number;
  residentBytes: number;
}

export interface RunResult {
  outputs: Record<string, Float32Array>;
  captured: CapturedLayer[];
  /** The first linear whose output held a NaN or infinite value, or null. */
  firstNonFinite: string | null;
  /** Of layers whose recipe asks for integers, in the order in which they ran. */
  integers: IntegerLayer[];
  /** Multiply-adds of all linears, attentions and convolutions, times two. */
  flops: number;
  /** Null when it ran on the processor. */
  device: DeviceUse | null;
}

/** Recipes of layers, and plans: what a config makes of a checkpoint. */
import type { Role, TensorInfo } from './checkpoint';
import type { Problem, Range } from './shared';

export type ScaleDtype = 'fp16' | 'bf16' | 'fp32';
export type KeepDtype = 'original' | 'bf16' | 'fp16' | 'fp32';

/** How many values share a scale: 'row' (per output channel, or per token), 'tensor', or a number of consecutive inputs. */
export type Granularity = number | 'row' | 'tensor';

/** Integer round to nearest. */
export interface IntQuantizer {
  kind: 'int';
  bits: number;
  symmetric: boolean;
  group: Granularity;
  scale: ScaleDtype;
  /** Weights. 'mse': the range of every group is shrunk by grid search (p = 2.4, 100 steps, at most by .8; QuaRot). A number in (0, 1] is a fixed share of the range (DuQuant). Absent: the whole range. */
  clip?: 'mse' | number;
  /** Activations. One range per tensor from calibration, group 'tensor'. Absent: the values' own range at run time. */
  range?: 'static';
  /** Activations. Added to the inputs of the layer, before smoothing, and taken off after quantizing; codes are then unsigned, 0..2^bits−1 with scale max / (2^bits − 1) (SVDQuant: 0.171875 for GELU outputs). */
  shift?: number;
}
/** Lloyd–Max codebook of the sphere marginal, one norm per row (weights) or token (activations). OrbitQuant Eq 3–8. */
export interface CodebookQuantizer { kind: 'codebook'; bits: number; norm: ScaleDtype }
/** Fixed-step mid-rise: (q + ½)·Δ·norm/√d, q ∈ [−2^(bits−1), 2^(bits−1) − 1], Δ the best step for the sphere marginal. One norm per row or token. */
export interface MidRiseQuantizer { kind: 'midrise'; bits: number; norm: ScaleDtype }
/** Twin-log, weights only (LRQ-DiT Eq 3–7): uniform in log2, positive and negative weights apart. corrected: fitted per row; released: as the authors' program does it. */
export interface TwinLogQuantizer { kind: 'twin-log'; bits: number; form: 'corrected' | 'released' }
/** Small floats with a scale per group. fp4 is E2M1 and fp8 E4M3, both with FP16 scales; nvfp4 has E4M3 scales per 16 and one float32 scale per tensor; mxfp4 and mxfp8 have E8M0 scales per 32 (OCP MX 1.0). */
export interface FloatQuantizer { kind: 'float'; format: FloatFormat; group: Granularity }
export type FloatFormat = 'fp4' | 'nvfp4' | 'mxfp4' | 'fp8' | 'mxfp8';
/** No quantization: the values are stored as this type. */
export interface KeepQuantizer { kind: 'keep'; dtype: KeepDtype }
export type Quantizer = IntQuantizer | CodebookQuantizer | MidRiseQuantizer | TwinLogQuantizer | FloatQuantizer | KeepQuantizer;

/** Per-channel factors λ, x / λ and W · λ, from calibration. */
export type Smoothing =
  /** λ = largest |x| of the channel. */
  | { kind: 'absmax' }
  /** λ = max|x|^alpha / max|w|^beta. SmoothQuant has alpha + beta = 1. */
  | { kind: 'smoothquant'; alpha: number; beta: number }
  /** SVDQuant: the alpha and beta of a grid of `steps` that give the least output error. */
  | { kind: 'search'; steps: number }
  /** PTQ4DiT's channel-wise salience balancing, with time steps weighted by exp(−Spearman ρ). */
  | { kind: 'csb' };

/** Order of the input channels. zigzag: by largest |x|, dealt back and forth to blocks of `block` (DuQuant). */
export type Permutation = { kind: 'random'; seed: number } | { kind: 'zigzag'; block: number };

/** Randomised permuted block Hadamard, OrbitQuant Eq 9. The block is the largest power of two that divides the width. */
export interface RpbhRotation { kind: 'rpbh'; seed: number }
/** Orthogonal transform of the inputs; weights get the same, so that the product stays. */
export type Rotation =
  | RpbhRotation
  /** Hadamard matrix over the whole width times random signs (QuaRot). */
  | { kind: 'hadamard'; seed: number }
  /** Dense random orthogonal matrix. */
  | { kind: 'random'; seed: number }
  /** DuQuant and LRQ-DiT: greedy rotation of the outlier channels in blocks, a permutation, a second rotation. */
  | { kind: 'outlier-aware'; block: number; steps: number; order: 'zigzag' | 'round-robin'; seed: number }
  /** DiRotQ: eigenvectors of the inputs' second moments, the low part mixed by a random orthogonal matrix. perHead: one basis for each attention head. */
  | { kind: 'pca'; perHead: boolean; seed: number }
  /** LRQ-DiT: hadamard for layers whose signal is below the threshold, outlier-aware from it on. */
  | { kind: 'adaptive'; threshold: number; signal: 'rms' | 'peak-to-rms'; seed: number };

/** How codes are found. Damping is a share of the mean diagonal of the second moments. */
export type Solver =
  | { kind: 'rtn' }
  | { kind: 'gptq'; damping: number; actOrder: boolean; staticGroups: boolean }
  | { kind: 'adaround'; iterations: number };

/** Share of the (transformed) input coordinates that stay in high precision on both sides: the last ones. */
export interface Tail { fraction: number; dtype: 'bf16' }
/** High-precision branch of rank r beside the quantized rest: W ≈ up·down + Q(W − up·down). */
export interface LowRank { rank: number; iterations: number; dtype: 'bf16' }

/** How one layer is quantized: smooth, permute, rotate, split off a tail and a low-rank branch, quantize. Plain data; its canonical JSON is what reports and caches are keyed by. */
export interface Recipe {
  method: string;
  smooth: Smoothing | null;
  permute: Permutation | null;
  rotate: Rotation | null;
  tail: Tail | null;
  lowRank: LowRank | null;
  weights: Quantizer;
  activations: Quantizer;
  solver: Solver;
}

/** Where a plan's decision was written. rule -1 means `defaults`. */
export interface Decision { rule: number; name: string; range: Range }

export interface LayerPlan {
  name: string;
  role: Role;
  block: string | null;
  inFeatures: number;
  outFeatures: number;
  params: number;
  tensor: TensorInfo;
  recipe: Recipe;
  decidedBy: Decision | null;
  /** How many attention heads the inputs consist of; null when they come from no attention. */
  heads: number | null;
  /** Input coordinates that stay in high precision, the last ones after the transforms. */
  tail: number;
  weightBits: number;
  activationBits: number;
  /** Codes and per-row or per-group side data. What layers share is in PlanTotals.sharedBytes. */
  packedBytes: number;
  /** packedBytes · 8 / params. */
  averageBits: number;
}

/** What one entry of a config (a rule, or one of its patterns) takes. */
export interface EntryMatch {
  /** The pattern or rule as written. */
  text: string;
  range: Range;
  matchedLayers: number;
  /** Share of all linear weights, percent. */
  matchedParamsPercent: number;
}

export interface RuleMatch extends EntryMatch {
  name: string;
  patterns: EntryMatch[];
  /** Layers whose final recipe this rule decides: matched and not overridden by a later rule. */
  decidedLayers: number;
  /** Average bits of the decided layers, side data included; null when it decides none. */
  averageBits: number | null;
}

export interface PlanTotals {
  layers: number;
  params: number;
  /** Packed linear weights, side data and sharedBytes included. */
  packedBytes: number;
  /** Codebooks, permutations and signs that several layers share. Part of packedBytes. */
  sharedBytes: number;
  /** packedBytes · 8 / params. */
  averageBits: number;
  /** The same linear weights as the checkpoint stores them; of a packed layer, as it was before. */
  baselineBytes: number;
  /** Tensors that are not linear weights, kept as they are. */
  otherBytes: number;
  /** packedBytes + otherBytes: what the quantized file holds. `budget.size` bounds this. */
  checkpointBytes: number;
}

export interface Plan {
  checkpoint: string;
  revision: string;
  architecture: string;
  layers: LayerPlan[];
  rules: RuleMatch[];
  totals: PlanTotals;
  problems: Problem[];
  hash: string;
}

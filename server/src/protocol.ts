/**
 * Every custom message and every data type that crosses a process border. Types only: client and webview import nothing else from the server.
 *
 * Units, once for all: sizes in bytes, positions 0-based in UTF-16 code units (LSP), shapes outermost first, errors relative to the energy of the original,
 * SQNR in dB (higher is better), marginal distances in units of the marginal's standard deviation 1/√d.
 * docs/protocol.md repeats this file for readers; a test holds the two together.
 */

// ---------------------------------------------------------------------------------------------------------------- shared

export interface Position { line: number; character: number }
export interface Range { start: Position; end: Position }

export type Severity = 'error' | 'warning' | 'info' | 'hint';

/** One finding about a file. `code` is stable and listed in docs/problems.md. */
export interface Problem {
  code: string;
  severity: Severity;
  message: string;
  /** Path of the file that is meant, when it is not the file that was asked about. */
  file?: string;
  range?: Range;
  /** What a quick fix needs to know. */
  data?: ProblemData;
}
export type ProblemData = { fix: 'replace'; range: Range; text: string; title: string };

// ------------------------------------------------------------------------------------------------------------ checkpoint

export type Dtype =
  | 'BOOL' | 'F4' | 'F6_E2M3' | 'F6_E3M2' | 'U8' | 'I8' | 'F8_E5M2' | 'F8_E4M3' | 'F8_E8M0' | 'F8_E4M3FNUZ' | 'F8_E5M2FNUZ'
  | 'I16' | 'U16' | 'F16' | 'BF16' | 'I32' | 'U32' | 'F32' | 'C64' | 'F64' | 'I64' | 'U64';

export interface TensorInfo {
  name: string;
  dtype: Dtype;
  shape: number[];
  /** Absolute path of the file that holds the data. */
  file: string;
  /** Position of the first byte from the start of that file. */
  offset: number;
  bytes: number;
}

/** What a linear layer does in its block. One vocabulary for every architecture. */
export type Role =
  | 'q' | 'k' | 'v' | 'qkv' | 'attention-out'
  | 'cross-q' | 'cross-k' | 'cross-v' | 'cross-attention-out'
  | 'context-q' | 'context-k' | 'context-v' | 'context-qkv' | 'context-attention-out'
  | 'ffn-gate' | 'ffn-up' | 'ffn-down' | 'context-ffn-gate' | 'context-ffn-up' | 'context-ffn-down' | 'single-in' | 'single-out'
  | 'modulation' | 'embedder' | 'final' | 'other';

export interface Layer {
  /** Module path, the tensor's name without `.weight`. */
  name: string;
  role: Role;
  /** Path of the repeated block the layer lives in (`transformer_blocks.3`), or null outside of every block. */
  block: string | null;
  inFeatures: number;
  outFeatures: number;
  /** Weights only; a bias is not counted. */
  params: number;
  /** The weight, [outFeatures, inFeatures] row-major. */
  tensor: TensorInfo;
}

export interface Checkpoint {
  /** Absolute path the user named. */
  path: string;
  kind: 'safetensors' | 'sharded' | 'diffusers';
  /** diffusers class name, or 'unknown'. */
  architecture: string;
  /** The component's own config.json where there is one. */
  config: Record<string, unknown> | null;
  metadata: Record<string, string>;
  /** Sorted by file, then offset. */
  tensors: TensorInfo[];
  /** In model order (natural order of names). */
  layers: Layer[];
  problems: Problem[];
  /** Changes when any file the index was read from changes. */
  revision: string;
}

// ------------------------------------------------------------------------------------------------------- recipe and plan

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
  /** Activations. Added before quantizing, taken off after; codes are then unsigned, 0..2^bits−1 with scale max / (2^bits − 1) (SVDQuant: 0.171875 for GELU outputs). */
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

// --------------------------------------------------------------------------------------------------------------- reports

/** Fixed-width histogram. counts[0] holds everything below lo, the last everything at or above hi. */
export interface Histogram { lo: number; hi: number; counts: number[] }

/** Rows of a weight divided by their norm and multiplied by √d, against the fixed marginal of a random unit vector (OrbitQuant Eq 2). */
export interface Marginal {
  /** Kolmogorov–Smirnov distance, 0..1, exact to 1e-4. */
  ks: number;
  /** Wasserstein-1 distance in standard deviations of the marginal. */
  wasserstein1: number;
  excessKurtosis: number;
  /** Largest |coordinate| in standard deviations. */
  maxAbs: number;
  histogram: Histogram;
}

export interface WeightError {
  /** ‖W − Ŵ‖² / ‖W‖², in the coordinates that are quantized. */
  relativeMse: number;
  /** −10 log10 relativeMse in dB, higher is better; null when the error is exactly 0. */
  sqnrDb: number | null;
  /** What this quantizer gives on its design distribution; null when it has none. */
  expectedRelativeMse: number | null;
}

export interface LayerReport {
  name: string;
  weight: WeightError;
  marginal: Marginal & {
    /** Proposition 1's ρ (δ = 0.01), largest over the rows before rotation. Far above 1: the rotation cannot promise the marginal. */
    rho: number;
    /** True when the numbers directly in `marginal` are after rotation, as the recipe quantizes them. */
    rotated: boolean;
    before: Marginal;
    after: Marginal;
  };
  rows: number;
  /** Rows that were measured; fewer than `rows` in a sampled first answer. */
  sampledRows: number;
  zeroRows: number;
  nonFinite: number;
  /** Key of the cache: tensor identity, recipe and engine version. */
  key: string;
}

export interface TensorStats {
  name: string;
  dtype: Dtype;
  shape: number[];
  count: number;
  min: number | null;
  max: number | null;
  mean: number | null;
  std: number | null;
  absMax: number | null;
  /** Excess kurtosis. */
  kurtosis: number | null;
  nan: number;
  inf: number;
  zeros: number;
  histogram: Histogram | null;
}

export interface EngineInfo { version: string; cpuLevel: string; supportedLevels: string[]; threads: number; pid: number; cuda: { available: boolean; reason: string } }

// --------------------------------------------------------------------------------------------------------------- preview

/** How a preview runs: the `preview` section of a config, with every default filled in. */
/** Sampling runs of the full-precision model that statistics are gathered from; none shares its seed with a preview. */
export interface CalibrationSettings { /** Runs, over other classes or prompts where there are several. */ trajectories: number; /** Sampling steps of each; all are captured. */ steps: number; /** Sample rows kept per layer input. */ rows: number; seed: number }

export interface PreviewSettings {
  /** Class labels of a class-conditional model, one item each; empty for models of text. */
  classes: number[];
  /** Prompts of a text-conditional model, one item each, as written: text whose embeddings lie in `prompts/` beside the config, or the path of such a file (docs/prompts.md). Empty for models of classes. */
  prompts: string[];
  steps: number;
  seed: number;
  /** Classifier-free guidance; 1 (0 for Z-Image) runs the conditional half alone. FLUX.1-dev takes it as an input. */
  guidance: number;
  /** Size of the pictures, pixels. */
  width: number;
  height: number;
  /** Pictures of a video; 1 for image models. */
  frames: number;
  /** `vae`: the pipeline's own. Otherwise the path of a tiny decoder, relative to the config. */
  decoder: string;
  /** forced: the quantized model runs at stored points of the reference trajectory. free: it samples on its own. */
  mode: 'forced' | 'free';
  /** How many steps of the trajectory are compared, evenly spread, the last included; in forced mode only these are run. */
  compareSteps: number;
}

/** What a preview quantizes. */
export interface PreviewScope { quantizedLayers: number; layers: number; /** Share of the linear weights in quantized layers, percent. */ paramsPercent: number; /** Average bits per linear weight, side data included. */ averageBits: number }

/** Agreement with the reference. Cosine and SSIM: 1 is equal. PSNR in dB, higher is better; null when equal. */
export interface PreviewAgreement { latentCosine: number; latentPsnrDb: number | null; psnrDb: number | null; ssim: number }

export interface PreviewStep extends PreviewAgreement {
  /** 0-based step of the trajectory. */
  step: number;
  timestep: number;
  /** ‖quantized − reference‖² / ‖reference‖² of the model's output, mean over the items; lower is better. In free mode the inputs differ as well. */
  outputRelativeMse: number;
}

/** One picture. candidate −1 is the reference. */
export interface PreviewFrame {
  candidate: number;
  /** Index into PreviewResult.items. */
  item: number;
  /** Frame of a video; 0 for pictures. */
  frame: number;
  /** The model's estimate of the clean picture at this step; null for the finished sample. */
  step: number | null;
  width: number;
  height: number;
  /** PNG, base64. */
  png: string;
}

export interface PreviewCandidate { label: string; uri: string; /** Index of the rule that alone was applied, or null. */ rule: number | null; scope: PreviewScope; /** Free: of the finished sample. Forced: mean over the compared steps. */ metrics: PreviewAgreement; perStep: PreviewStep[] }

export interface PreviewResult {
  architecture: string;
  settings: PreviewSettings;
  /** What each item shows: "class 3: digit 3". */
  items: string[];
  /** A broken reference makes every comparison worthless: it is checked first. */
  reference: { finite: boolean; uniform: boolean; /** Read from the cache, not computed. */ cached: boolean };
  candidates: PreviewCandidate[];
  /** Forced: for every compared step one picture of reference and candidates. Free: the finished samples. */
  frames: PreviewFrame[];
  milliseconds: number;
}

/** Before a long run: what it costs, and what would be cheaper. */
export interface PreviewEstimate { seconds: number; /** Floating point operations, two per multiply-add. */ flops: number; /** Measured on this machine, per second. */ rate: number; referenceCached: boolean; /** Part of `flops`: runs of the full-precision model for statistics that are not there yet. */ calibrationFlops: number; suggestion: string | null }

// --------------------------------------------------------------------------------------------------------------- capture

/** The two halves of classifier-free guidance see different activations. Without guidance there is the conditional one alone. */
export type Half = 'conditional' | 'unconditional';

/** What went into one linear layer at one step of the full-precision trajectories, over all items. */
export interface CaptureNumbers {
  layer: string;
  half: Half;
  /** 0-based step of the trajectory. */
  step: number;
  timestep: number;
  /** Rows of activations (tokens). */
  rows: number;
  /** NaN and infinite values; their rows are left out of every other number. */
  nonFinite: number;
  /** Largest |x|. */
  absMax: number;
  /** Dynamic range over channels: largest |x| of the largest channel over that of the median channel, 1 or more; null when the median channel is 0 throughout. */
  channelRange: number | null;
  /** Normalised rows of the first item against the fixed marginal, before and after the rotation of seed 0. */
  before: Omit<Marginal, 'histogram'>;
  after: Omit<Marginal, 'histogram'>;
  /** Proposition 1's ρ (δ = 0.01), largest over the rows. */
  rho: number;
}

export interface Capture {
  architecture: string;
  /** What the trajectories show: "class 3: digit 3". */
  items: string[];
  /** Length of the trajectory; captured are the compared steps. */
  steps: number;
  layers: CaptureNumbers[];
}

// -------------------------------------------------------------------------------------------------------- custom messages

export interface AnalyzeParams {
  /** The config. Its text in the editor counts, saved or not. */
  uri: string;
  /** Pattern list that narrows the layers. */
  layers?: string[];
  /** Measure at most this many rows of every layer. */
  sampleRows?: number;
  workDoneToken?: string | number;
}
export interface AnalyzeResult { plan: Plan; layers: LayerReport[]; failures: { name: string; message: string }[]; cached: number; milliseconds: number }
/** Sent as layers become known, so that charts fill while the job runs. */
export interface ReportsParams { uri: string; layers: LayerReport[]; done: number; total: number }

export interface PlanParams { uri: string }
export interface PlanResult { plan: Plan; reports: LayerReport[] }

export interface CheckpointParams { path: string }
export interface TensorStatsParams { path: string; tensor: string }
export interface NewConfigParams { checkpoint: string; method: string; scheme: string; /** Folder the config will live in. */ folder: string }
export interface NewConfigResult { text: string; fileName: string }
export interface WriteReportParams { uri: string; workDoneToken?: string | number }
export interface WriteReportResult { html: string; markdown: string; json: string }

export interface PreviewParams {
  /** Compared with the same reference, side by side. All must name the same checkpoint and settings; those of the first count. */
  candidates: { uri: string; /** Apply only this rule (index), everything else in full precision. */ rule?: number }[];
  /** Sent back with every picture. */
  session: number;
  workDoneToken?: string | number;
}
/** One estimate for all candidates of a preview; the reference they share counts once. */
export interface PreviewEstimateParams { uris: string[] }
/** Pictures as they become known. */
export interface PreviewFrameParams { session: number; frame: PreviewFrame; items: string[] }

export interface CaptureParams {
  uri: string;
  /** Safetensors file to write. What is there is replaced. */
  path: string;
  workDoneToken?: string | number;
}
export interface OpenCaptureParams { path: string }

/** Health of the server and its engine, for the status item. */
export interface StatusParams {
  health: 'ok' | 'busy' | 'warning' | 'error';
  message: string;
  engine: 'idle' | 'starting' | 'running' | 'stopped' | 'failed';
  info: EngineInfo | null;
}

/** Method names, requests first, then notifications. The value type names parameter and result. */
export interface Requests {
  'quantscope/analyze': { params: AnalyzeParams; result: AnalyzeResult };
  'quantscope/plan': { params: PlanParams; result: PlanResult };
  'quantscope/checkpoint': { params: CheckpointParams; result: Checkpoint };
  'quantscope/tensorStats': { params: TensorStatsParams; result: TensorStats };
  'quantscope/newConfig': { params: NewConfigParams; result: NewConfigResult };
  'quantscope/writeReport': { params: WriteReportParams; result: WriteReportResult };
  'quantscope/preview': { params: PreviewParams; result: PreviewResult };
  'quantscope/previewEstimate': { params: PreviewEstimateParams; result: PreviewEstimate };
  'quantscope/capture': { params: CaptureParams; result: Capture };
  'quantscope/openCapture': { params: OpenCaptureParams; result: Capture };
  'quantscope/restartEngine': { params: null; result: EngineInfo };
}
export interface Notifications {
  'quantscope/reports': ReportsParams;
  'quantscope/planChanged': { uri: string };
  'quantscope/previewFrame': PreviewFrameParams;
  'quantscope/status': StatusParams;
}

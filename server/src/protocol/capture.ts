/** Captured activations. */
import type { Finding, Thresholds } from './findings';
import type { PreviewDevice } from './preview';
import type { Histogram, Marginal } from './reports';

/** The two halves of classifier-free guidance see different activations. Without guidance there is the conditional one alone. */
export type Half = 'conditional' | 'unconditional';

/** What went into one linear layer at one step of the full-precision trajectories, over all items. */
export interface CaptureNumbers {
  layer: string;
  half: Half;
  /** 0-based step of the trajectory. */
  step: number;
  timestep: number;
  /** Channels. */
  width: number;
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
  /** How many of the sampled rows are independent, at most: n² / Σ (uᵢ·uⱼ)² over normalised rows. 1 when all point the same way; 0 when every row is zero. Sampling noise of `after` goes with the width times this. */
  effectiveRows: number;
  /** Of the normalised coordinates of all items, before and after rotation, and of the fixed marginal. */
  tails: { before: TailMass; after: TailMass; expected: TailMass };
  /** The channels with the largest |x|, largest first, at most 8. */
  channels: CapturedChannel[];
  /** The channel with the largest share of Σ x². */
  topEnergy: { channel: number; share: number };
  /** Spearman's rank correlation over the channels of largest |x| and largest |w| of the layer (PTQ4DiT), −1..1. null where either is the same in all channels, or not finite. */
  salienceCorrelation: number | null;
}

/** Share of the coordinates beyond 3 and 4 standard deviations. */
export interface TailMass { beyond3: number; beyond4: number }

/** `ratio` is to the median channel's largest |x|, null when that is 0; `energy` the channel's share of Σ x². */
export interface CapturedChannel { channel: number; absMax: number; ratio: number | null; energy: number }

/** What captures say of a layer's weight. */
export interface CapturedWeight { layer: string; /** Largest |w|; null when none is finite. */ absMax: number | null; /** Input channels with NaN or infinite weights. */ nonFinite: number }

export interface Capture {
  architecture: string;
  /** What the trajectories show: "class 3: digit 3". */
  items: string[];
  /** Length of the trajectory; captured are the compared steps. */
  steps: number;
  /** That the model ran on, in bfloat16; null for the processor, in float32. */
  device: PreviewDevice | null;
  /** In the order of the forward pass. */
  layers: CaptureNumbers[];
  weights: CapturedWeight[];
  /** Of the config that was captured with. */
  thresholds: Thresholds;
}

/** One layer along the trajectory. Steps are 0-based and captured ones. */
export interface LayerOverTime {
  layer: string;
  half: Half;
  steps: number[];
  /** Largest |x| of the largest step over that of the smallest; null when one of them is 0. */
  timeRange: number | null;
  /** Beyond the thresholds of mild and salient, the largest ratio first. At a step the 8 largest channels were looked at. */
  outliers: OutlierChannel[];
  /** Mean over the steps that have one. */
  salienceCorrelation: number | null;
}

/** `steps` are those where it is an outlier; `persistent` when that is all of them. `ratio` and `energy` are the largest over the steps, `ratio` null where the median channel is silent. */
export interface OutlierChannel { channel: number; kind: 'mild' | 'salient'; ratio: number | null; energy: number; steps: number[]; persistent: boolean }

/** What is known of a layer's inputs, the largest over steps and halves of guidance: beside the numbers of its weight. */
export interface ActivationSummary {
  source: 'capture' | 'calibration';
  /** Pairs of step and half that were seen. */
  cells: number;
  absMax: number;
  channelRange: number | null;
  timeRange: number | null;
  /** Share of Σ x² in one channel; from a calibration, of its sample rows. */
  energyShare: number;
  /** KS distances to the fixed marginal; null from a calibration, which keeps none. */
  ksBefore: number | null;
  ksAfter: number | null;
  /** Mean over the cells; null where weights were not read. */
  salienceCorrelation: number | null;
}

/** ‖Q(x) Q(W)ᵀ − x Wᵀ‖² / ‖x Wᵀ‖² on rows of a layer's inputs, lower is better. */
export interface OutputError { source: ActivationSummary['source']; rows: number; relativeError: number }

/** A capture with what it says in words, at its thresholds. */
export interface CaptureResult extends Capture { findings: Finding[]; overTime: LayerOverTime[] }

/** The distribution at one layer, half and step. */
export interface CaptureCell {
  width: number;
  /** Normalised coordinates of all items, in standard deviations. */
  before: MarginalShape;
  after: MarginalShape;
  /** As in CaptureNumbers, with the largest |w| of the same input channel; null where the weight was not read. */
  channels: (CapturedChannel & { weight: number | null })[];
}

/** `quantiles` are exact: one at every edge of the histogram that has values on both sides, so they stand an even bin apart. */
export interface MarginalShape { histogram: Histogram; /** Q–Q: the marginal's quantile, and the measured one of the same share. */ quantiles: { expected: number; measured: number }[] }

/** The first layer that goes wrong: what black, flat or noisy pictures come from. */
import type { Half } from './capture';

/** Largest magnitude, the channel that has it, and how many times the median channel's largest it is; null when that is 0. */
export interface ChannelRange { absMax: number; channel: number; ratio: number | null }

export type DepartureKind = /** NaN or infinite where the clean output is finite. */ 'overflow' | /** Inputs beyond the quantizer's range. */ 'clips' | /** By its own rounding. */ 'departs' | /** By the errors of many layers before it. */ 'drift';

export type BadKind = /** NaN or infinite weights. */ 'weights' | /** Weights that are all zero. */ 'zero' | /** NaN or infinite output of the full-precision model. */ 'not finite' | DepartureKind | /** One channel far beyond the others, in a layer that neither smooths nor rotates. */ 'outlier';

export interface BadLayer {
  layer: string;
  kind: BadKind;
  /** null for what the weights alone tell. */
  at: { item: number; step: number; half: Half } | null;
  /** Of the layer's input there, or of the columns of its weight. */
  range: ChannelRange | null;
  /** Of input and output against the clean run; null where they were not compared or are not finite. */
  inputError: number | null;
  outputError: number | null;
  /** What happened and what helps. */
  explanation: string;
}

export interface FirstBad {
  /** Null when nothing is wrong. */
  first: BadLayer | null;
  /** Broken weights in order of the forward pass, then the first layer that goes wrong in a run, then the first with an outlier channel. */
  findings: BadLayer[];
  /** Relative MSE from which on an output has departed from the clean one, and how far the largest channel may stand out of the median one. */
  bounds: { relativeMse: number; channelRange: number };
}

/** Captured activations. */
import type { Marginal } from './reports';

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

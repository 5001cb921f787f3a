/** What stands out, in words, and from when on it does. */
import type { Half } from './capture';

/** Stable; one for each kind of trouble. */
export type FindingCode =
  | 'weight/not-finite' | 'weight/zero' | 'weight/deviation' | 'weight/rotation' | 'weight/rho'
  | 'activation/not-finite' | 'activation/silent' | 'activation/rotation' | 'activation/tails' | 'activation/energy' | 'activation/outlier' | 'activation/time-range';

export interface Finding {
  layer: string;
  code: FindingCode;
  /** One sentence with the numbers, and behind → what helps. */
  text: string;
  /** Where activations show it: the half of guidance, and 0-based steps in order. null for weights. */
  where: { half: Half; steps: number[] } | null;
  /** The number that stands out, the worst of `where`; null where there is none to compare. */
  value: number | null;
  /** What it went beyond. null where anything at all is too much. */
  threshold: number | null;
}

/** A finding needs more than this. The config's `findings` section sets them; what it leaves out has the default of the schema. */
export interface Thresholds {
  deviation: number;
  ksAfterRotation: number;
  rho: number;
  activationKs: number;
  tailMass: number;
  energyShare: number;
  mildChannel: number;
  salientChannel: number;
  timeRange: number;
  salienceCorrelation: number;
}

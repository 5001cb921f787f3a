/** When a number is worth a word: the one list of thresholds, with defaults, bounds and reasons. The schema, its docs and every finding read it. */
import type { Thresholds } from '../protocol';

interface Threshold { default: number; minimum: number; maximum?: number; description: string }

export const thresholdList: Readonly<Record<keyof Thresholds, Threshold>> = {
  deviation: {
    default: 1.25, minimum: 1,
    description: 'Weights: measured relative error over what the quantizer gives on its design distribution. 1 is the promise; 1.25 is 1 dB worse.',
  },
  ksAfterRotation: {
    default: 0.03, minimum: 0, maximum: 1,
    description: 'Weights: KS distance of the normalised rows to the fixed marginal behind the rotation. Coordinates whose deviations differ by a factor of 2 give 0.03, and 1.5 times the error of a 4-bit codebook. OrbitQuant reports 0.003 behind RPBH.',
  },
  rho: {
    default: 10, minimum: 0,
    description: 'Weights: ρ of Proposition 1 (δ = 0.01), largest over the rows. From about 1 on the proposition promises nothing; narrow layers reach 8 with KS as it should be.',
  },
  activationKs: {
    default: 0.05, minimum: 0, maximum: 1,
    description: 'Activations: KS distance of the normalised tokens to the fixed marginal behind the rotation, where it is also above what sampling gives (1.95 / √(width · independent tokens), one in a thousand) or `energyShare` explains it. OrbitQuant reports 0.003 behind RPBH and 0.04 to 0.5 without rotation.',
  },
  tailMass: {
    default: 0.001, minimum: 0, maximum: 1,
    description: 'Activations: share of the normalised coordinates beyond 4 standard deviations behind the rotation. The marginal has 0.00006 at most; the outermost level of a 4-bit codebook is at 2.73.',
  },
  energyShare: {
    default: 0.6, minimum: 0, maximum: 1,
    description: 'Activations: share of the energy Σ x² in one channel. The error of a token goes with all of its energy, so the other channels bear it. From 0.6 on even a rotation over the whole width leaves KS 0.04 and more: two humps, not one bell.',
  },
  mildChannel: {
    default: 14, minimum: 1,
    description: 'Activations: a channel is a mild outlier when its largest magnitude is this many times that of the median channel. At 14, a 4-bit scale for the whole token rounds the median channel to zero.',
  },
  salientChannel: {
    default: 100, minimum: 1,
    description: 'Activations: a channel is a salient outlier from here on, and a finding. SmoothQuant meets outliers of about 100 ×, LRQ-DiT of up to 245; at 254 even 8 bits round the median channel to zero.',
  },
  timeRange: {
    default: 16, minimum: 1,
    description: 'Activations: largest magnitude at the largest step over that at the smallest. At 16, one static range leaves the smallest step 4 bits less.',
  },
  salienceCorrelation: {
    default: 0.5, minimum: -1, maximum: 1,
    description: "Activations: Spearman's ρ between the largest input and the largest weight of each channel, mean over the steps. Above it, smoothing moves outliers to weights that are large already (PTQ4DiT), and findings advise against it.",
  },
};

export const thresholdKeys = Object.keys(thresholdList) as (keyof Thresholds)[];

/** @param written of the config's `findings` section */
export function thresholdsOf(written: Partial<Thresholds> | undefined): Thresholds {
  return { ...Object.fromEntries(thresholdKeys.map((key) => [key, thresholdList[key].default])) as unknown as Thresholds, ...written };
}

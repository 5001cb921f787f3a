/** Measured numbers of layers and tensors, and what the engine says of itself. */
import type { Dtype } from './checkpoint';

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

/** Which device the engine may use: `auto` takes CUDA where it works. */
export type EngineDevice = 'auto' | 'cpu' | 'cuda';
/** reason: why it cannot be used; null when it can. */
export interface CudaDevice { name: string; computeCapability: string; memoryBytes: number; reason: string | null }
/** available: a device is there and its self-test passed. reason: why not, or why it runs with fewer kernels than it has, half a sentence; else empty. library: the one that was opened. device: number among `devices` of the one in use. jobs: what runs on it. */
export interface CudaInfo { available: boolean; reason: string; library: string | null; devices: CudaDevice[]; device: number | null; jobs: string[] }
export interface EngineInfo { version: string; cpuLevel: string; supportedLevels: string[]; threads: number; pid: number; cuda: CudaInfo }

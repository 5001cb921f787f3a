/** What quantizing a part of the model does to its final output, and what keeps that number honest. */

/** What is swapped at once: one layer, all layers of a block, or all of a role. */
export type SensitivityUnit = 'layer' | 'block' | 'role';

/** One time step, means over items. Both errors: lower is better; null when an output was not finite. */
export interface StepScore {
  step: number;
  timestep: number;
  /** ‖swapped − clean‖² / ‖clean‖² of the guided output of the model. */
  relativeMse: number | null;
  /** The same of the estimate of the clean sample that the output leads to. */
  latentRelativeMse: number | null;
  /** Of that estimate, higher is better; null when equal. */
  latentPsnrDb: number | null;
}

export interface Score {
  /** Of the layer, block or role. */
  name: string;
  layers: readonly string[];
  /** Mean of latentRelativeMse over steps and items: outputs of late steps hardly move the picture, and what they lead to says so. Null when an output was not finite, which is worst. */
  score: number | null;
  direction: 'lower is better';
  perStep: StepScore[];
  /** From one captured pass; a measured number takes its place. */
  estimate: boolean;
}

/** Score with the weights alone quantized, with Gaussian noise of the same Frobenius norm in their place, and the first over the second. */
export interface NoiseControl { name: string; weights: number | null; noise: number | null; ratio: number | null }

export interface Sensitivity {
  by: SensitivityUnit;
  /** Worst first. */
  layers: Score[];
  /** Sum of the scores over the score of all of it swapped at once; null for estimates. */
  additivity: { sumOfParts: number | null; whole: number | null; ratio: number | null } | null;
  controls: { /** Suffixes that ran with nothing swapped, and values that differed from the stored run: 0. */ zeroSwap: { runs: number; differing: number }; /** Of the worst. */ noise: NoiseControl[] };
  items: string[];
}

/** The best option for every layer under a hard size bound. Sizes are of the whole checkpoint, what `budget.size` bounds; losses: lower is better. */

import type { LayerPlan } from './plan';
import type { Range } from './shared';

/** Where losses come from: of single layers (weights, outputs), of the final output of the model (sensitivity), or somebody else's. */
export type LossKind = 'weights' | 'outputs' | 'sensitivity' | 'given';

/** A budget as people write it: `6.9GB` of the whole checkpoint, or `4.5` average bits per linear weight. */
export type BudgetText = { size: string } | { bits: string };

/** A plan by its size; of the curve, the best of its size. */
export interface ParetoPoint { bytes: number; averageBits: number; /** Sum of losses. */ objective: number }

/** A plan for the layers that are chosen for. */
export interface NamedPlan extends ParetoPoint { name: string; description: string; /** Layers by option. */ counts: Record<string, number>; /** Option by layer. */ layers: Record<string, string> }

/** What a simple rule gives within the same budget. */
export type AllocationBaseline = NamedPlan;

export interface AllocatedLayer { name: string; option: string; packedBytes: number; loss: number; /** Layers that share its choice. */ tiedTo: string[] }

/** spread: standard deviation of the n samples, 0 for one. */
export interface SampleMean { mean: number; spread: number; n: number }

/** What plans were run end to end on: forced previews at the compared steps, one sample for each item and seed. */
export interface VerificationScope { items: string[]; /** Of the starting noise; losses were measured with others. */ seeds: number[]; steps: number[]; /** Plans that were not run, with the reason. */ leftOut: { name: string; reason: string }[] }

export interface FinalistMeasurement {
  /** PSNR of the clean latents that the outputs lead to, against full precision, mean over the compared steps: dB, higher is better. null: equal to full precision in all samples. */
  latentPsnrDb: SampleMean | null;
  /** Samples whose output is not finite; such a plan comes last and is not recommended. */
  notFinite: number;
  /** The first finalist's latent PSNR minus this one's in the same samples, dB; wins: samples in which the first is at least as good. null for the first, and where nothing can be compared. */
  behind: (SampleMean & { wins: number }) | null;
}

/** A plan that was run end to end. */
export interface Finalist extends NamedPlan { measured: FinalistMeasurement }

export interface Allocation extends ParetoPoint {
  budgetBytes: number;
  loss: { kind: LossKind; description: string };
  /** The recommended plan: the one of least loss, or the best finalist where plans were run end to end. Its size and loss are `bytes`, `averageBits` and `objective`. */
  plan: { layers: AllocatedLayer[]; /** Layers that rules decide, or that are packed already. */ fixed: number };
  options: string[];
  /** What the config says now, under the same losses; it may be larger than the budget. */
  current: ParetoPoint | null;
  /** Why there is no `current`; null when there is. */
  noCurrent: string | null;
  baselines: AllocationBaseline[];
  /** Of `plan` under the losses. gap: objective − bound, 0 when optimal; above 0 as well where the verified order prefers a plan of larger loss. */
  certificate: { optimal: boolean; bound: number; gap: number; method: string };
  /** From small to large. */
  pareto: ParetoPoint[];
  /** Plans that were run end to end, best first; empty when none was. */
  finalists: Finalist[];
  /** Name of the finalist that is `plan`; null when none was run. */
  recommended: string | null;
  /** null when nothing was run. */
  verification: VerificationScope | null;
}

/** One layer as the config has it and as the allocation wants it. */
export interface PlanChange { from: LayerPlan; to: LayerPlan }

/** Whole lines to replace; positions in the text that was asked about. */
export interface TextChange { range: Range; oldText: string; newText: string }

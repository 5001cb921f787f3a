/** The best option for every layer under a hard size bound. Sizes are of the whole checkpoint, what `budget.size` bounds; losses: lower is better. */

import type { LayerPlan } from './plan';
import type { Range } from './shared';

/** Where losses come from: of single layers (weights, outputs), of the final output of the model (sensitivity), or somebody else's. */
export type LossKind = 'weights' | 'outputs' | 'sensitivity' | 'given';

/** A budget as people write it: `6.9GB` of the whole checkpoint, or `4.5` average bits per linear weight. */
export type BudgetText = { size: string } | { bits: string };

/** A best plan of its size. */
export interface ParetoPoint { bytes: number; averageBits: number; /** Sum of losses. */ objective: number }

/** What a simple rule gives within the same budget. */
export interface AllocationBaseline extends ParetoPoint { name: string; description: string; /** Layers by option. */ counts: Record<string, number> }

export interface AllocatedLayer { name: string; option: string; packedBytes: number; loss: number; /** Layers that share its choice. */ tiedTo: string[] }

export interface Allocation extends ParetoPoint {
  budgetBytes: number;
  loss: { kind: LossKind; description: string };
  plan: { layers: AllocatedLayer[]; /** Layers that rules decide, or that are packed already. */ fixed: number };
  options: string[];
  baselines: AllocationBaseline[];
  /** gap: objective − bound, 0 when optimal. */
  certificate: { optimal: boolean; bound: number; gap: number; method: string };
  /** From small to large. */
  pareto: ParetoPoint[];
}

/** One layer as the config has it and as the allocation wants it. */
export interface PlanChange { from: LayerPlan; to: LayerPlan }

/** Whole lines to replace; positions in the text that was asked about. */
export interface TextChange { range: Range; oldText: string; newText: string }

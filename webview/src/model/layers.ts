/** A plan's layers joined with what was measured: the rows every chart and table of the sensitivity view is drawn from. */
import type { LayerPlan, LayerReport, Plan } from '../../../server/src/protocol';

export interface LayerRow {
  plan: LayerPlan;
  report: LayerReport | null;
  /** Why the layer could not be measured. */
  failure: string | null;
  /** Measured relative error over the expected one; null without either. */
  ratio: number | null;
}

export function joinLayers(plan: Plan, reports: ReadonlyMap<string, LayerReport>, failures: ReadonlyMap<string, string>): LayerRow[] {
  return plan.layers.map((layer) => {
    const report = reports.get(layer.name) ?? null;
    return { plan: layer, report, failure: failures.get(layer.name) ?? null, ratio: report === null ? null : deviation(report) };
  });
}

/** 1 means: exactly the error this quantizer makes on the distribution it was designed for. */
export function deviation({ weight }: LayerReport): number | null {
  const { relativeMse, expectedRelativeMse } = weight;
  return expectedRelativeMse === null || expectedRelativeMse <= 0 || relativeMse <= 0 ? null : relativeMse / expectedRelativeMse;
}

export interface Summary {
  layers: number;
  quantized: number;
  /** Share of the linear parameters that the plan quantizes, 0..1. */
  quantizedShare: number;
  averageBits: number;
  packedBytes: number;
  baselineBytes: number;
  measured: number;
}

export function summarize(plan: Plan, rows: readonly LayerRow[]): Summary {
  const quantized = plan.layers.filter(({ recipe }) => recipe.weights.kind !== 'keep');
  const params = quantized.reduce((sum, layer) => sum + layer.params, 0);
  return {
    layers: plan.layers.length,
    quantized: quantized.length,
    quantizedShare: plan.totals.params === 0 ? 0 : params / plan.totals.params,
    averageBits: plan.totals.averageBits,
    packedBytes: plan.totals.packedBytes,
    baselineBytes: plan.totals.baselineBytes,
    measured: rows.filter(({ report }) => report !== null).length,
  };
}

/** `W4A4 orbitquant`, `keep bf16`: a recipe in a few characters. */
export function recipeLabel({ recipe, weightBits, activationBits }: LayerPlan): string {
  return recipe.weights.kind === 'keep' ? `keep ${recipe.weights.dtype}` : `W${weightBits}A${activationBits} ${recipe.method}`;
}

/** What a report says about a layer in words, and from when on. */
import type { LayerPlan, LayerReport } from '../protocol';

export interface EvidenceLayer { plan: LayerPlan; report: LayerReport; /** Measured over expected relative MSE; 1 is what the quantizer promises. */ deviation: number | null }

export interface Finding { layer: string; text: string }

/** A layer is worth a word when it departs from the promise by this much. Stated in the report beside the findings. */
export const thresholds = { deviation: 1.25, ksAfterRotation: 0.02, rho: 10 } as const;

export function findings({ plan, report, deviation }: EvidenceLayer): Finding[] {
  const found: string[] = [];
  const { marginal, nonFinite, zeroRows } = report;
  if (nonFinite > 0) {
    found.push(`${nonFinite} weights are NaN or infinite; their rows are left out of every number`);
  }
  if (zeroRows > 0) {
    found.push(`${zeroRows} of ${report.sampledRows} rows are all zero`);
  }
  if (deviation !== null && deviation > thresholds.deviation) {
    found.push(`error ${deviation.toFixed(2)} × what the quantizer gives on its design distribution`);
  }
  if (marginal.rotated && marginal.after.ks > thresholds.ksAfterRotation) {
    found.push(`rotation does not bring the rows to the marginal: KS ${marginal.after.ks.toFixed(3)} after, ${marginal.before.ks.toFixed(3)} before`);
  }
  if (marginal.rotated && marginal.rho > thresholds.rho) {
    found.push(`ρ of Proposition 1 is ${marginal.rho.toFixed(1)}: single large weights, the rotation cannot promise the marginal`);
  }
  return found.map((text) => ({ layer: plan.name, text }));
}

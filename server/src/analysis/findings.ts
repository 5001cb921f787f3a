/** What a report says about a layer in words. When it does is set by the config's `findings` section (config/thresholds.ts). */
import type { Finding, FindingCode, LayerPlan, LayerReport, Thresholds } from '../protocol';

export interface EvidenceLayer { plan: LayerPlan; report: LayerReport; /** Measured over expected relative MSE; 1 is what the quantizer promises. */ deviation: number | null }

export function weightFindings({ plan, report, deviation }: EvidenceLayer, thresholds: Thresholds): Finding[] {
  const found: Finding[] = [];
  const add = (code: FindingCode, text: string, value: number, threshold: number | null): void => { found.push({ layer: plan.name, code, text, where: null, value, threshold }); };
  const { marginal, nonFinite, zeroRows } = report;
  if (nonFinite > 0) {
    add('weight/not-finite', `${nonFinite} weights are NaN or infinite; their rows are left out of every number`, nonFinite, null);
  }
  if (zeroRows > 0) {
    add('weight/zero', `${zeroRows} of ${report.sampledRows} rows are all zero`, zeroRows, null);
  }
  if (deviation !== null && deviation > thresholds.deviation) {
    add('weight/deviation', `error ${deviation.toFixed(2)} × what the quantizer gives on its design distribution`, deviation, thresholds.deviation);
  }
  if (marginal.rotated && marginal.after.ks > thresholds.ksAfterRotation) {
    add('weight/rotation', `rotation does not bring the rows to the marginal: KS ${marginal.after.ks.toFixed(3)} after, ${marginal.before.ks.toFixed(3)} before`, marginal.after.ks, thresholds.ksAfterRotation);
  }
  if (marginal.rotated && marginal.rho > thresholds.rho) {
    add('weight/rho', `ρ of Proposition 1 is ${marginal.rho.toFixed(1)}: single large weights, the rotation cannot promise the marginal`, marginal.rho, thresholds.rho);
  }
  return found;
}

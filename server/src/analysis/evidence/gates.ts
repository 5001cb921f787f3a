/** Bounds that a change must keep, as reviewers ask for: held against the mean over the seeds. */
import { ModelError } from '../../models/builder';
import type { Comparison } from './comparison';
import { agreementMetrics } from './metrics';
import type { MetricId } from './metrics';
import { counted } from './words';

export interface Gate { metric: MetricId; atLeast: number }
export interface GateResult extends Gate { /** Null when nothing differs or nothing was compared. */ value: number | null; passed: boolean; why: string }

/** `ssim>=0.9,psnrDb>=25`. @throws ModelError that names what can be bounded */
export function parseGates(text: string): Gate[] {
  return text.split(',').map((part) => {
    const [, name = '', bound = ''] = /^\s*(\w+)\s*>=\s*(-?[0-9.]+)\s*$/.exec(part) ?? [];
    const metric = agreementMetrics.find(({ id }) => id === name);
    if (!metric || !Number.isFinite(Number(bound))) {
      throw new ModelError(`"${part.trim()}" is no gate. Write bounds as "ssim>=0.9,psnrDb>=25"; of all of ${agreementMetrics.map(({ id }) => id).join(', ')} higher is better.`);
    }
    return { metric: metric.id, atLeast: Number(bound) };
  });
}

/** What was not compared passes nothing. */
export function judge(gates: readonly Gate[], comparison: Comparison | null): GateResult[] {
  return gates.map((gate) => {
    const spread = comparison?.metrics?.[gate.metric];
    if (!spread) {
      return { ...gate, value: null, passed: false, why: 'nothing was compared' };
    }
    if (spread.notFinite > 0) {
      return { ...gate, value: spread.mean, passed: false, why: 'the quantized model gave values that are not finite' };
    }
    const passed = spread.mean === null || spread.mean >= gate.atLeast;
    return { ...gate, value: spread.mean, passed, why: spread.mean === null ? 'nothing differs' : `mean of ${counted(spread.n, 'seed')}` };
  });
}

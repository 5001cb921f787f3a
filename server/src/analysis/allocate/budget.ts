/** How large a plan may be: what was asked for, else what the config says. */
import { parseSize } from '../../config/parse';
import type { QuantConfig } from '../../config/parse';
import type { BudgetText, PlanTotals } from '../../protocol';
import { AllocationError } from './errors';

/** Bytes of the whole checkpoint; `written` as the config would say it, undefined when the config does. */
export interface AskedBudget { bytes: number; written: string | undefined }

/** @throws AllocationError */
export function readBudget(asked: BudgetText | undefined, config: QuantConfig, totals: PlanTotals): AskedBudget {
  const ofBits = (value: number): number => Math.floor((value * totals.params) / 8) + totals.otherBytes;
  if (asked && 'size' in asked) {
    const size = /^\d+$/.test(asked.size) ? `${asked.size}B` : asked.size;
    const bytes = parseSize(size);
    if (!(bytes >= 1)) {
      throw new AllocationError(`The size must be a number with a unit, not "${asked.size}". Example: 6.9GB`);
    }
    return { bytes, written: `{ size: ${size} }` };
  }
  if (asked) {
    const value = Number(asked.bits);
    if (!/^\d+(\.\d+)?$/.test(asked.bits) || !(value > 0 && value <= 32)) {
      throw new AllocationError(`Average bits must be a number above 0, up to 32, not "${asked.bits}". Example: 4.5`);
    }
    return { bytes: ofBits(value), written: `{ bits: ${asked.bits} }` };
  }
  const budget = config.budget?.value;
  if (!budget) {
    throw new AllocationError('How large may it be? Write "budget: { size: 6.9GB }" (the whole checkpoint) or "budget: { bits: 4.5 }" (average bits per linear weight) into the config; on the command line --size 6.9GB or --bits 4.5.');
  }
  return { bytes: 'bytes' in budget ? budget.bytes : ofBits(budget.bits), written: undefined };
}

/** In what two recipes of one layer differ. */
import type { Dtype, KeepDtype, Quantizer, Recipe } from '../../protocol';
import { describeQuantizer } from '../describe';
import { codeBits } from '../packedSize';

export interface Difference {
  what: 'treatment' | 'weights' | 'activations' | 'smoothing' | 'order' | 'rotation' | 'tail' | 'low-rank branch' | 'solver';
  planned: string;
  read: string;
  /** The layer is kept instead of quantized or the reverse, has other bits, floats instead of integers or the reverse, or lacks a part of its recipe; otherwise it is rounded a little otherwise. */
  grave: boolean;
}

/** @param stored type of the weight in the checkpoint, which "original" stands for */
export function differences(planned: Recipe, read: Recipe, stored: Dtype): Difference[] {
  const [from, to] = [planned, read].map((recipe) => (isKept(recipe) ? `kept in ${describeKept(recipe.weights, stored)}` : undefined));
  if (from !== undefined || to !== undefined) {
    return from === to ? [] : [{ what: 'treatment', planned: from ?? describeRecipe(planned), read: to ?? describeRecipe(read), grave: from === undefined || to === undefined }];
  }
  const parts: [Difference['what'], unknown, unknown][] = [
    ['smoothing', planned.smooth, read.smooth], ['order', planned.permute, read.permute], ['rotation', planned.rotate, read.rotate], ['tail', planned.tail, read.tail], ['low-rank branch', planned.lowRank, read.lowRank],
  ];
  return [
    ...ofQuantizer('weights', planned.weights, read.weights, stored), ...ofQuantizer('activations', planned.activations, read.activations, stored),
    ...parts.flatMap(([what, a, b]): Difference[] => (JSON.stringify(a) === JSON.stringify(b) ? [] : [{ what, planned: describePart(a), read: describePart(b), grave: a === null || b === null }])),
    ...JSON.stringify(planned.solver) === JSON.stringify(read.solver) ? [] : [{ what: 'solver' as const, planned: describePart(planned.solver), read: describePart(read.solver), grave: false }],
  ];
}

export function isKept({ weights, activations }: Recipe): boolean {
  return weights.kind === 'keep' && activations.kind === 'keep';
}

function ofQuantizer(what: 'weights' | 'activations', planned: Quantizer, read: Quantizer, stored: Dtype): Difference[] {
  const [from, to] = [planned, read].map((quantizer) => (quantizer.kind === 'keep' ? describeKept(quantizer, stored) : describe(quantizer)));
  const sides = [planned, read].map((quantizer) => (quantizer.kind === 'keep' ? 'kept' : codeBits(quantizer, stored)));
  return from === to ? [] : [{ what, planned: from ?? '', read: to ?? '', grave: sides[0] !== sides[1] || planned.kind !== read.kind }];
}

function describe(quantizer: Quantizer): string {
  return `${describeQuantizer(quantizer)}${quantizer.kind === 'int' ? `, ${quantizer.scale} scales` : ''}`;
}

function describeKept(quantizer: Quantizer, stored: Dtype): string {
  const own: Partial<Record<Dtype, KeepDtype>> = { BF16: 'bf16', F16: 'fp16', F32: 'fp32' };
  return quantizer.kind !== 'keep' ? '' : quantizer.dtype === 'original' ? own[stored] ?? 'its own type' : quantizer.dtype;
}

/** "int4 per group 64, fp16 scales" and what happens beside. */
export function describeRecipe({ weights, activations, smooth, permute, rotate, tail, lowRank }: Recipe): string {
  const parts = Object.entries({ smooth, permute, rotate, tail, lowRank }).filter(([, part]) => part !== null).map(([name]) => name);
  return `weights ${describe(weights)}, activations ${describe(activations)}${parts.length > 0 ? `, ${parts.join(', ')}` : ''}`;
}

/** `kind: search, steps: 20`, as a config has it. */
function describePart(part: unknown): string {
  return part === null ? 'none' : Object.entries(part as object).filter(([key]) => key !== 'dtype').map(([key, value]) => `${key}: ${String(value)}`).join(', ');
}

/** What other tools' formats are in our recipes: the same, or the nearest with what the tool does otherwise. What a file leaves open, such as the type of scales, is as in our own presets. */
import { keepOriginal, plain } from '../../methods/method';
import { fixedGroups } from '../../methods/widths';
import type { FloatFormat, FloatQuantizer, Granularity, IntQuantizer, KeepDtype, Quantizer, Recipe } from '../../protocol';

/** `near`: what differs, in half sentences about the tool; empty where the recipe does the same. */
export interface Equivalent { recipe: Recipe; near: readonly string[] }

export function int(bits: number, group: Granularity = 'row', more: Partial<IntQuantizer> = {}): IntQuantizer {
  return { kind: 'int', bits, symmetric: true, group, scale: 'fp16', ...more };
}

/** With a zero point. */
export function uint(bits: number, group: Granularity = 'row', more: Partial<IntQuantizer> = {}): IntQuantizer {
  return int(bits, group, { symmetric: false, ...more });
}

/** @param group of fp4 and fp8; the block formats have their own. */
export function float(format: FloatFormat, group: Granularity = 'row'): FloatQuantizer {
  return { kind: 'float', format, group: fixedGroups[format] ?? group };
}

/** @param parts what happens beside rounding. */
export function equivalent(weights: Quantizer, activations: Quantizer = keepOriginal, near: readonly string[] = [], parts: Partial<Recipe> = {}): Equivalent {
  const all = { ...plain, ...parts };
  const method = all.lowRank ? 'svdquant' : all.smooth?.kind === 'smoothquant' ? 'smoothquant' : 'rtn';
  return { recipe: { ...all, method, weights, activations }, near };
}

export function keptAs(dtype: KeepDtype): Equivalent {
  return { recipe: { ...plain, method: 'keep', weights: { kind: 'keep', dtype }, activations: keepOriginal }, near: [] };
}

/** Of several parts: what each is near to. */
export function nearBoth(...all: readonly (readonly string[] | undefined)[]): string[] {
  return [...new Set(all.flatMap((each) => each ?? []))];
}

export const float32Scales = 'its scales are float32, these are FP16';

/** Groups of inputs are rotated by a Hadamard matrix as it is, such as ConvRot's and SDNQ's. */
export function hadamardGroups(group: number): { parts: Partial<Recipe>; near: string } {
  return { parts: { rotate: { kind: 'rpbh', seed: 0 } }, near: `it rotates groups of ${group} neighbouring inputs by a plain Hadamard matrix; RPBH takes the largest power of two that divides the inputs, in a random order with random signs` };
}

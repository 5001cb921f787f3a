import { keepOriginal } from '../../methods/method';
import { equivalent, float, int, keptAs, uint } from './recipes';
import type { Equivalent } from './recipes';

/** ggml's types by name: bits per weight with scales, and how many inputs a block has. */
export const ggmlTypes: Readonly<Record<string, readonly [bits: number, block: number]>> = {
  f32: [32, 1], f16: [16, 1], bf16: [16, 1], q4_0: [4.5, 32], q4_1: [5, 32], q5_0: [5.5, 32], q5_1: [6, 32], q8_0: [8.5, 32], iq4_nl: [4.5, 32], mxfp4: [4.25, 32],
  q2_K: [2.625, 256], q3_K: [3.4375, 256], q4_K: [4.5, 256], q5_K: [5.5, 256], q6_K: [6.5625, 256], tq1_0: [1.6875, 256], tq2_0: [2.0625, 256],
  iq1_s: [1.5625, 256], iq1_m: [1.75, 256], iq2_xxs: [2.0625, 256], iq2_xs: [2.3125, 256], iq2_s: [2.5625, 256], iq3_xxs: [3.0625, 256], iq3_s: [3.4375, 256], iq4_xs: [4.25, 256],
};

const scaleOfSigned = (levels: number): string => `its scale is the value of largest magnitude divided by −${levels}`;
const storedMinimum = 'it stores the smallest value of a block in FP16, not a zero point';
const superblock = (bits: number): string => `scales of its blocks are ${bits}-bit numbers with FP16 ones for 256 inputs`;
const unevenLevels = 'its 16 levels are not evenly spaced';

/** The types that have a counterpart. Those of lattices, of three levels and below 2 bits have none. */
export const ggmlRecipes: Readonly<Record<string, Equivalent>> = {
  f32: keptAs('fp32'), f16: keptAs('fp16'), bf16: keptAs('bf16'),
  q8_0: equivalent(int(8, 32)), q4_0: equivalent(int(4, 32), keepOriginal, [scaleOfSigned(8)]), q5_0: equivalent(int(5, 32), keepOriginal, [scaleOfSigned(16)]),
  q4_1: equivalent(uint(4, 32), keepOriginal, [storedMinimum]), q5_1: equivalent(uint(5, 32), keepOriginal, [storedMinimum]), mxfp4: equivalent(float('mxfp4')),
  q2_K: equivalent(uint(2, 16), keepOriginal, [superblock(4)]), q3_K: equivalent(int(3, 16), keepOriginal, [superblock(6)]), q4_K: equivalent(uint(4, 32), keepOriginal, [superblock(6)]),
  q5_K: equivalent(uint(5, 32), keepOriginal, [superblock(6)]), q6_K: equivalent(int(6, 16), keepOriginal, [superblock(8)]),
  iq4_nl: equivalent(int(4, 32), keepOriginal, [unevenLevels]), iq4_xs: equivalent(int(4, 32), keepOriginal, [unevenLevels, superblock(6)]),
};

/** The name as ggml spells it, whatever the case. */
export function ggmlName(written: string): string | undefined {
  return Object.keys(ggmlTypes).find((name) => name.toLowerCase() === written.toLowerCase());
}

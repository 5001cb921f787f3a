/** What SDNQ's settings do to a layer, in our recipes: groups, activations of a quantized product, low-rank branch, Hadamard rotation. As in its quantizer.py of 2026-08. */
import { keepOriginal } from '../../methods/method';
import type { Granularity, Layer, Quantizer, Recipe } from '../../protocol';
import type { Fields } from './fields';
import { equivalent, float, hadamardGroups, int } from './recipes';
import type { Equivalent } from './recipes';

export interface SdnqSettings { groupSize: number; svdRank: number | null; hadamard: number | null; matmul: boolean }

/** @param over settings of some modules, which replace those of the file */
export function readSettings(fields: Fields, over?: Fields): SdnqSettings {
  const scalar = (key: string): unknown => over?.scalar(key) ?? fields.scalar(key);
  const number = (key: string, usual: number): number => { const written = scalar(key); return typeof written === 'number' ? written : usual; };
  return {
    groupSize: number('group_size', 0), svdRank: scalar('use_svd') === true ? number('svd_rank', 32) : null,
    hadamard: scalar('use_hadamard') === true ? number('hadamard_group_size', 256) : null, matmul: scalar('use_quantized_matmul') === true,
  };
}

/** Whether a product runs on quantized inputs too: narrow layers are left out. */
export function usesMatmul({ inFeatures, outFeatures }: Layer, dtype: string): boolean {
  const step = dtype.includes('float') ? 16 : 8;
  return inFeatures >= 32 && outFeatures >= 32 && inFeatures % step === 0 && outFeatures % step === 0;
}

/** undefined: nothing here is like it. */
export function sdnqEquivalent(dtype: string, { groupSize, svdRank, hadamard, matmul }: SdnqSettings, width: number): Equivalent | undefined {
  const [, unsigned, bits] = /^(u?)int([1-8])$/.exec(dtype) ?? [];
  const format = /^float8_e4m3fn(?:uz)?$/.test(dtype) ? 'fp8' : dtype === 'float4_e2m1fn' ? 'fp4' : undefined;
  const count = format === 'fp8' ? 8 : format === 'fp4' ? 4 : Number(bits);
  if (!format && bits === undefined) {
    return undefined;
  }
  const whole = matmul && (groupSize === 0 ? count >= 6 : count === 8);
  const size = groupSize === 0 ? 2 ** ((svdRank === null ? 2 : 3) + count) : groupSize;
  const group: Granularity = whole || size < 0 || size >= width ? 'row' : size;
  const weights: Quantizer = format ? float(format, group) : int(count, group, { symmetric: unsigned === '' });
  const rotation = hadamard === null ? undefined : hadamardGroups(hadamard);
  const parts: Partial<Recipe> = { ...rotation?.parts, ...(svdRank === null ? {} : { lowRank: { rank: svdRank, iterations: 1, dtype: 'bf16' } }) };
  const requantized = matmul && (group !== 'row' || unsigned !== '') ? ['its weights are quantized once more, to 8 bits per row, for the product'] : [];
  return equivalent(weights, matmul ? format ? float('fp8', 'row') : int(8) : keepOriginal, [...rotation ? [rotation.near] : [], ...requantized], parts);
}

/** What deepcompressor's settings do to a layer, in our recipes. */
import { keepOriginal } from '../../../methods/method';
import type { Granularity, Quantizer, Recipe } from '../../../protocol';
import type { Fields } from '../fields';
import { staticFloat } from '../quantizationArgs';
import { equivalent, float, int } from '../recipes';
import type { Equivalent } from '../recipes';

/** What both sides of all layers get, before lists of roles take some out. */
export interface DeepcompressorRecipe { weights: Quantizer | undefined; inputs: Quantizer | undefined; near: readonly string[]; parts: Partial<Recipe>; shift: boolean }

/** SVDQuant's shift of inputs behind a GELU. */
export const geluShift = 0.171875;

export function readRecipe(quant: Fields, pipeline: Fields | undefined): DeepcompressorRecipe {
  const [weights, inputs] = [quantizer(quant.peek('wgts'), false), quantizer(quant.peek('ipts'), true)];
  const number = (fields: Fields | undefined, key: string, usual: number): number => { const written = fields?.scalar(key); return typeof written === 'number' && written > 0 ? written : usual; };
  const wgts = quant.peek('wgts');
  const low = wgts?.scalar('enable_low_rank') === true ? wgts : undefined;
  const branch = low?.peek('low_rank');
  const projection = quant.peek('smooth')?.peek('proj');
  return {
    weights, inputs, shift: pipeline?.scalar('shift_activations') === true,
    near: [...quant.peek('ipts')?.scalar('static') === true && inputs?.kind === 'float' ? [staticFloat] : []],
    parts: {
      ...(quant.scalar('enable_smooth') === true ? { smooth: { kind: 'search', steps: Math.min(200, Math.max(2, number(projection, 'num_grids', 20))) } } : {}),
      ...(low ? { lowRank: { rank: number(branch, 'rank', 32), iterations: Math.min(100, number(branch, 'num_iters', 1)), dtype: 'bf16' } } : {}),
    },
  };
}

function quantizer(part: Fields | undefined, isInput: boolean): Quantizer | undefined {
  const dtype = part?.scalar('dtype');
  if (typeof dtype !== 'string' || /^torch\./.test(dtype)) {
    return part?.has('dtype') ? keepOriginal : undefined; // left to a file that is merged with this one
  }
  const shapes = (part?.value('group_shapes')?.kind === 'list' ? part.list('group_shapes') : undefined) ?? [];
  const scales = (part?.value('scale_dtypes')?.kind === 'list' ? part.list('scale_dtypes') : undefined) ?? [];
  const [finest, scale] = [shapes.at(-1), scales.at(-1)];
  const [rows, columns] = finest?.kind === 'list' ? finest.items.map((item) => (item.kind === 'scalar' ? Number(item.value) : NaN)) : [1, -1];
  const group: Granularity = columns !== undefined && columns > 0 ? columns : rows === -1 ? 'tensor' : 'row';
  const isStatic = isInput && part?.scalar('static') === true;
  const [, sign, bits] = /^([su])int([1-8])$/.exec(dtype) ?? [];
  if (bits !== undefined) {
    return int(Number(bits), isStatic ? 'tensor' : group, { symmetric: sign === 's', ...(isStatic ? { range: 'static' as const } : {}) });
  }
  if (/^sf[pn]4_e2m1/.test(dtype)) {
    return float(group === 16 && scale?.kind === 'scalar' && /^[su]f[pn]8_e4m3/.test(String(scale.value)) ? 'nvfp4' : 'fp4', group);
  }
  return /^sf[pn]8_e4m3/.test(dtype) ? float('fp8', group) : undefined;
}

/** Weights of the roles in `extra_wgts`, which have a type of their own. */
export function extraRecipe(recipe: DeepcompressorRecipe, extra: Fields | undefined): DeepcompressorRecipe { return { ...recipe, weights: quantizer(extra, false) }; }

/** @param isDown a second feed-forward layer, whose inputs come from a GELU. @param kept sides that lists of roles take out */
export function deepcompressorEquivalent({ weights, inputs, near, parts, shift }: DeepcompressorRecipe, isDown: boolean, kept: { weights: boolean; inputs: boolean }): Equivalent | undefined {
  const [w, i] = [kept.weights ? keepOriginal : weights, kept.inputs ? keepOriginal : inputs];
  const shifted = shift && isDown && i?.kind === 'int' && i.range === undefined && i.symmetric ? { ...i, shift: geluShift } : i;
  return w && shifted ? equivalent(w, shifted, near, w.kind === 'keep' ? { ...parts, lowRank: null } : parts) : undefined;
}

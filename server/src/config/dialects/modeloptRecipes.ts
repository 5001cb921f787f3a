/** What ModelOpt's quantizer attributes and algorithms do, in our recipes. */
import type { Granularity, Quantizer, Recipe } from '../../protocol';
import type { Fields } from './fields';
import { blocksOf2d, staticFloat } from './quantizationArgs';
import { equivalent, float, hadamardGroups, int, nearBoth } from './recipes';
import type { Equivalent } from './recipes';

interface Read { quantizer: Quantizer; near: readonly string[] }

/** A quantizer as its attributes say; undefined where nothing here is like it. Without attributes it is int8 per tensor. */
export function readAttributes(cfg: Fields | null, isInput: boolean): Read | undefined {
  if (!cfg) {
    return { quantizer: int(8, 'tensor', isInput ? { range: 'static' } : {}), near: [] };
  }
  const blocks = cfg.peek('block_sizes');
  const sizes = blocks?.node.entries.filter(({ key }) => /^-?\d+$/.test(key)).map(({ key }) => blocks.scalar(key)) ?? [];
  const isDynamic = cfg.scalar('type') === 'dynamic' || blocks?.scalar('type') === 'dynamic';
  const size = sizes.find((each) => typeof each === 'number');
  const group: Granularity = typeof size === 'number' ? size : sizes.length > 0 || typeof cfg.scalar('axis') === 'number' ? 'row' : 'tensor';
  const near = sizes.filter((each) => typeof each === 'number').length > 1 ? [blocksOf2d] : [];
  const isStatic = isInput && !isDynamic && typeof size !== 'number';
  const [exponent, mantissa] = floatBits(cfg, 'num_bits') ?? [];
  if (exponent === undefined) {
    const bits = cfg.scalar('num_bits') ?? 8;
    return typeof bits === 'number' && bits >= 1 && bits <= 8 ? { near, quantizer: int(bits, isStatic ? 'tensor' : group, isStatic ? { range: 'static' } : {}) } : undefined;
  }
  const scale = blocks && floatBits(blocks, 'scale_bits');
  const powers = scale?.[0] === 8 && group === 32;
  const format = exponent === 2 && mantissa === 1 ? scale?.[0] === 4 && group === 16 ? 'nvfp4' : powers ? 'mxfp4' : 'fp4' : exponent === 4 && mantissa === 3 ? powers ? 'mxfp8' : 'fp8' : undefined;
  return format && { quantizer: float(format, group), near: isStatic ? [...near, staticFloat] : near };
}

/** `e4m3`, `[4, 3]` or `(4, 3)`. */
function floatBits(fields: Fields, key: string): [exponent: number, mantissa: number] | undefined {
  const value = fields.value(key);
  const text = value?.kind === 'scalar' ? String(value.value) : value ? fields.source(key).replace(/\s+/g, ' ') : '';
  const [, exponent, mantissa] = /^(?:e(\d+)m(\d+))$/i.exec(text) ?? /^[[(] ?(\d+) ?, ?(\d+) ?[\])]$/.exec(text) ?? /^- (\d+) - (\d+)$/.exec(text) ?? [];
  return exponent === undefined || mantissa === undefined ? undefined : [Number(exponent), Number(mantissa)];
}

/** What the algorithm does beside calibrating ranges. */
export function readAlgorithm(name: string | undefined, fields: Fields | undefined): { parts: Partial<Recipe>; near: readonly string[] } {
  const number = (key: string, usual: number): number => { const written = fields?.scalar(key); return typeof written === 'number' ? written : usual; };
  const awq = { parts: { smooth: { kind: 'search', steps: 20 } }, near: ['its channel scales are found by AWQ\'s search'] } satisfies { parts: Partial<Recipe>; near: string[] };
  switch (name) {
    case 'smoothquant': { const alpha = number('alpha', 1); return { parts: { smooth: { kind: 'smoothquant', alpha, beta: Number((1 - alpha).toFixed(12)) } }, near: [] }; }
    case 'awq_lite': case 'awq_full': case 'awq_clip': return awq;
    case 'svdquant': return { parts: { ...awq.parts, lowRank: { rank: number('lowrank', 32), iterations: 1, dtype: 'bf16' } }, near: awq.near };
    default: return { parts: {}, near: [] };
  }
}

/** `rotate: true`, or with a block size. */
export function readRotation(cfg: Fields | null): { parts: Partial<Recipe>; near: readonly string[] } {
  const inner = cfg?.peek('rotate');
  if (cfg?.scalar('rotate') !== true && (!inner || inner.scalar('enable') === false)) {
    return { parts: {}, near: [] };
  }
  const block = inner?.scalar('block_size');
  if (typeof block === 'number') {
    const { parts, near } = hadamardGroups(block);
    return { parts, near: [near] };
  }
  return { parts: { rotate: { kind: 'hadamard', seed: 0 } }, near: ['its Hadamard matrix has no random signs'] };
}

/** @param weights null: left alone */
export function modeloptEquivalent(weights: Read | null | undefined, inputs: Read | null | undefined, extras: readonly { parts: Partial<Recipe>; near: readonly string[] }[], keep: Quantizer): Equivalent | undefined {
  return weights === undefined || inputs === undefined ? undefined :
    equivalent(weights?.quantizer ?? keep, inputs?.quantizer ?? keep, nearBoth(weights?.near, inputs?.near, ...extras.map(({ near }) => near)), Object.assign({}, ...extras.map(({ parts }) => parts)) as Partial<Recipe>);
}

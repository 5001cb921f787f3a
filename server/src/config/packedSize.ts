/** True packed bytes: codes and every piece of side data a decoder needs. methods.md 6.4 "count bits honestly". */
import { dtypeBits } from '../checkpoint/safetensors';
import type { Dtype, Granularity, KeepDtype, LayerPlan, Quantizer, Recipe, ScaleDtype } from '../protocol';

const scaleBytes: Record<ScaleDtype, number> = { fp16: 2, bf16: 2, fp32: 4 };
/** Tails and low-rank branches. */
const bf16Bytes = 2;
/** Smoothing factors, bases and rotations, as a packed checkpoint holds them. */
const floatBytes = 4;

export function keptBits(dtype: KeepDtype, stored: Dtype): number {
  return { original: dtypeBits[stored], bf16: 16, fp16: 16, fp32: 32 }[dtype];
}

/** Bits of one code; for kept weights the bits of their type. */
export function codeBits(quantizer: Quantizer, stored: Dtype): number {
  switch (quantizer.kind) {
    case 'keep': return keptBits(quantizer.dtype, stored);
    case 'float': return { fp4: 4, nvfp4: 4, mxfp4: 4, fp8: 8, mxfp8: 8 }[quantizer.format];
    case 'twin-log': return quantizer.bits + (quantizer.form === 'released' ? 1 : 0);  // one negative level more, and a code for zero
    default: return quantizer.bits;
  }
}

/** A weight to be packed: its shape, how it is stored now, how many of its columns are the tail, and how many heads its inputs consist of. */
export interface PackedShape { outFeatures: number; inFeatures: number; stored: Dtype; tail: number; heads: number | null }

/** Bytes that belong to one layer: codes, scales, zero points, norms, tail, low-rank branch and whatever transforms were fitted to it. */
export function packedBytes(recipe: Recipe, { outFeatures: rows, inFeatures, stored, tail, heads }: PackedShape): number {
  const { weights, activations, lowRank } = recipe;
  return codeBytes(weights, rows, inFeatures - tail, stored)
    + rows * tail * bf16Bytes
    + (lowRank ? (rows + inFeatures) * lowRank.rank * bf16Bytes : 0)
    + (activations.kind === 'int' && activations.range === 'static' ? 8 : 0)  // two float32: where the range ends
    + transformBytes(recipe, inFeatures, heads);
}

/** Every row starts on a whole byte. */
function codeBytes(quantizer: Quantizer, rows: number, width: number, stored: Dtype): number {
  const bits = codeBits(quantizer, stored);
  if (quantizer.kind === 'keep') {
    return Math.ceil((rows * width * bits) / 8);
  }
  const codes = rows * Math.ceil((width * bits) / 8);
  switch (quantizer.kind) {
    case 'codebook': case 'midrise': return codes + rows * scaleBytes[quantizer.norm];
    case 'twin-log': return codes + rows * 5 * 2;  // start and step for either sign, and the offset of the logarithm, in FP16
    case 'float': {
      const bytesPerScale = quantizer.format === 'fp4' || quantizer.format === 'fp8' ? 2 : 1;
      return codes + groups(quantizer.group, rows, width) * bytesPerScale + (quantizer.format === 'nvfp4' ? 4 : 0);
    }
    case 'int': {
      const scales = groups(quantizer.group, rows, width);
      const zeros = quantizer.symmetric ? 0 : rows * Math.ceil(((scales / rows) * bits) / 8);
      return codes + scales * scaleBytes[quantizer.scale] + zeros;
    }
  }
}

/** Scales of a weight. One for the whole tensor is stored with every row, so that a row decodes by itself. */
function groups(group: Granularity, rows: number, width: number): number {
  return typeof group === 'number' ? rows * (width / group) : rows;
}

/** What is fitted to a layer's own data: smoothing factors, an order of the channels, block rotations and bases. */
function transformBytes({ smooth, permute, rotate }: Recipe, width: number, heads: number | null): number {
  const smoothing = smooth ? floatBytes * width : 0;
  const order = permute?.kind === 'zigzag' ? 4 * width : 0;
  switch (rotate?.kind) {
    case 'outlier-aware': return smoothing + order + 2 * rotate.block ** 2 * floatBytes + 4 * width;
    // Which of the two it will be is known once activations are; the larger one counts.
    case 'adaptive': return smoothing + order + 2 * adaptiveBlock ** 2 * floatBytes + 4 * width;
    // Bases of several heads leave their tails apart: an order brings these together.
    case 'pca': return smoothing + order + (rotate.perHead && heads ? width * (width / heads) * floatBytes + (heads > 1 ? 4 * width : 0) : width ** 2 * floatBytes);
    default: return smoothing + order;
  }
}

/** LRQ-DiT's block for outlier layers. */
const adaptiveBlock = 128;

/**
 * Bytes that layers share: per (width, seed) permutations (4 bytes each), signs (1 bit each) and random matrices, per (width, bits) a codebook of 2^bits float32
 * levels, for weights and activations alike. They can be recomputed from the seed, yet a decoder has to hold them, so they count.
 */
export function sharedBytes(layers: readonly Pick<LayerPlan, 'inFeatures' | 'tail' | 'recipe'>[]): number {
  return [...sharedParts(layers).values()].reduce((sum, bytes) => sum + bytes, 0);
}

/** The same by what is shared: layers that need the same have the same key. */
export function sharedParts(layers: readonly Pick<LayerPlan, 'inFeatures' | 'tail' | 'recipe'>[]): Map<string, number> {
  const shared = new Map<string, number>();
  for (const { inFeatures: width, tail, recipe: { permute, rotate, weights, activations } } of layers) {
    const signs = Math.ceil(width / 8);
    if (permute?.kind === 'random') {
      shared.set(`order ${width} ${permute.seed}`, 4 * width);
    }
    switch (rotate?.kind) {
      case 'rpbh': shared.set(`rpbh ${width} ${rotate.seed}`, 4 * width + signs); break;
      case 'hadamard': case 'adaptive': shared.set(`signs ${width} ${rotate.seed}`, signs); break;
      case 'random': shared.set(`matrix ${width} ${rotate.seed}`, width ** 2 * floatBytes); break;
      case 'outlier-aware': case 'pca': case undefined: break;
    }
    for (const quantizer of [weights, activations]) {
      if (quantizer.kind === 'codebook') {
        shared.set(`codebook ${width - tail} ${quantizer.bits}`, 4 * 2 ** quantizer.bits);
      }
    }
  }
  return shared;
}

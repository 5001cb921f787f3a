/** True packed bytes: codes and every piece of side data a decoder needs. methods.md 6.4 "count bits honestly". */
import { dtypeBits } from '../checkpoint/safetensors';
import type { Dtype, KeepDtype, LayerPlan, Quantizer, ScaleDtype } from '../protocol';

const scaleBytes: Record<ScaleDtype, number> = { fp16: 2, bf16: 2, fp32: 4 };

export function keptBits(dtype: KeepDtype, stored: Dtype): number {
  return { original: dtypeBits[stored], bf16: 16, fp16: 16, fp32: 32 }[dtype];
}

/** Bits of one code; for kept weights the bits of their type. */
export function codeBits(quantizer: Quantizer, stored: Dtype): number {
  return quantizer.kind === 'keep' ? keptBits(quantizer.dtype, stored) : quantizer.bits;
}

/** Bytes of a weight [rows, width]: bit-packed codes, then scales and zero points per group, or one norm per row. */
export function packedBytes(quantizer: Quantizer, rows: number, width: number, stored: Dtype): number {
  const codes = Math.ceil((rows * width * codeBits(quantizer, stored)) / 8);
  switch (quantizer.kind) {
    case 'keep': return codes;
    case 'codebook': return codes + rows * scaleBytes[quantizer.norm];
    case 'int': {
      const groups = quantizer.group === 'tensor' ? 1 : quantizer.group === 'row' ? rows : rows * (width / quantizer.group);
      return codes + groups * scaleBytes[quantizer.scale] + (quantizer.symmetric ? 0 : Math.ceil((groups * quantizer.bits) / 8));
    }
  }
}

/**
 * Bytes that layers share: per (width, seed) a permutation (4 bytes each) and signs (1 bit each), per (width, bits) a codebook of 2^bits float32 levels,
 * for weights and activations alike. They can be recomputed from the seed, yet a decoder has to hold them, so they count.
 */
export function sharedBytes(layers: readonly Pick<LayerPlan, 'inFeatures' | 'recipe'>[]): number {
  const shared = new Map<string, number>();
  for (const { inFeatures: width, recipe } of layers) {
    if (recipe.rotate) {
      shared.set(`rotation ${width} ${recipe.rotate.seed}`, 4 * width + Math.ceil(width / 8));
    }
    for (const quantizer of [recipe.weights, recipe.activations]) {
      if (quantizer.kind === 'codebook') {
        shared.set(`codebook ${width} ${quantizer.bits}`, 4 * 2 ** quantizer.bits);
      }
    }
  }
  return [...shared.values()].reduce((sum, bytes) => sum + bytes, 0);
}

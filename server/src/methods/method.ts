/** What a method file provides. Adding a method is one file beside this one and one line in index.ts. */
import type { Quantizer, Recipe } from '../protocol';

/** Bits of a scheme such as W4A8; 16 leaves that side as it is. */
export interface Scheme { weightBits: number; activationBits: number }

export interface Method {
  /** As written in a config. */
  name: string;
  title: string;
  /** Markdown: what it does and when it wins. */
  summary: string;
  source: string;
  /** The preset for a layer. Sides with 16 bits are `keep`. */
  recipe(scheme: Scheme): Recipe;
}

/** Quantize the inputs and weights as they are, to the nearest level: what a method starts from. */
export const plain = { smooth: null, permute: null, rotate: null, tail: null, lowRank: null, solver: { kind: 'rtn' } } as const satisfies Partial<Recipe>;

export const keepOriginal: Quantizer = { kind: 'keep', dtype: 'original' };

/** 16 bits on either side mean that this side is not quantized. */
export function quantizerFor(bits: number, quantizer: Quantizer): Quantizer {
  return bits === 16 ? keepOriginal : quantizer;
}

/** What a method file provides. Adding a method is one file beside this one and one line in index.ts. */
import type { Quantizer, Recipe, Role } from '../protocol';

/** Bits of a scheme such as W4A8; 16 leaves that side as it is. */
export interface Scheme { weightBits: number; activationBits: number }

/** @returns undefined for text that is no scheme. */
export function schemeOf(text: string): Scheme | undefined {
  const match = /^W([1-8]|16)A([1-8]|16)$/.exec(text);
  return match ? { weightBits: Number(match[1]), activationBits: Number(match[2]) } : undefined;
}

export interface Method {
  /** As written in a config. */
  name: string;
  title: string;
  /** Markdown: what it does and when it wins. */
  summary: string;
  source: string;
  /** What a new config offers, the usual one first. */
  schemes: readonly string[];
  /** The preset for a layer. Sides with 16 bits are `keep`. */
  recipe(scheme: Scheme): Recipe;
  /** The paper's layer policy, as rules of a new config with this scheme. Roles that no rule names get the method itself. */
  policy(architecture: string, scheme: Scheme): readonly PolicyRule[];
}

/** Layers of these roles (and, with `wider`, more inputs than that) get other settings; `settings` are the lines of the rule, as in a config. */
export interface PolicyRule { name: string; roles: readonly Role[]; wider?: number; settings: readonly string[] }

/** Embedders and final layers in high precision, adaLN modulation weight-only INT4 in groups of 64: OrbitQuant, and the policy of methods whose papers leave it open. */
export const usualPolicy: readonly PolicyRule[] = [
  { name: 'modulation', roles: ['modulation'], settings: ['scheme: W4A16', 'method: { name: rtn, weights: { group: 64 } }'] },
  { name: 'embedders and final layers', roles: ['embedder', 'final'], settings: ['keep: original'] },
];

/** Everything outside of attention and feed-forward layers in high precision. */
export const blocksOnly: readonly PolicyRule[] = [{ name: 'modulation, embedders and final layers', roles: ['modulation', 'embedder', 'final'], settings: ['keep: original'] }];

export const crossKept: PolicyRule = { name: 'keys and values of the text', roles: ['cross-k', 'cross-v'], settings: ['keep: original'] };

/** Quantize the inputs and weights as they are, to the nearest level: what a method starts from. */
export const plain = { smooth: null, permute: null, rotate: null, tail: null, lowRank: null, solver: { kind: 'rtn' } } as const satisfies Partial<Recipe>;

/** The settings of QuaRot's and DiRotQ's code. */
export const gptqSolver = { kind: 'gptq', damping: 0.01, actOrder: true, staticGroups: true } as const satisfies Recipe['solver'];

export const keepOriginal: Quantizer = { kind: 'keep', dtype: 'original' };

/** 16 bits on either side mean that this side is not quantized. */
export function quantizerFor(bits: number, quantizer: Quantizer): Quantizer {
  return bits === 16 ? keepOriginal : quantizer;
}

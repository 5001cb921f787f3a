/** A recipe as the lines of a rule: the scheme, and of the method only what its preset does not say already. */
import { methods } from '../../methods';
import type { Quantizer, Recipe } from '../../protocol';
import { method as schema } from '../methodSchema';
import type { QuantizerOverride } from '../methodParts';
import { codeBits } from '../packedSize';
import { askedRecipe } from '../recipe';
import type { Located } from '../parse';
import type { MethodSettings } from '../methodParts';
import { isKept } from './compare';

export interface RecipeSettings { keep?: string; scheme?: string; method?: string }

const nowhere = { start: { line: 0, character: 0 }, end: { line: 0, character: 0 } };
const parts = ['smooth', 'permute', 'rotate', 'tail', 'lowRank', 'solver'] as const;
const sides = ['weights', 'activations'] as const;

/** `keep: …`, or `scheme: …` and `method: …`, each as text. @throws Error for a recipe that no preset leads to: a mistake of the caller */
export function settingsOf(recipe: Recipe): RecipeSettings {
  if (isKept(recipe)) {
    return { keep: recipe.weights.kind === 'keep' ? recipe.weights.dtype : 'original' };
  }
  const [weightBits, activationBits] = sides.map((side) => bitsOf(recipe[side]));
  const scheme = `W${weightBits}A${activationBits}`;
  const preset = methods.get(recipe.method)?.recipe({ weightBits: weightBits ?? 16, activationBits: activationBits ?? 16 });
  if (!preset) {
    throw new Error(`no method ${recipe.method}`);
  }
  const written: MethodSettings = { name: recipe.method };
  for (const part of parts) {
    if (JSON.stringify(recipe[part]) !== JSON.stringify(preset[part])) {
      Object.assign(written, { [part]: recipe[part] ?? false });
    }
  }
  for (const side of sides) {
    const own = recipe[side];
    if (own.kind !== 'keep' && JSON.stringify(own) !== JSON.stringify(preset[side])) {
      written[side] = fewestKeys(own, (override) => equal(recipe, { ...written, [side]: override }, scheme, side));
    }
  }
  if (!parts.concat(sides as never).every((part) => equal(recipe, written, scheme, part))) {
    throw new Error(`no settings lead to ${JSON.stringify(recipe)}`);
  }
  return { scheme, method: textOf(written) };
}

function bitsOf(quantizer: Quantizer): number {
  return quantizer.kind === 'keep' || quantizer.kind === 'float' ? codeBits(quantizer, 'BF16') : quantizer.bits;
}

/** Keys that make no difference are left out, one after the other. */
function fewestKeys(quantizer: Quantizer, holds: (override: QuantizerOverride) => boolean): QuantizerOverride {
  let override = Object.fromEntries(Object.entries(quantizer).filter(([key]) => key !== 'bits')) as QuantizerOverride;
  for (const key of Object.keys(override)) {
    const fewer = Object.fromEntries(Object.entries(override).filter(([each]) => each !== key)) as QuantizerOverride;
    override = holds(fewer) ? fewer : override;
  }
  return override;
}

function equal(recipe: Recipe, written: MethodSettings, scheme: string, part: keyof Recipe): boolean {
  const [, weightBits, activationBits] = /^W(\d+)A(\d+)$/.exec(scheme) ?? [];
  const at = <T>(value: T): Located<T> => ({ value, range: nowhere });
  const got = askedRecipe({ method: at(written), scheme: at({ weightBits: Number(weightBits), activationBits: Number(activationBits) }) }, {});
  return got !== undefined && sameKeys(got[part], recipe[part]);
}

/** Whatever the order of the keys. */
function sameKeys(a: unknown, b: unknown): boolean {
  const sorted = (value: unknown): string => JSON.stringify(value, (_, each: unknown) => (each !== null && typeof each === 'object' && !Array.isArray(each) ? Object.fromEntries(Object.entries(each).sort(([x], [y]) => (x < y ? -1 : 1))) : each));
  return sorted(a) === sorted(b);
}

/** `rtn`, or `{ name: rtn, weights: { group: 64 } }`; keys that have their default are left out. */
function textOf({ name, ...written }: MethodSettings): string {
  const inner = Object.entries(written).map(([part, value]) => `${part}: ${value === false ? 'false' : braces(Object.entries(value as object).filter(([key, each]) => key !== 'dtype' && (key === 'kind' || each !== schema.properties?.[part]?.properties?.[key]?.default)))}`);
  return inner.length === 0 ? name : `{ name: ${name}, ${inner.join(', ')} }`;
}

function braces(entries: readonly (readonly [string, unknown])[]): string {
  return `{ ${entries.map(([key, value]) => `${key}: ${String(value)}`).join(', ')} }`;
}

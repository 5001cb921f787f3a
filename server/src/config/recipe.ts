/** Settings of a rule and of `defaults` → the Recipe of a layer, or the reason why this combination cannot be. */
import { methods } from '../methods';
import { keepOriginal } from '../methods/method';
import type { KeepDtype, Quantizer, Range, Recipe } from '../protocol';
import type { QuantizerOverride, Settings } from './parse';

export type RecipeResult = { recipe: Recipe } | { refusal: string; range: Range | undefined };

/** A layer nobody quantizes. */
export function keepRecipe(dtype: KeepDtype): Recipe {
  return { method: 'keep', rotate: null, weights: { kind: 'keep', dtype }, activations: keepOriginal, solver: 'rtn' };
}

/** The recipe for inputs of `width`. What `settings` leave out comes from `defaults`; without any method or scheme the layer is kept as it is. */
export function recipeFor(settings: Settings, defaults: Settings, width: number): RecipeResult {
  if (settings.keep) {
    return { recipe: keepRecipe(settings.keep.value) };
  }
  if (defaults.keep && !settings.method && !settings.scheme) {
    return { recipe: keepRecipe(defaults.keep.value) };
  }
  const method = settings.method ?? defaults.method;
  const scheme = settings.scheme ?? defaults.scheme;
  if (!method && !scheme) {
    return { recipe: keepRecipe('original') };
  }
  if (!method || !scheme) {
    const missing = method ? 'scheme' : 'method';
    return { refusal: `Neither this rule nor "defaults" gives a ${missing}. Add "${missing}: ${method ? 'W4A4' : 'orbitquant'}" to one of them.`, range: (method ?? scheme)?.range };
  }
  const preset = methods.get(method.value.name);
  if (!preset) {
    return { refusal: `There is no method "${method.value.name}". Known: ${[...methods.keys()].join(', ')}.`, range: method.range };
  }
  const recipe = preset.recipe(scheme.value);
  const result: Recipe = {
    ...recipe,
    rotate: method.value.rotate === undefined ? recipe.rotate : method.value.rotate || null,
    weights: override(recipe.weights, method.value.weights),
    activations: override(recipe.activations, method.value.activations),
  };
  if (result.weights.kind === 'keep' && result.activations.kind === 'keep') {
    return { recipe: keepRecipe('original') };
  }
  const refusal = refuse(result.weights, 'weights', width) ?? refuse(result.activations, 'activations', width) ?? unused(recipe.weights, method.value.weights, 'weights', scheme.value.weightBits)
    ?? unused(recipe.activations, method.value.activations, 'activations', scheme.value.activationBits);
  return refusal ? { refusal, range: settings.method?.range ?? settings.scheme?.range ?? method.range } : { recipe: result };
}

function override(preset: Quantizer, written: QuantizerOverride | undefined): Quantizer {
  if (!written || preset.kind === 'keep') {
    return preset;
  }
  const kind = written.kind ?? preset.kind;
  return kind === 'codebook'
    ? { kind, bits: preset.bits, norm: written.norm ?? (preset.kind === 'codebook' ? preset.norm : 'bf16') }
    : {
      kind, bits: preset.bits,
      symmetric: written.symmetric ?? (preset.kind === 'int' ? preset.symmetric : true),
      group: written.group ?? (preset.kind === 'int' ? preset.group : 'row'),
      scale: written.scale ?? (preset.kind === 'int' ? preset.scale : 'fp16'),
    };
}

/** Combinations that no decoder could undo. */
function refuse(quantizer: Quantizer, side: string, width: number): string | undefined {
  if (quantizer.kind !== 'int') {
    return undefined;
  }
  if (typeof quantizer.group === 'number' && width % quantizer.group !== 0) {
    const fitting = [256, 128, 64, 32, 16, 8, 4, 2].find((group) => group < Number(quantizer.group) && width % group === 0);
    return `A group of ${quantizer.group} does not divide the width ${width}. Use ${fitting ? `a group of ${fitting} or ` : ''}"row".`;
  }
  return quantizer.bits === 1 && quantizer.symmetric
    ? `1-bit symmetric integers have no positive level, so ${side} would be lost. Use "kind: codebook" or "symmetric: false".` : undefined;
}

/** Overrides that can have no effect are mistakes, not wishes. */
function unused(preset: Quantizer, written: QuantizerOverride | undefined, side: string, bits: number): string | undefined {
  if (!written || Object.keys(written).length === 0) {
    return undefined;
  }
  if (preset.kind === 'keep') {
    return `The scheme leaves ${side} unquantized (${bits} bits), so the "${side}" settings of the method have no effect. Remove them or lower the bits.`;
  }
  const kind = written.kind ?? preset.kind;
  const foreign = kind === 'codebook' ? (['symmetric', 'group', 'scale'] as const) : (['norm'] as const);
  const name = foreign.find((key) => written[key] !== undefined);
  return name ? `"${name}" belongs to ${kind === 'codebook' ? 'integer' : 'codebook'} quantizers, but ${side} use ${kind === 'codebook' ? 'a codebook' : 'an integer quantizer'} here. Remove it or add "kind: ${kind === 'codebook' ? 'int' : 'codebook'}".` : undefined;
}

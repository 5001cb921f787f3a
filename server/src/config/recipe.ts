/** Settings of a rule and of `defaults` → the Recipe of a layer, or the reason why this combination cannot be. */
import { methods } from '../methods';
import { keepOriginal, plain } from '../methods/method';
import { fixedGroups } from '../methods/widths';
import type { LayerShape } from '../methods/widths';
import type { FloatFormat, KeepDtype, Quantizer, Range, Recipe } from '../protocol';
import { quantizerKeys } from './methodParts';
import type { MethodSettings, QuantizerOverride } from './methodParts';
import type { Settings } from './parse';
import { refusalOf } from './refusals';

export type RecipeResult = { recipe: Recipe } | { refusal: string; range: Range | undefined };

/** A layer nobody quantizes. */
export function keepRecipe(dtype: KeepDtype): Recipe {
  return { ...plain, method: 'keep', weights: { kind: 'keep', dtype }, activations: keepOriginal };
}

/** The recipe for a layer. What `settings` leave out comes from `defaults`; without any method or scheme the layer is kept as it is. */
export function recipeFor(settings: Settings, defaults: Settings, layer: LayerShape): RecipeResult {
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
  const written = method.value;
  const merged = merge(recipe, written);
  if (merged.weights.kind === 'keep' && merged.activations.kind === 'keep') {
    return { recipe: keepRecipe('original') };
  }
  const refusal = refusalOf(merged, layer) ?? unused(recipe.weights, written.weights, 'weights', scheme.value.weightBits) ?? unused(recipe.activations, written.activations, 'activations', scheme.value.activationBits)
    ?? unusedParts(merged, written);
  return refusal ? { refusal, range: settings.method?.range ?? settings.scheme?.range ?? method.range } : { recipe: merged };
}

/** What the settings ask for, whether or not a layer can have it; undefined where they leave method or scheme open. */
export function askedRecipe(settings: Settings, defaults: Settings): Recipe | undefined {
  const [method, scheme] = [settings.method ?? defaults.method, settings.scheme ?? defaults.scheme];
  const preset = method && scheme && !settings.keep ? methods.get(method.value.name)?.recipe(scheme.value) : undefined;
  return preset && method && merge(preset, method.value);
}

/** Parts replace the preset's as a whole; of the quantizers single keys. What works on weights alone is dropped from a preset that keeps them. */
function merge(preset: Recipe, written: MethodSettings): Recipe {
  const part = <K extends 'smooth' | 'permute' | 'rotate' | 'tail' | 'lowRank'>(key: K): Recipe[K] => (written[key] === undefined ? preset[key] : (written[key] || null) as Recipe[K]);
  const weights = override(preset.weights, written.weights);
  const kept = weights.kind === 'keep';
  return {
    method: preset.method, smooth: part('smooth'), permute: part('permute'), rotate: part('rotate'), tail: part('tail'), lowRank: kept ? null : part('lowRank'),
    weights, activations: override(preset.activations, written.activations), solver: kept ? plain.solver : written.solver ?? preset.solver,
  };
}

/** Keys of the preset stay where the kind stays. */
function override(preset: Quantizer, written: QuantizerOverride | undefined): Quantizer {
  if (!written || preset.kind === 'keep') {
    return preset;
  }
  const bits = preset.kind === 'float' ? { fp4: 4, nvfp4: 4, mxfp4: 4, fp8: 8, mxfp8: 8 }[preset.format] : preset.bits;
  const own = written.kind === undefined || written.kind === preset.kind ? preset : undefined;
  const kind = written.kind ?? preset.kind;
  switch (kind) {
    case 'codebook': case 'midrise': return { kind, bits, norm: written.norm ?? (own?.kind === kind ? own.norm : 'bf16') };
    case 'twin-log': return { kind, bits, form: written.form ?? (own?.kind === kind ? own.form : 'corrected') };
    case 'float': return float(bits, written, own?.kind === kind ? own : undefined);
    case 'int': {
      const base = own?.kind === 'int' ? own : undefined;
      const clip = written.clip ?? base?.clip;
      const range = written.range ?? base?.range;
      const shift = written.shift ?? base?.shift;
      return {
        kind, bits,
        symmetric: written.symmetric ?? base?.symmetric ?? true,
        group: written.group ?? (written.range ? 'tensor' : base?.group ?? 'row'),
        scale: written.scale ?? base?.scale ?? 'fp16',
        ...(clip === undefined ? {} : { clip }), ...(range === undefined ? {} : { range }), ...(shift === undefined ? {} : { shift }),
      };
    }
  }
}

function float(bits: number, written: QuantizerOverride, base: Extract<Quantizer, { kind: 'float' }> | undefined): Quantizer {
  const format: FloatFormat = written.format ?? base?.format ?? (bits === 8 ? 'fp8' : 'nvfp4');
  return { kind: 'float', format, group: written.group ?? fixedGroups[format] ?? (base?.format === format ? base.group : 'row') };
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
  if (kind === 'float' && bits !== 4 && bits !== 8) {
    return `Float formats have 4 or 8 bits, but the scheme gives ${side} ${bits}. Use 4 or 8 bits there, or another "kind".`;
  }
  if (kind === 'float' && written.format && bits !== (written.format.endsWith('8') ? 8 : 4)) {
    return `${written.format} has ${written.format.endsWith('8') ? 8 : 4} bits, but the scheme gives ${side} ${bits}. Change the format or the scheme.`;
  }
  const foreign = (Object.keys(written) as (keyof QuantizerOverride)[]).find((key) => key !== 'kind' && !quantizerKeys[kind].includes(key));
  const owners = Object.entries(quantizerKeys).filter(([, keys]) => foreign && keys.includes(foreign)).map(([owner]) => owner);
  return foreign && `"${foreign}" belongs to ${owners.map((owner) => quantizerNames[owner]).join(' and ')} quantizers, but ${side} use ${quantizerTexts[kind]} here. Remove it or add "kind: ${owners[0] ?? ''}".`;
}

const quantizerNames: Record<string, string> = { int: 'integer', codebook: 'codebook', midrise: 'mid-rise', 'twin-log': 'twin-log', float: 'float' };
const quantizerTexts = { int: 'an integer quantizer', codebook: 'a codebook', midrise: 'a mid-rise quantizer', 'twin-log': 'a twin-log quantizer', float: 'a float format' };

function unusedParts({ weights }: Recipe, { lowRank, solver }: MethodSettings): string | undefined {
  const part = lowRank ? 'lowRank' : solver && solver.kind !== 'rtn' ? 'solver' : undefined;
  return part && weights.kind === 'keep' ? `The scheme leaves weights unquantized, so "${part}" has no effect. Remove it or lower the bits.` : undefined;
}

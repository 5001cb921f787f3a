/** What a writer provides: a plan as the file of one tool. Adding a dialect to export to is one file beside this one and one line in index.ts. */
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { Checkpoint, LayerPlan, Quantizer, Recipe } from '../../../protocol';
import { describeQuantizer } from '../../describe';
import { kept } from '../../dialects/dialect';
import type { Dialect, ParsedDialect, Treatment } from '../../dialects/dialect';
import { readDialectFile } from '../../dialects';
import { PatternIndex } from '../../patterns/cover';
import type { PatternLanguage } from '../../patterns/cover';
import { regexOf } from '../../patterns/languages';
import { differences, isKept } from '../compare';
import { ConversionError, layersPlace } from '../lossy';

/** Layers that get the same. */
export interface RecipeClass { recipe: Recipe; layers: LayerPlan[]; params: number }

export interface WriteRequest {
  /** Those with the most weights first. */
  classes: readonly RecipeClass[];
  /** Of `classes`: what is quantized on either side, and what is not. */
  quantized: readonly RecipeClass[];
  kept: readonly RecipeClass[];
  checkpoint: Checkpoint;
}

export interface Writer {
  /** Dialect.id */
  id: string;
  dialect: Dialect;
  /** What it can say, in a line for the list of targets. */
  says: string;
  /** Usual name of the file. */
  fileName: string;
  /** @throws ConversionError for what the tool has no counterpart of */
  write(request: WriteRequest): string;
}

export function json(value: unknown): string { return `${JSON.stringify(value, null, 2)}\n`; }

/** A backend of diffusers: the mapping of a component's config.json. */
export function quantizationConfig(value: Record<string, unknown>): string { return json({ quantization_config: value }); }

/** Names of layers. */
export function namesOf(classes: readonly RecipeClass[]): Set<string> {
  return new Set(classes.flatMap(({ layers }) => layers.map(({ name }) => name)));
}

/** The layers with the most weights decide where a tool has one setting for all. @throws ConversionError when nothing is quantized */
export function mainClass({ quantized }: WriteRequest, title: string): RecipeClass {
  const [main] = quantized;
  if (!main) {
    throw new ConversionError(`This config quantizes no layer, so there is nothing to write for ${title}.`);
  }
  return main;
}

/** One of a tool's settings, and what it does to a layer. */
export interface Candidate<T> { setting: T; recipe: Recipe | undefined }

/**
 * The setting that does the least otherwise than the plan, the first of equal ones.
 * @throws ConversionError when each of them does something else altogether: a codebook, or bits that the tool does not have
 */
export function nearest<T>(candidates: readonly Candidate<T>[], { recipe, layers }: RecipeClass, title: string): T {
  const stored = layers[0]?.tensor.dtype ?? 'BF16';
  const ranked = candidates.flatMap(({ setting, recipe: own }) => (own ? [{ setting, own, found: differences(recipe, own, stored) }] : []))
    .filter(({ own }) => canBe(recipe.weights, own.weights)).map((each) => ({ ...each, cost: each.found.reduce((sum, { grave }) => sum + (grave ? 100 : 1), 0) + fieldsApart(recipe.weights, each.own.weights) + fieldsApart(recipe.activations, each.own.activations) })).sort((a, b) => a.cost - b.cost);
  const [best] = ranked;
  if (!best) {
    throw new ConversionError(`${title} cannot say ${describeQuantizer(recipe.weights)} weights (${layersPlace(layers)}). ${remedyOf(recipe.weights)}`);
  }
  return best.setting;
}

/** How many settings of two quantizers of one kind differ. */
function fieldsApart(a: Quantizer, b: Quantizer): number {
  return new Set([...Object.entries(a), ...Object.entries(b)].map(([key, value]) => `${key} ${String(value)}`)).size - Object.keys(a).length;
}

/** Bits are the least that must agree, and codes that are numbers: no tool has our codebooks. */
function canBe(planned: Quantizer, own: Quantizer): boolean {
  const number = (quantizer: Quantizer): boolean => quantizer.kind === 'int' || quantizer.kind === 'float';
  return planned.kind === 'keep' ? own.kind === 'keep' : number(planned) && own.kind !== 'keep' && widthOf(planned) === widthOf(own);
}

function widthOf(quantizer: Quantizer): number | undefined {
  return quantizer.kind === 'int' ? quantizer.bits : quantizer.kind === 'float' ? quantizer.format.endsWith('8') ? 8 : 4 : undefined;
}

export function remedyOf(weights: Quantizer): string {
  return weights.kind === 'int' || weights.kind === 'float' ? 'Change the scheme of these layers, or export to another tool.' : 'Write a packed checkpoint instead (quantscope quantize), or give these layers "weights: { kind: int }".';
}

/** Refuses classes with weights or activations that are neither integers nor floats. @throws ConversionError */
export function requireNumbers(classes: readonly RecipeClass[], title: string): void {
  for (const { recipe, layers } of classes) {
    for (const [side, quantizer] of [['weights', recipe.weights], ['activations', recipe.activations]] as const) {
      if (quantizer.kind === 'codebook' || quantizer.kind === 'midrise' || quantizer.kind === 'twin-log') {
        throw new ConversionError(`${title} has nothing like ${describeQuantizer(quantizer)} ${side} (${layersPlace(layers)}). ${remedyOf(quantizer)}`);
      }
    }
  }
}

/** What a dialect makes of a text for layers that no entry takes. */
export function otherwiseOf(dialect: Dialect, text: string): Treatment {
  return parsedOf(dialect, text).otherwise;
}

/** What a dialect makes of the first entry of a text. */
export function entryOf(dialect: Dialect, text: string): Treatment {
  const [first] = parsedOf(dialect, text).entries;
  return first?.treatment ?? kept;
}

function parsedOf(dialect: Dialect, text: string): ParsedDialect {
  return dialect.parse(readDialectFile('config.json', TextDocument.create('file:///config.json', 'json', 1, text)));
}

/** Patterns for a class, of which nothing else may be taken but what is allowed. */
export function patternsFor(checkpoint: Checkpoint, wanted: ReadonlySet<string>, allowed: ReadonlySet<string>, language?: PatternLanguage): string[] {
  const found = indexOf(checkpoint, language).coverNearest(wanted, allowed);
  return found.patterns;
}

const indices = new WeakMap<Checkpoint, Map<PatternLanguage | undefined, PatternIndex>>();

/** Built once for a checkpoint and a language. */
function indexOf(checkpoint: Checkpoint, language: PatternLanguage | undefined): PatternIndex {
  const known = indices.get(checkpoint) ?? new Map<PatternLanguage | undefined, PatternIndex>();
  indices.set(checkpoint, known);
  const index = known.get(language) ?? new PatternIndex(checkpoint.layers.map(({ name }) => name), language);
  known.set(language, index);
  return index;
}

/** Each class with its patterns for a tool that lets the first match decide: of those with fewer layers first, so that the last may be the most general. */
export function firstWins(classes: readonly RecipeClass[], checkpoint: Checkpoint): { of: RecipeClass; globs: string[] }[] {
  const order = [...classes].sort((a, b) => a.layers.length - b.layers.length);
  return order.map((of, i) => ({ of, globs: patternsFor(checkpoint, namesOf([of]), namesOf(order.slice(0, i))) }));
}

/** Each class with patterns that take no layer of another, for tools with a precedence of their own. */
export function apart(classes: readonly RecipeClass[], checkpoint: Checkpoint, language?: PatternLanguage): { of: RecipeClass; globs: string[] }[] {
  return classes.map((of) => ({ of, globs: patternsFor(checkpoint, namesOf([of]), new Set(), language) }));
}

/** Anchored at both ends. */
export function wholeName(glob: string, suffix = ''): string { return `^${regexOf(glob + suffix)}$`; }

export { isKept };

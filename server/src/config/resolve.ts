/** QuantConfig + Checkpoint → Plan. Pure and deterministic: the same two values always give the same plan and hash. */
import { createHash } from 'node:crypto';
import type { Checkpoint, Decision, EntryMatch, Layer, LayerPlan, Plan, PlanTotals, Range, Recipe, RuleMatch } from '../protocol';
import type { ConfigProblem } from './codes';
import { tailWidth } from '../methods/widths';
import type { LayerShape } from '../methods/widths';
import { packedLayers } from '../checkpoint/packed';
import type { PackedLayer } from '../checkpoint/packed';
import { dtypeBits } from '../checkpoint/safetensors';
import { describeQuantizer } from './describe';
import { matchList } from './match';
import { nearest } from './nearest';
import { neverQuantized, tensorsNamed } from './neverQuantized';
import { codeBits, packedBytes, sharedBytes } from './packedSize';
import type { Located, QuantConfig, Rule, Settings } from './parse';
import { remembering } from './remembered';
import { recipeFor, keepRecipe } from './recipe';
import type { RecipeResult } from './recipe';

const topOfFile: Range = { start: { line: 0, character: 0 }, end: { line: 0, character: 0 } };

export function resolvePlan(config: QuantConfig, checkpoint: Checkpoint): Plan {
  const problems: ConfigProblem[] = [];
  const matches = config.rules.map((rule) => seenOf(rule, checkpoint).matched);
  const layers = decide(config, checkpoint, matches, problems);
  const totals = addUp(layers, checkpoint);
  const decided = config.rules.map((): LayerPlan[] => []);
  layers.forEach((layer) => decided[layer.decidedBy?.rule ?? -1]?.push(layer));
  const rules = config.rules.map((rule, index) => knownMatch(rule, decided[index] ?? [], layers, checkpoint, totals.params));
  problems.push(...ruleProblems(config.rules, rules, checkpoint), ...coverageProblems(config, layers, checkpoint), ...budgetProblems(config, totals));
  return {
    checkpoint: checkpoint.path, revision: checkpoint.revision, architecture: checkpoint.architecture, layers, rules, totals, problems,
    hash: hashOf(checkpoint, layers),
  };
}

const lastHashes = new WeakMap<Checkpoint, { layers: readonly LayerPlan[]; hash: string }>();

/** Of what layers become, whoever decided it. */
function hashOf(checkpoint: Checkpoint, layers: readonly LayerPlan[]): string {
  const last = lastHashes.get(checkpoint);
  const isLast = last?.layers.length === layers.length && layers.every(({ recipe }, i) => recipe === last.layers[i]?.recipe);
  const hash = isLast ? last.hash : createHash('sha256').update(`[${JSON.stringify(checkpoint.path)},${JSON.stringify(checkpoint.revision)},[${layers.map(hashed).join(',')}]]`).digest('hex');
  lastHashes.set(checkpoint, { layers, hash });
  return hash;
}

/** Digests, so that a plan of thousand layers is not a hundred kilobytes of text at every keystroke. */
const digests = new WeakMap<Recipe, string>();

function hashed({ name, recipe }: LayerPlan): string {
  const digest = digests.get(recipe) ?? createHash('sha256').update(JSON.stringify(recipe)).digest('base64');
  digests.set(recipe, digest);
  return `[${JSON.stringify(name)},${digest}]`;
}

/** The last rule that matches a layer decides it; a refused combination leaves the layer as it is and says so once per rule. */
function decide(config: QuantConfig, checkpoint: Checkpoint, matches: readonly Uint32Array[], problems: ConfigProblem[]): LayerPlan[] {
  const deciding = new Int32Array(checkpoint.layers.length).fill(-1);
  matches.forEach((indices, rule) => indices.forEach((layer) => { deciding[layer] = rule; }));
  const refused = new Map<string, { layers: Layer[]; problem: ConfigProblem }>();
  const packed = packedLayers(checkpoint);
  const plans = checkpoint.layers.map((layer, index) => {
    const rule = config.rules[deciding[index] ?? -1];
    const last = lastPlans.get(layer);
    if (last && last.rule === rule && last.defaults === config.defaults) {
      decisionOf(rule, config);
      return last.plan;
    }
    const shape = { inFeatures: layer.inFeatures, outFeatures: layer.outFeatures, role: layer.role, heads: headsOf(layer, checkpoint) };
    const known = packed.get(layer.name);
    const asked = knownRecipe(rule, config.defaults, shape);
    const result = known && 'recipe' in asked && !isUntouched(asked.recipe) ? { refusal: alreadyPacked(known.entry.recipe), range: rule?.range } : asked;
    if ('recipe' in result) {
      const plan = known ? packedLayer(layer, shape, known, decisionOf(rule, config)) : knownPlan(layer, shape, result.recipe, decisionOf(rule, config));
      lastPlans.set(layer, { rule, defaults: config.defaults, plan });
      return plan;
    }
    const range = result.range ?? rule?.range ?? config.defaults.range ?? topOfFile;
    const key = `${rule?.index ?? -1} ${result.refusal}`;
    const seen = refused.get(key);
    if (seen) {
      seen.layers.push(layer);
    } else {
      refused.set(key, { layers: [layer], problem: { code: 'plan/refused', severity: 'error', message: result.refusal, range } });
    }
    return known ? packedLayer(layer, shape, known, null) : planLayer(layer, shape, keepRecipe('original'), decisionOf(rule, config));
  });
  for (const { layers, problem } of refused.values()) {
    const names = layers.map(({ name }) => name);
    const which = names.length === 1 ? names.join('') : `${names.length} layers: ${placesOf(names)}`;
    problems.push({ ...problem, message: `${problem.message} (${which}; left unquantized until then)` });
  }
  return plans;
}

/** Of the last config that was resolved. Rules that a keystroke leaves alone are the same objects (parse.ts), and so are their plans. */
const lastPlans = new WeakMap<Layer, { rule: Rule | undefined; defaults: QuantConfig['defaults']; plan: LayerPlan }>();

/** By what is asked for, in words: the same from one keystroke to the next, wherever it stands. Refusals name places and are made anew. */
const recipes = new Map<string, { recipe: Recipe }>();
const maxRecipes = 8192;

function knownRecipe(rule: Rule | undefined, defaults: QuantConfig['defaults'], shape: LayerShape): RecipeResult {
  const key = `${asked(rule)} ${asked(defaults)} ${shape.outFeatures} ${shape.inFeatures} ${shape.role} ${shape.heads ?? ''}`;
  const known = recipes.get(key);
  if (known) {
    return known;
  }
  const result = recipeFor(rule ?? {}, defaults, shape);
  if ('recipe' in result) {
    if (recipes.size >= maxRecipes) {
      recipes.clear();
    }
    recipes.set(key, result);
  }
  return result;
}

const words = new WeakMap<Settings, string>();

function asked(settings: Settings | undefined): string {
  if (!settings) {
    return '';
  }
  const text = words.get(settings) ?? JSON.stringify([settings.scheme?.value, settings.method?.value, settings.keep?.value]);
  words.set(settings, text);
  return text;
}

/** By recipe, which stands for the layer's shape too. */
const plans = new WeakMap<Recipe, WeakMap<Layer, LayerPlan>>();

function knownPlan(layer: Layer, shape: LayerShape, recipe: Recipe, decidedBy: Decision | null): LayerPlan {
  const byLayer = plans.get(recipe) ?? new WeakMap<Layer, LayerPlan>();
  plans.set(recipe, byLayer);
  const plan = byLayer.get(layer) ?? planLayer(layer, shape, recipe, null);
  byLayer.set(layer, plan);
  return { ...plan, decidedBy };
}

/** "transformer_blocks.*.norm1.linear": names with their numbers as stars, the first few. */
export function placesOf(names: readonly string[]): string {
  const places = [...new Set(names.map((name) => name.replace(/\.\d+(?=\.)/g, '.*')))];
  return places.length > 3 ? `${places.slice(0, 3).join(', ')} and ${places.length - 3} more` : places.join(', ');
}

const decisions = new WeakMap<Rule, Decision>();

/** Of a rule one object, which moves with it. */
function decisionOf(rule: Rule | undefined, config: QuantConfig): Decision | null {
  if (rule) {
    const decision = Object.assign(decisions.get(rule) ?? {}, { rule: rule.index, name: rule.name, range: rule.range });
    decisions.set(rule, decision);
    return decision;
  }
  return config.defaults.range ? { rule: -1, name: 'defaults', range: config.defaults.range } : null;
}

function isUntouched({ weights, activations }: LayerPlan['recipe']): boolean {
  return weights.kind === 'keep' && activations.kind === 'keep' && weights.dtype === 'original';
}

function alreadyPacked(recipe: LayerPlan['recipe']): string {
  return `These weights are packed already (${recipe.method}, weights ${describeQuantizer(recipe.weights)}) and cannot be quantized once more. Name the original checkpoint, or keep them: "keep: original".`;
}

/** What the file holds, to the byte. */
function packedLayer(layer: Layer, shape: LayerShape, { entry, bytes }: PackedLayer, decidedBy: Decision | null): LayerPlan {
  return { ...planLayer(layer, shape, entry.recipe, decidedBy), packedBytes: bytes, averageBits: (bytes * 8) / Math.max(1, layer.params) };
}

/** Heads whose outputs, side by side, are the inputs of this layer. */
function headsOf(layer: Layer, checkpoint: Checkpoint): number | null {
  const heads = checkpoint.config?.['num_attention_heads'] ?? checkpoint.config?.['n_heads'];
  const fromAttention = ['attention-out', 'context-attention-out', 'cross-attention-out'].includes(layer.role);
  return fromAttention && typeof heads === 'number' && Number.isInteger(heads) && heads > 0 && layer.inFeatures % heads === 0 ? heads : null;
}

function planLayer(layer: Layer, shape: LayerShape, recipe: LayerPlan['recipe'], decidedBy: Decision | null): LayerPlan {
  const stored = layer.tensor.dtype;
  const tail = tailWidth(recipe, shape) ?? 0;
  const { heads } = shape;
  const bytes = packedBytes(recipe, { outFeatures: layer.outFeatures, inFeatures: layer.inFeatures, stored, tail, heads });
  return {
    name: layer.name, role: layer.role, block: layer.block, inFeatures: layer.inFeatures, outFeatures: layer.outFeatures, params: layer.params, tensor: layer.tensor,
    recipe, decidedBy, heads, tail,
    weightBits: codeBits(recipe.weights, stored),
    activationBits: codeBits(recipe.activations, stored),
    packedBytes: bytes,
    averageBits: layer.params > 0 ? (bytes * 8) / layer.params : 0,
  };
}

function addUp(layers: readonly LayerPlan[], checkpoint: Checkpoint): PlanTotals {
  const sum = <T>(items: readonly T[], value: (item: T) => number): number => items.reduce((total, item) => total + value(item), 0);
  const params = sum(layers, (layer) => layer.params);
  const shared = sharedBytes(layers);
  const packed = sum(layers, (layer) => layer.packedBytes) + shared;
  const before = packedLayers(checkpoint);
  const baselineBytes = sum(layers, ({ name, params, tensor }) => (before.has(name) ? (params * dtypeBits[tensor.dtype]) / 8 : tensor.bytes));
  const otherBytes = sum(checkpoint.tensors, (tensor) => tensor.bytes) - sum(layers, (layer) => layer.tensor.bytes);
  return {
    layers: layers.length, params, packedBytes: packed, sharedBytes: shared, averageBits: params > 0 ? (packed * 8) / params : 0,
    baselineBytes, otherBytes, checkpointBytes: packed + otherBytes,
  };
}

function paramsOf(indices: ArrayLike<number>, layers: readonly LayerPlan[]): number {
  let sum = 0;
  for (let i = 0; i < indices.length; i++) {
    sum += layers[indices[i] ?? -1]?.params ?? 0;
  }
  return sum;
}

/** What a rule takes of the checkpoint it met last, and what was said of it when it decided these layers. */
interface Seen { checkpoint: Checkpoint; matched: Uint32Array; decided?: readonly LayerPlan[]; match?: RuleMatch }
const seenRules = new WeakMap<Rule, Seen>();

function seenOf(rule: Rule, checkpoint: Checkpoint): Seen {
  const seen = seenRules.get(rule);
  if (seen?.checkpoint === checkpoint) {
    return seen;
  }
  const now: Seen = { checkpoint, matched: matchList(checkpoint, rule.layers.map((layer) => layer.value)) };
  seenRules.set(rule, now);
  return now;
}

function knownMatch(rule: Rule, decided: readonly LayerPlan[], layers: readonly LayerPlan[], checkpoint: Checkpoint, allParams: number): RuleMatch {
  const seen = seenOf(rule, checkpoint);
  if (!seen.match || seen.decided?.length !== decided.length || !seen.decided.every((layer, i) => layer === decided[i])) {
    seen.decided = decided;
    seen.match = ruleMatch(rule, seen.matched, decided, layers, checkpoint, allParams);
  }
  seen.match.name = rule.name;
  return seen.match;
}

/** @param decided layers that the rule decides */
function ruleMatch(rule: Rule, matched: Uint32Array, decided: readonly LayerPlan[], layers: readonly LayerPlan[], checkpoint: Checkpoint, allParams: number): RuleMatch {
  const decidedParams = decided.reduce((sum, layer) => sum + layer.params, 0);
  const entry = (text: string, range: Range, indices: ArrayLike<number>): EntryMatch => ({
    text, range, matchedLayers: indices.length,
    matchedParamsPercent: allParams > 0 ? (100 * paramsOf(indices, layers)) / allParams : 0,
  });
  return {
    ...entry(rule.layers.map((layer) => layer.value).join(', '), rule.layersRange, matched),
    name: rule.name,
    patterns: rule.layers.map((pattern) => entry(pattern.value, pattern.range, matchList(checkpoint, [pattern.value.replace(/^!/, '')]))),
    decidedLayers: decided.length,
    averageBits: decidedParams > 0 ? (decided.reduce((sum, layer) => sum + layer.packedBytes, 0) * 8) / decidedParams : null,
  };
}

/** A config of another model matches nothing at all: the first warnings tell. */
const maxWarnings = 50;

function ruleProblems(rules: readonly Rule[], found: readonly RuleMatch[], checkpoint: Checkpoint): ConfigProblem[] {
  const unmatched = rules.flatMap((rule, index) => rule.layers.filter((_, i) => found[index]?.patterns[i]?.matchedLayers === 0));
  const problems = unmatched.slice(0, maxWarnings).map((pattern) => nothingMatched(pattern, checkpoint));
  const [next] = unmatched.slice(maxWarnings);
  if (next) {
    problems.push({
      code: 'plan/pattern-matches-nothing', severity: 'warning', range: next.range,
      message: `This and ${unmatched.length - maxWarnings - 1} later patterns match none of the ${checkpoint.layers.length} layers either. Is it the right checkpoint?`,
    });
  }
  const shadowed = found.flatMap((match, index) => (match.matchedLayers > 0 && match.decidedLayers === 0 ? [{ match, range: rules[index]?.layersRange ?? topOfFile }] : []));
  return [...problems, ...shadowed.slice(0, maxWarnings).map(({ match, range }): ConfigProblem => ({
    code: 'plan/shadowed-rule', severity: 'warning', range,
    message: `Later rules take ${match.matchedLayers === 1 ? 'the only layer' : `all ${match.matchedLayers} layers`} this rule matches, so it has no effect. Move it down, narrow the later rules, or remove it.`,
  }))];
}

function nothingMatched(pattern: Located<string>, checkpoint: Checkpoint): ConfigProblem {
  const excludes = pattern.value.startsWith('!');
  const text = pattern.value.replace(/^!/, '');
  const named = tensorsNamed(checkpoint, text);
  if (named) {
    return neverQuantized(pattern, named);
  }
  const problem: ConfigProblem = {
    code: 'plan/pattern-matches-nothing', severity: 'warning', range: pattern.range,
    message: `"${shorten(text)}" ${excludes ? 'excludes nothing: it ' : ''}matches none of the ${checkpoint.layers.length} layers of this checkpoint.`,
  };
  const better = betterPattern(text, checkpoint);
  if (better === undefined) {
    return problem;
  }
  const replacement = (excludes ? '!' : '') + better;
  const { length } = matchList(checkpoint, [better]);
  return {
    ...problem, message: `${problem.message} Did you mean "${replacement}" (${length === 1 ? '1 layer' : `${length} layers`})?`,
    data: { fixes: [{ title: `Change to "${replacement}"`, edits: [{ range: pattern.range, text: JSON.stringify(replacement) }] }] },
  };
}

/** The pattern that was probably meant. The search compares with every layer's name. */
const betterPattern = remembering((text, checkpoint: Checkpoint) => (text.length < 200 ? searchBetter(checkpoint, text) : undefined), 1024);

function searchBetter(checkpoint: Checkpoint, text: string): string | undefined {
  return [`**.${text}`, `${text}.**`, `**.${text}.**`].find((candidate) => matchList(checkpoint, [candidate]).length > 0)
    ?? nearest(text, checkpoint.layers.map((layer) => layer.name));
}

function shorten(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 60)}… (${text.length} characters)`;
}

function coverageProblems(config: QuantConfig, layers: readonly LayerPlan[], checkpoint: Checkpoint): ConfigProblem[] {
  const packed = packedLayers(checkpoint);
  const uncovered = layers.filter((layer) => layer.decidedBy === null && !packed.has(layer.name));
  return uncovered.length === 0 ? [] : [{
    code: 'plan/uncovered', severity: 'info', range: config.rules[0]?.range ?? topOfFile,
    message: `No rule covers ${uncovered.length} of ${layers.length} layers (first ${uncovered[0]?.name ?? ''}); they stay as they are. Add "defaults" or a rule.`,
  }];
}

function budgetProblems(config: QuantConfig, totals: PlanTotals): ConfigProblem[] {
  const { budget } = config;
  if (!budget) {
    return [];
  }
  const over = (message: string): ConfigProblem[] => [{ code: 'plan/over-budget', severity: 'error', range: budget.range, message }];
  if ('bits' in budget.value) {
    return totals.averageBits > budget.value.bits
      ? over(`The plan needs ${totals.averageBits.toFixed(3)} bits per linear weight, side data included; the budget is ${budget.value.bits}.`) : [];
  }
  const { bytes } = budget.value;
  return totals.checkpointBytes > bytes
    ? over(`The quantized checkpoint takes ${formatBytes(totals.checkpointBytes)} (${formatBytes(totals.packedBytes)} linear weights, ${formatBytes(totals.otherBytes)} other tensors), ` +
      `${formatBytes(totals.checkpointBytes - bytes)} over the budget of ${formatBytes(bytes)}.`) : [];
}

/** Decimal units, as budgets are written: 6.90 GB. */
export function formatBytes(bytes: number): string {
  const unit = ['B', 'kB', 'MB', 'GB', 'TB'];
  let power = 0;
  while (bytes >= 1000 ** (power + 1) && power < 4) {
    power++;
  }
  return power === 0 ? `${bytes} B` : `${(bytes / 1000 ** power).toFixed(2)} ${unit[power] ?? ''}`;
}

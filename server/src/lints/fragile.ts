/** Modulation, embedder and final layers with fewer bits than they bear. */
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { ConfigProblem } from '../config/codes';
import { describeQuantizer } from '../config/describe';
import { addRules, ruleText, setSettings } from '../config/edits';
import { parseConfig } from '../config/parse';
import type { Settings } from '../config/parse';
import { recipeFor } from '../config/recipe';
import { placesOf } from '../config/resolve';
import { patternsOf } from '../config/template';
import { methods } from '../methods';
import { usualPolicy } from '../methods/method';
import type { PolicyRule } from '../methods/method';
import type { Checkpoint, LayerPlan, Quantizer, Recipe, Role } from '../protocol';
import { fix, ruleAt, withFixes } from './lint';
import type { Lint, Subject } from './lint';

const fragileRoles: ReadonlySet<Role> = new Set<Role>(['modulation', 'embedder', 'final']);

/** Thresholds and their sources: plan/fragile-low-bits in codes.ts. */
function isLow(role: Role, { weights, activations }: Recipe): boolean {
  const grouped = (weights.kind === 'int' || weights.kind === 'float') && typeof weights.group === 'number' && weights.group <= 128;
  return bitsOf(activations) < 8 || bitsOf(weights) < 4 || (bitsOf(weights) === 4 && !(grouped && role === 'modulation'));
}

function bitsOf(quantizer: Quantizer): number {
  return quantizer.kind === 'keep' ? 16 : quantizer.kind === 'float' ? (quantizer.format.endsWith('8') ? 8 : 4) : quantizer.bits;
}

interface Group { entry: PolicyRule; method: string; layers: LayerPlan[] }

export const fragile: Lint = (subject) => {
  const groups = new Map<string, Group>();
  for (const layer of subject.plan.layers) {
    const { role, recipe, decidedBy } = layer;
    const policy = decidedBy && fragileRoles.has(role) && isLow(role, recipe) ? policyOf(subject.checkpoint, layer) : undefined;
    if (policy) {
      const key = `${decidedBy?.rule ?? ''} ${policy.name}`;
      const group = groups.get(key) ?? { entry: policy, method: recipe.method, layers: [] };
      group.layers.push(layer);
      groups.set(key, group);
    }
  }
  return [...groups.values()].map((group) => toProblem(subject, group));
};

/** What the method's own paper does with such a layer; undefined when that is as few bits as it has. */
function policyOf({ architecture }: Checkpoint, { role, recipe, inFeatures, outFeatures, heads }: LayerPlan): PolicyRule | undefined {
  const scheme = { weightBits: bitsOf(recipe.weights), activationBits: bitsOf(recipe.activations) };
  const entry = methods.get(recipe.method)?.policy(architecture, scheme).findLast(({ roles, wider = 0 }) => roles.includes(role) && inFeatures > wider) ?? usualPolicy.find(({ roles }) => roles.includes(role));
  const own = entry && settingsOf(entry, recipe.method, `W${scheme.weightBits}A${scheme.activationBits}`);
  const result = own && recipeFor(own.rule, own.defaults, { inFeatures, outFeatures, role, heads });
  if (!entry || !result || 'refusal' in result) {
    return entry && { ...entry, settings: ['keep: original'] };
  }
  const more = bitsOf(result.recipe.weights) > bitsOf(recipe.weights) || bitsOf(result.recipe.activations) > bitsOf(recipe.activations);
  return more || !isLow(role, result.recipe) ? entry : undefined;
}

const parsed = new Map<string, { rule: Settings; defaults: Settings }>();

/** A policy's lines, read as a config reads them. */
function settingsOf({ settings }: PolicyRule, method: string, scheme: string): { rule: Settings; defaults: Settings } | undefined {
  const text = ['version: 1', 'checkpoint: any', `defaults: { method: ${method}, scheme: ${scheme} }`, 'rules:', '  - layers: any', ...settings.map((line) => `    ${line}`)].join('\n');
  if (!parsed.has(text)) {
    const { config: { defaults, rules: [rule] } } = parseConfig(TextDocument.create('policy:', 'quantconfig', 1, text));
    parsed.set(text, { rule: rule ?? {}, defaults });
  }
  return parsed.get(text);
}

function toProblem(subject: Subject, { entry, method, layers }: Group): ConfigProblem {
  const { config } = subject;
  const [first] = layers as [LayerPlan];
  const rule = config.rules[first.decidedBy?.rule ?? -1];
  const { defaults } = config;
  const range = rule?.scheme?.range ?? rule?.method?.range ?? (rule ? rule.layersRange : defaults.scheme?.range ?? defaults.method?.range ?? defaults.range);
  const roles = [...fragileRoles].filter((role) => layers.some((layer) => layer.role === role)).join(', ').replace(/, ([^,]*)$/, ' and $1');
  return {
    code: 'plan/fragile-low-bits', severity: 'warning', ...(range ? { range } : {}),
    message: `${layers.length === 1 ? `The ${roles} layer ${first.name} gets` : `${layers.length} ${roles} layers get`} weights as ${describeQuantizer(first.recipe.weights)}, activations as ${describeQuantizer(first.recipe.activations)}: ` +
      `fewer bits than they bear${layers.length === 1 ? '' : ` (${placesOf(layers.map(({ name }) => name))})`}. ${methods.get(method)?.title ?? method} usually leaves them at "${entry.settings.join(', ')}".`,
    ...(rule && !rule.scheme && defaults.scheme ? { related: [{ message: 'The bits are written here.', range: defaults.scheme.range }] } : {}),
    ...withFixes(remedy(subject, entry, layers)),
  };
}

/** The rule of a new config for exactly these layers; a rule that is about nothing else changes instead. */
function remedy(subject: Subject, { name, settings }: PolicyRule, layers: readonly LayerPlan[]): ReturnType<typeof fix> {
  const { plan, config, checkpoint, document, root } = subject;
  const index = layers[0]?.decidedBy?.rule ?? -1;
  const rule = config.rules[index];
  const node = rule && ruleAt(subject, rule)?.node;
  if (rule && node?.kind === 'map' && plan.rules[index]?.decidedLayers === layers.length) {
    const own = fix(subject, `Change this rule to "${settings.join(', ')}"`, setSettings(document, node, settings));
    if (own.length > 0) {
      return own;
    }
  }
  const patterns = patternsOf(checkpoint, layers.map((layer) => layer.name));
  return fix(subject, `Add a rule for them: ${settings.join(', ')}`, addRules(document, root, [ruleText([`name: ${name}`, `layers: [${patterns.map((pattern) => JSON.stringify(pattern)).join(', ')}]`, ...settings])]));
}

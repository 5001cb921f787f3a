/** One embedder, stored once per block: its copies are one layer, so they should get one recipe. */
import { copiesIn } from '../checkpoint/copies';
import type { Copies } from '../checkpoint/copies';
import type { ConfigProblem } from '../config/codes';
import { addRules, appendItem, ruleText } from '../config/edits';
import { matchList } from '../config/match';
import type { Rule } from '../config/parse';
import { find } from '../config/tree';
import type { LayerPlan, QuickFix } from '../protocol';
import { fix, removeRule, ruleAt, withFixes } from './lint';
import type { Lint, Subject } from './lint';

export const copies: Lint = (subject) => {
  const groups = copiesIn(subject.checkpoint);
  if (groups.length === 0) {
    return [];
  }
  const plans = new Map(subject.plan.layers.map((layer) => [layer.name, layer]));
  return groups.flatMap((group) => {
    const layers = group.layers.map((copiesOfOne) => copiesOfOne.flatMap(({ name }) => plans.get(name) ?? []));
    const quantized = layers.flat().some(({ recipe }) => recipe.weights.kind !== 'keep' || recipe.activations.kind !== 'keep');
    const differ = layers.some((copiesOfOne) => new Set(copiesOfOne.map(({ recipe }) => JSON.stringify(recipe))).size > 1);
    return quantized && differ ? toProblem(subject, group, layers) : [];
  });
};

function toProblem(subject: Subject, group: Copies, layers: readonly LayerPlan[][]): ConfigProblem[] {
  const deciders = new Map<number, LayerPlan[]>();
  for (const layer of layers.flat()) {
    const rule = layer.decidedBy?.rule ?? -1;
    deciders.set(rule, [...(deciders.get(rule) ?? []), layer]);
  }
  // The odd one out is what was written by mistake.
  const [[few, own] = [-1, []], ...others] = [...deciders].sort(([a, x], [b, y]) => x.length - y.length || b - a);
  const rule = subject.config.rules[few];
  const at = rule && (patternFor(subject, rule, own) ?? rule.layersRange);
  const range = at ?? subject.config.defaults.range;
  return [{
    code: 'plan/copies-differ', severity: 'warning', ...(range ? { range } : {}),
    message: `"${group.pattern}" is one module, stored ${layers[0]?.length ?? 0} times, but ${own.length === 1 ? `${own[0]?.name ?? ''} gets` : `${own.length} of its ${layers.flat().length} layers get`} another recipe than the same layers in other blocks. ` +
      'It is computed once for all blocks: give all copies one recipe.',
    related: others.flatMap(([index, rest]) => {
      const other = index < 0 ? subject.config.defaults.range : subject.config.rules[index]?.layersRange;
      return other ? [{ message: `${rest.length} of its layers are decided here.`, range: other }] : [];
    }),
    ...withFixes(remedies(subject, group, rule)),
  }];
}

/** The pattern of the rule that takes these layers. */
function patternFor({ checkpoint }: Subject, { layers }: Rule, own: readonly LayerPlan[]): Rule['range'] | undefined {
  const names = new Set(own.map(({ name }) => name));
  return layers.find(({ value }) => !value.startsWith('!') && [...matchList(checkpoint, [value])].some((index) => names.has(checkpoint.layers[index]?.name ?? '')))?.range;
}

/** Out of the odd rule, or all into it: whatever leaves them to one rule; and in any case a rule of their own. */
function remedies(subject: Subject, group: Copies, rule: Rule | undefined): QuickFix[] {
  const { document, root, checkpoint } = subject;
  const node = rule && find(ruleAt(subject, rule)?.node, 'layers')?.value;
  const patterns = rule?.layers.map(({ value }) => value) ?? [];
  const [without, all] = [[...patterns, `!${group.pattern}`], [...patterns, group.pattern]];
  const needed = matchList(checkpoint, without).length > 0;
  return [
    ...(rule && node && oneDecides(subject, group, rule, without)
      ? fix(subject, needed ? 'Leave the copies out of this rule' : 'Remove this rule', needed ? appendItem(document, node, JSON.stringify(`!${group.pattern}`)) : removeRule(subject, rule)) : []),
    ...(rule && node && oneDecides(subject, group, rule, all) ? fix(subject, 'Take all copies with this rule', appendItem(document, node, JSON.stringify(group.pattern))) : []),
    ...fix(subject, 'Keep all copies as they are', addRules(document, root, [ruleText(['name: copies of one embedder', `layers: [${JSON.stringify(group.pattern)}]`, 'keep: original'])])),
  ];
}

/** Whether, with these patterns in `rule`, the copies of each layer have one rule that takes them last. */
function oneDecides({ checkpoint, config }: Subject, { layers }: Copies, rule: Rule, patterns: readonly string[]): boolean {
  const last = new Map<string, number>();
  for (const each of config.rules) {
    matchList(checkpoint, each === rule ? patterns : each.layers.map(({ value }) => value)).forEach((index) => last.set(checkpoint.layers[index]?.name ?? '', each.index));
  }
  return layers.every((copiesOfOne) => new Set(copiesOfOne.map(({ name }) => last.get(name) ?? -1)).size === 1);
}

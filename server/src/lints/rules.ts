/** Remedies for rules without effect, patterns that take nothing and layers that nobody decides. */
import { addKey, addRules, inBraces, lastLine, toTextEdits } from '../config/edits';
import { matchList } from '../config/match';
import type { Rule } from '../config/parse';
import type { QuickFix } from '../protocol';
import { fix, removePattern, removeRule, ruleAt, withFixes } from './lint';
import type { Remedy, Subject } from './lint';

export const shadowed: Remedy<Subject> = (problem, subject) => {
  const rule = subject.config.rules.find(({ layersRange }) => layersRange === problem.range);
  if (!rule) {
    return {};
  }
  const own = new Set(matchList(subject.checkpoint, rule.layers.map(({ value }) => value)));
  const takers = new Set([...own].map((index) => subject.plan.layers[index]?.decidedBy?.rule ?? -1));
  return {
    unnecessary: true,
    related: subject.config.rules.filter(({ index }) => takers.has(index)).slice(0, 5).map(({ name, layersRange }) => ({ message: `"${name}" takes layers of it.`, range: layersRange })),
    ...withFixes([...fix(subject, 'Remove this rule, which has no effect', removeRule(subject, rule), true), ...moveDown(subject, rule, own)]),
  };
};

/** To the end, where it decides; not when that would leave another rule without effect. */
function moveDown(subject: Subject, rule: Rule, own: ReadonlySet<number>): QuickFix[] {
  const { document, root, plan } = subject;
  const at = ruleAt(subject, rule);
  const removed = removeRule(subject, rule);
  const decided = new Map<number, boolean>();
  plan.layers.forEach(({ decidedBy }, index) => {
    if (decidedBy && decidedBy.rule >= 0) {
      decided.set(decidedBy.rule, (decided.get(decidedBy.rule) ?? false) || !own.has(index));
    }
  });
  if (!at || !removed || [...decided.values()].includes(false)) {
    return [];
  }
  const list = at.owner.value;
  const text = document.getText();
  if (inBraces(document, list)) {
    return fix(subject, 'Move this rule to the end', [...removed, ...addRules(document, root, [{ lines: [], flow: text.slice(document.offsetAt(at.node.range.start), document.offsetAt(at.node.range.end)) }])]);
  }
  const [{ from, to } = { from: 0, to: 0 }] = removed;
  const end = document.offsetAt({ line: lastLine(document, list) + 1, character: 0 });
  const lines = text.slice(from, to);
  const moved = text.endsWith('\n') || end < text.length ? lines : `\n${lines.trimEnd()}`;
  return [{ title: 'Move this rule to the end', edits: toTextEdits(document, [...removed, { from: end, to: end, text: moved.replaceAll('\r\n', '\n') }]) }];
}

/** Behind "Did you mean", if there is one. */
export const unmatched: Remedy<Subject> = (problem, subject) => {
  const removal = problem.range && removePattern(subject, problem.range);
  return withFixes([...problem.data?.fixes ?? [], ...(removal ? fix(subject, removal.title, removal.edits) : [])]);
};

/** A pattern that names what is never quantized: nothing changes when it goes. */
export const neverQuantized: Remedy<Subject> = (problem, subject) => {
  const removal = problem.range && removePattern(subject, problem.range);
  return { unnecessary: true, ...withFixes(removal ? fix(subject, removal.title, removal.edits, true) : []) };
};

export const uncovered: Remedy<Subject> = (_problem, subject) => {
  const { document, root } = subject;
  const defaults = (value: string): ReturnType<typeof addKey> => (root.kind === 'map' ? addKey(document, root, 'defaults', value, 'rules') : undefined);
  return withFixes([
    ...fix(subject, 'Keep the other layers as they are: add "defaults: { keep: original }"', defaults('{ keep: original }')),
    ...fix(subject, 'Quantize the other layers: add "defaults: { method: orbitquant, scheme: W4A4 }"', defaults('{ method: orbitquant, scheme: W4A4 }')),
  ]);
};

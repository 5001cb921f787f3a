/** A config with the rules of an allocation in it: the text stays as it is, comments included, and few rules with patterns are added. */
import { TextDocument } from 'vscode-languageserver-textdocument';
import { parseConfig } from '../../../config/parse';
import type { ParsedConfig } from '../../../config/parse';
import { addRules, applyEdits, atLineStart, inBraces, lastLine } from '../../../config/edits';
import type { Edit, RuleText } from '../../../config/edits';
import { resolvePlan } from '../../../config/resolve';
import { find } from '../../../config/tree';
import type { TreeNode } from '../../../config/tree';
import type { Allocation, Checkpoint, Plan } from '../../../protocol';
import type { Allocatable } from '../allocation';
import { AllocationError } from '../errors';
import type { LayerOption } from '../options';
import { PatternIndex } from '../../../config/patterns/cover';
import { layerLines } from '../../../config/patterns/lines';

export interface Rewritten { text: string; plan: Plan }

/** What else changes in the file; absent parts stay. */
export interface OtherChanges { /** As written in a config: `{ size: 1.2MB }`. */ budget?: string | undefined; checkpoint?: string | undefined }

/** @throws AllocationError when the text cannot be extended */
export function rewriteConfig(document: TextDocument, checkpoint: Checkpoint, allocated: Allocatable, allocation: Allocation, changes: OtherChanges = {}): Rewritten {
  const parsed = parseConfig(document);
  const chosen = new Map(allocation.plan.layers.map(({ name, option }) => [name, option]));
  const ruled = new Set(allocated.plan.layers.filter(({ decidedBy }) => (decidedBy?.rule ?? -1) >= 0).map(({ name }) => name));
  // Before the rules of the user, which then go on deciding what they decided; behind them when the choice is about their layers.
  const first = [...chosen.keys()].every((name) => !ruled.has(name));
  const rules = fewestRules(checkpoint, allocated, chosen, first ? ruled : new Set());
  const edited = applyEdits(document, [...(parsed.root && rules.length > 0 ? addRules(document, parsed.root, rules.map(textOf), first) : []), ...otherEdits(document, parsed, changes)]);
  const text = TextDocument.create(document.uri, document.languageId, 1, edited);
  const again = parseConfig(text);
  const plan = resolvePlan(again.config, checkpoint);
  requireSame(plan, allocated, chosen, allocation, again);
  return { text: edited, plan };
}

/** The text without the rules that an earlier allocation added, so that it chooses again for their layers. */
export function withoutAllocated(document: TextDocument): TextDocument {
  const list = find(parseConfig(document).root, 'rules');
  if (list?.value.kind !== 'list') {
    return document;
  }
  const { items, range } = list.value;
  const ours = items.filter((item) => String(nameIn(item)).startsWith(`${namePrefix} `));
  const braces = inBraces(document, list.value);
  const lines = (from: number, to: number): Edit => ({ from: document.offsetAt({ line: from, character: 0 }), to: document.offsetAt({ line: to + 1, character: 0 }), text: '' });
  const all = ours.length === items.length;
  const edits = ours.map((item, i): Edit => {
    const next = items[items.indexOf(item) + 1];
    return braces ? { from: document.offsetAt(item.range.start), to: document.offsetAt(next?.range.start ?? (all ? { ...range.end, character: range.end.character - 1 } : item.range.end)), text: '' }
      : lines(all && i === 0 ? list.keyRange.start.line : item.range.start.line, lastLine(document, item));
  });
  return edits.length === 0 ? document : TextDocument.create(document.uri, document.languageId, document.version, applyEdits(document, edits));
}

function nameIn(item: TreeNode): unknown {
  const name = find(item, 'name')?.value;
  return name?.kind === 'scalar' ? name.value : undefined;
}

interface NewRule { option: LayerOption; patterns: string[] }

/** Once with rules for what differs from `defaults`, once with rules for everything: whichever has fewer patterns. @param free of these layers rules that come later decide */
function fewestRules(checkpoint: Checkpoint, { plan, options, groups }: Allocatable, chosen: ReadonlyMap<string, string>, free: ReadonlySet<string>): NewRule[] {
  const index = new PatternIndex(checkpoint.layers.map(({ name }) => name));
  const now = new Map(plan.layers.map((layer) => [layer.name, JSON.stringify(layer.recipe)]));
  const byOption = options.map((option) => ({
    option,
    names: new Set([...chosen].filter(([, label]) => label === option.label).map(([name]) => name)),
    asNow: groups.flatMap((group) => group.options.filter(({ label }) => label === option.label).flatMap(({ layers }) => layers)).filter(({ name, recipe }) => chosen.get(name) === option.label && now.get(name) === JSON.stringify(recipe)),
  })).filter(({ names }) => names.size > 0).sort((a, b) => b.names.size - a.names.size);
  const different = byOption.filter(({ names, asNow }) => asNow.length < names.size);
  const [fewer] = [different, byOption].map((classes) => classes.map(({ option, names }, i): NewRule => {
    const later = new Set([...free, ...classes.slice(i + 1).flatMap((each) => [...each.names])]);
    return { option, patterns: index.cover(names, later) };
  })).sort((a, b) => a.reduce((sum, { patterns }) => sum + patterns.length, 0) - b.reduce((sum, { patterns }) => sum + patterns.length, 0));
  return fewer ?? [];
}

/** Rules with such a name are ours. */
const namePrefix = 'allocated';
function textOf({ option, patterns }: NewRule): RuleText {
  return {
    lines: [`name: ${nameOf(option)}`, ...layerLines(patterns), ...option.lines],
    flow: `{ name: ${nameOf(option)}, layers: [${patterns.map((pattern) => JSON.stringify(pattern)).join(', ')}], ${option.lines.join(', ')} }`,
  };
}

function nameOf({ label }: LayerOption): string {
  return `${namePrefix} ${label.replace(':', ' ')}`;
}

function otherEdits(document: TextDocument, { root, config }: ParsedConfig, { budget, checkpoint }: OtherChanges): Edit[] {
  const at = (range: { start: { line: number; character: number }; end: { line: number; character: number } }): Pick<Edit, 'from' | 'to'> => ({ from: document.offsetAt(range.start), to: document.offsetAt(range.end) });
  const written = find(root, 'budget');
  const key = find(root, 'checkpoint')?.keyRange;
  const braces = root !== null && inBraces(document, root);
  const before = braces ? document.offsetAt(root.range.start) + 1 : key ? document.offsetAt({ line: key.start.line + 1, character: 0 }) : 0;
  return [
    ...(checkpoint !== undefined && config.checkpoint ? [{ ...at(config.checkpoint.range), text: /^[\w./-]+$/.test(checkpoint) ? checkpoint : JSON.stringify(checkpoint) }] : []),
    ...(budget === undefined ? [] : written ? [{ from: document.offsetAt(written.keyRange.start), to: at(written.value.range).to, text: `budget: ${budget}` }] : [{ from: before, to: before, text: braces ? ` budget: ${budget},` : atLineStart(document, before) ? `budget: ${budget}\n` : `\nbudget: ${budget}` }]),
  ];
}

/** The file says exactly what was chosen; anything else would be a mistake of ours. */
function requireSame(plan: Plan, allocated: Allocatable, chosen: ReadonlyMap<string, string>, allocation: Allocation, { problems }: ParsedConfig): void {
  const wanted = new Map(allocated.plan.layers.map((layer) => [layer.name, JSON.stringify(layer.recipe)]));
  for (const { options } of allocated.groups) {
    for (const { label, layers } of options) {
      layers.filter(({ name }) => chosen.get(name) === label).forEach((layer) => wanted.set(layer.name, JSON.stringify(layer.recipe)));
    }
  }
  const wrong = plan.layers.find((layer) => JSON.stringify(layer.recipe) !== wanted.get(layer.name));
  const broken = problems.find(({ severity }) => severity === 'error');
  if (wrong || broken || plan.totals.checkpointBytes !== allocation.bytes) {
    throw new AllocationError(`The rules could not be added to this config: ${broken?.message ?? (wrong ? `${wrong.name} would get another recipe` : 'its size would be another')}. Write "rules:" in lines, one rule per "-", and try again.`);
  }
}

/** What refactorings see and give. Each is one file beside this one and one line in index.ts; all are pure. */
import type { CodeActionKind, Range } from 'vscode-languageserver-types';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import { endOf, inBraces, isShared, lastLine } from '../../config/edits';
import type { Edit, RuleText } from '../../config/edits';
import type { ParsedConfig, Rule } from '../../config/parse';
import { tokensOf } from '../../config/tokens';
import type { Token } from '../../config/tokens';
import { find } from '../../config/tree';
import type { Entry, ListNode, MapNode, TreeNode } from '../../config/tree';
import type { Checkpoint, Plan } from '../../protocol';
import type { Model } from '../model';
import { plainScalar } from '../yamlText';

/** A rule as it stands in the text, with its place among the others. */
export interface RuleSite { rule: Rule; node: MapNode; list: ListNode; index: number; layers: Entry }

/** Where a refactoring is asked for. */
export interface Site {
  model: Model;
  document: TextDocument;
  root: TreeNode;
  range: Range;
  /** The rule that the start of the range stands in. */
  at: RuleSite | undefined;
  /** Of the whole text, made when first asked for. */
  tokens(): readonly Token[];
}

/** What must be as before once the text has changed: every layer's recipe, every value of the file, or what was announced. */
export type Kept = 'plan' | 'values' | ((after: { parsed: ParsedConfig; plan: Plan | undefined }) => boolean);

export interface Candidate {
  title: string;
  kind: CodeActionKind;
  keeps: Kept;
  /** Why it cannot be done here, for editors that show that. */
  disabled?: string;
  edits(): Edit[] | undefined;
}

export type Refactor = (site: Site) => Candidate[];

export function siteOf(model: Model, range: Range): Site | undefined {
  const { document, parsed: { root } } = model;
  let tokens: readonly Token[] | undefined;
  return root ? { model, document, root, range, at: ruleSiteAt(model, range.start.line), tokens: () => tokens ??= tokensOf(document.getText()) } : undefined;
}

function ruleSiteAt({ document, parsed: { root, config } }: Model, line: number): RuleSite | undefined {
  const list = find(root, 'rules')?.value;
  if (list?.kind !== 'list' || isShared(document, list)) {
    return undefined;
  }
  const index = list.items.findIndex((item) => item.range.start.line <= line && line <= lastLine(document, item));
  return ruleSite(list, index, config.rules);
}

export function ruleSite(list: ListNode, index: number, rules: readonly Rule[]): RuleSite | undefined {
  const node = list.items[index];
  const rule = rules.find(({ range }) => range === node?.range);
  const layers = find(node, 'layers');
  // Several rules of one alias have one range.
  return node?.kind === 'map' && rule && layers && list.items.filter(({ range }) => range.start.line === node.range.start.line && range.start.character === node.range.start.character).length === 1 ? { rule, node, list, index, layers } : undefined;
}

// ----------------------------------------------------------------------------------------------------------------- texts

export function sourceOf(document: TextDocument, node: TreeNode): string {
  return document.getText().slice(document.offsetAt(node.range.start), endOf(document, node));
}

export function hasComments(site: Site, from: number, to: number): boolean {
  return site.tokens().some(({ type, offset }) => type === 'comment' && offset >= from && offset < to);
}

/** Names that an anchor has already. */
export function anchorNames(site: Site): Set<string> {
  return new Set(site.tokens().filter(({ type }) => type === 'anchor').map(({ source }) => source.slice(1)));
}

/** Whether something between two places has a name (`&name`). */
export function hasAnchors(site: Site, from: number, to: number): boolean {
  return site.tokens().some(({ type, offset }) => type === 'anchor' && offset >= from && offset < to);
}

/** Patterns as a list in the style of the one that is there: those it has keep their quotes. */
export function listText(document: TextDocument, { value }: Entry, patterns: readonly string[]): string {
  const written = new Map((value.kind === 'list' ? value.items : [value]).flatMap((item): [string, string][] => (item.kind === 'scalar' && item.range.start.line === item.range.end.line ? [[String(item.value), sourceOf(document, item)]] : [])));
  const items = patterns.map((pattern) => written.get(pattern) ?? plainScalar(pattern, { quote: '"' }));
  const dashes = value.kind === 'list' && !inBraces(document, value) && !isShared(document, value);
  return dashes ? items.join(`\n${' '.repeat(value.range.start.character)}- `) : `[${items.join(', ')}]`;
}

/** Gives a rule other patterns. */
export function replaceLayers(document: TextDocument, { layers: { value }, layers }: RuleSite, patterns: readonly string[]): Edit {
  const dashes = value.kind === 'list' && !inBraces(document, value) && !isShared(document, value) ? value.items[0] : undefined;
  return { from: document.offsetAt((dashes ?? value).range.start), to: endOf(document, value), text: listText(document, layers, patterns) };
}

/** The same rule for other layers. Values that have a name are used by it. @returns undefined where something inside has a name */
export function copyRule(site: Site, { node, layers }: RuleSite, patterns: readonly string[], name: string | undefined): RuleText | undefined {
  const { document } = site;
  const text = document.getText();
  const entries = node.entries.map(({ key, keyRange, value }): [string, string] | undefined => {
    if (key === 'layers') {
      return [key, `[${patterns.map((pattern) => plainScalar(pattern, { quote: '"' })).join(', ')}]`];
    }
    if (key === 'name') {
      return [key, plainScalar(name ?? '', { quote: '' })];
    }
    const [from, to] = [document.offsetAt(value.range.start), endOf(document, value)];
    const named = /&(\S+)\s*$/.exec(text.slice(document.offsetAt(keyRange.end), from))?.[1];
    const below = value.kind !== 'scalar' && !inBraces(document, value) && !isShared(document, value);
    const source = named ? `*${named}` : `${below ? `\n${' '.repeat(value.range.start.character)}` : ''}${text.slice(from, to)}`;
    return named || !hasAnchors(site, from, to) ? [key, source] : undefined;
  });
  const known = entries.flatMap((entry) => (entry ? [entry] : []));
  const lines = [...name !== undefined && !find(node, 'name') ? [`name: ${plainScalar(name, { quote: '' })}`] : [], ...known.map(([key, value]) => `${key}:${value.startsWith('\n') ? '' : ' '}${value}`)];
  const flow = `{ ${lines.join(', ')} }`;
  const column = layers.keyRange.start.character;
  return known.length < entries.length ? undefined : { flow, lines: inBraces(document, node) ? [flow] : lines.flatMap((line) => line.replaceAll('\r', '').split('\n').map((each, i) => (i === 0 ? each : dedent(each, column)))) };
}

function dedent(line: string, by: number): string {
  return line.slice(Math.min(by, /^ */.exec(line)?.[0].length ?? 0));
}

/** "3 layers" of a plan that two rules share, and so on: checkpoint and plan, where both are there. */
export function planned({ model: { checkpoint, plan } }: Site): { checkpoint: Checkpoint; plan: Plan } | undefined {
  return checkpoint && plan && { checkpoint, plan };
}

/** The outline of a config: sections, the rules with their patterns, and what the other sections hold. */
import { SymbolKind } from 'vscode-languageserver-types';
import type { DocumentSymbol, SymbolInformation } from 'vscode-languageserver-types';
import { escaped } from '../checkpoint/errors';
import { matchList } from '../config/match';
import type { Located, Rule, Settings } from '../config/parse';
import type { Entry, TreeNode } from '../config/tree';
import type { Range } from '../protocol';
import type { Model } from './model';
import { spanOf, structureOf } from './structure';
import type { Structure } from './structure';
import { layerCount, separator } from './text';
import { compare, contains, ruleNodes } from './tree';

type Outlined = Pick<Model, 'document' | 'parsed' | 'checkpoint'>;

export function documentSymbols(model: Outlined): DocumentSymbol[] {
  const structure = structureOf(model);
  const { root, config } = structure;
  const entries = root?.kind === 'map' ? [...root.entries, ...root.repeated ?? []].sort((a, b) => compare(a.keyRange.start, b.keyRange.start)) : [];
  const first = root?.kind === 'map' ? root.entries.find(({ key }) => key === 'rules') : undefined;
  return entries.map((entry) => (entry === first && entry.value.kind === 'list'
    ? symbol(structure, entry, SymbolKind.Array, `${config.rules.length} ${config.rules.length === 1 ? 'rule' : 'rules'}`, ruleNodes(root).flatMap((node, index) => ruleSymbol(spanOf(structure, node), config.rules[index], model)))
    : section(structure, entry)));
}

/** For clients that show no tree. */
export function flatSymbols(symbols: readonly DocumentSymbol[], uri: string, containerName?: string): SymbolInformation[] {
  return symbols.flatMap(({ name, kind, range, children }) => [
    { name, kind, location: { uri, range }, ...(containerName === undefined ? {} : { containerName }) }, ...flatSymbols(children ?? [], uri, name),
  ]);
}

function section(structure: Structure, entry: Entry): DocumentSymbol {
  const { key, value } = entry;
  const kind = key === 'checkpoint' ? SymbolKind.File : value.kind === 'scalar' ? SymbolKind.Property : value.kind === 'list' ? SymbolKind.Array : SymbolKind.Namespace;
  return symbol(structure, entry, kind, value.kind === 'map' ? '' : summary(value), value.kind === 'map' ? value.entries.map((each) => symbol(structure, each, SymbolKind.Property, summary(each.value))) : []);
}

function symbol(structure: Structure, { key, keyRange, value }: Entry, kind: SymbolKind, detail: string, children: DocumentSymbol[] = []): DocumentSymbol {
  return named(key, detail, kind, { start: keyRange.start, end: later(keyRange.end, spanOf(structure, value).end) }, keyRange, children);
}

function ruleSymbol(range: Range, rule: Rule | undefined, { checkpoint }: Outlined): DocumentSymbol[] {
  if (!rule) {
    return [];
  }
  const patterns = rule.layers.map(({ value }) => value);
  const matched = checkpoint ? [layerCount(matchList(checkpoint, patterns).length)] : [];
  // The name may lie elsewhere when an alias brought the rule in.
  const selection = [rule.named?.range, rule.layersRange].find((each) => each && inside(each, range)) ?? { start: range.start, end: range.start };
  const children = rule.layers.map((pattern) => patternSymbol(pattern, checkpoint)).filter((child) => inside(child.range, range));
  return [named(rule.named?.value ?? patterns.join(', '), [settings(rule), ...matched].filter(Boolean).join(separator), SymbolKind.Class, range, selection, children)];
}

function patternSymbol({ value, range }: Located<string>, checkpoint: Model['checkpoint']): DocumentSymbol {
  const layers = checkpoint ? layerCount(matchList(checkpoint, [value.replace(/^!/, '')]).length) : '';
  return named(value, `${value.startsWith('!') ? 'excludes ' : ''}${layers}`.trim(), SymbolKind.String, range, range, []);
}

/** What a rule or the defaults say, in a few words. */
export function settings({ scheme, method, keep }: Settings): string {
  return [keep ? `keep ${keep.value}` : '', scheme ? `W${scheme.value.weightBits}A${scheme.value.activationBits}` : '', method?.value.name ?? ''].filter(Boolean).join(separator);
}

function named(name: string, detail: string, kind: SymbolKind, range: Range, selectionRange: Range, children: DocumentSymbol[]): DocumentSymbol {
  // Editors refuse a symbol without a visible name.
  return { name: escaped(name).trim() || '(no name)', kind, range, selectionRange, ...(detail === '' ? {} : { detail: escaped(detail) }), ...(children.length > 0 ? { children } : {}) };
}

function summary(node: TreeNode): string {
  switch (node.kind) {
    case 'scalar': return String(node.value ?? '');
    case 'list': return node.items.every(({ kind }) => kind === 'scalar') ? node.items.map(summary).join(', ') : `${node.items.length} ${node.items.length === 1 ? 'entry' : 'entries'}`;
    case 'map': return node.entries.map(({ key, value }) => `${key}: ${summary(value)}`).join(', ');
  }
}

function later(a: Range['end'], b: Range['end']): Range['end'] { return compare(a, b) > 0 ? a : b; }

function inside(inner: Range, outer: Range): boolean { return contains(outer, inner.start) && contains(outer, inner.end); }

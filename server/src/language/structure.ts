/** A config as navigation sees it: readable even while a quote or a bracket is missing, with the comments, brackets, anchors and aliases that the tree does not hold. */
import { TextDocument } from 'vscode-languageserver-textdocument';
import { parseConfig } from '../config/parse';
import type { ParsedConfig, QuantConfig } from '../config/parse';
import { endOf } from '../config/edits';
import { tokensOf } from '../config/tokens';
import type { Token } from '../config/tokens';
import { isReadable } from '../config/tree';
import type { TreeNode } from '../config/tree';
import type { Position, Range } from '../protocol';
import { mend } from './mend';
import { contains } from './tree';

/** Ranges are of lines and columns, and good for the text as it is; offsets belong to `document`, which may be mended. */
export interface Structure { uri: string; document: TextDocument; root: TreeNode | null; config: QuantConfig }

export interface Lexeme { kind: 'comment' | 'open' | 'close' | 'anchor' | 'alias'; /** Offsets. */ start: number; end: number }

/** An anchor or one of its aliases; `group` is the same for those that belong together. */
export interface AnchorUse { name: string; group: number; isAlias: boolean; range: Range }

const structures = new WeakMap<ParsedConfig, Structure>();

export function structureOf({ document, parsed }: { document: TextDocument; parsed: ParsedConfig }): Structure {
  let structure = structures.get(parsed);
  if (!structure) {
    const text = document.getText();
    const mended = parsed.problems.some(({ code }) => code === 'config/yaml') && isReadable(text) ? mend(text) : text;
    const copy = mended === text ? document : TextDocument.create(document.uri, document.languageId, document.version, mended);
    const { root, config } = mended === text ? parsed : parseConfig(copy);
    structure = { uri: document.uri, document: copy, root, config };
    structures.set(parsed, structure);
  }
  return structure;
}

/** A node's own text, without the line ends and comments behind it. */
export function spanOf({ document }: Structure, node: TreeNode): Range {
  const { start } = node.range;
  return { start, end: document.positionAt(Math.max(document.offsetAt(start), endOf(document, node))) };
}

/** What stands between quotes, or all of it. */
export function withoutQuotes({ document }: Structure, range: Range): Range {
  const { start, end } = range;
  const text = document.getText(range);
  return text.length > 1 && /^(["']).*\1$/s.test(text) ? { start: { line: start.line, character: start.character + 1 }, end: { line: end.line, character: end.character - 1 } } : range;
}

const lexed = new WeakMap<Structure, readonly Lexeme[]>();

export function lexemes(structure: Structure): readonly Lexeme[] {
  let found = lexed.get(structure);
  if (!found) {
    found = isReadable(structure.document.getText()) ? lex(structure.document.getText()) : [];
    lexed.set(structure, found);
  }
  return found;
}

const kinds: Partial<Record<Token['type'], Lexeme['kind']>> = {
  comment: 'comment', 'flow-map-start': 'open', 'flow-seq-start': 'open', 'flow-map-end': 'close', 'flow-seq-end': 'close', anchor: 'anchor', alias: 'alias',
};

function lex(text: string): Lexeme[] {
  return tokensOf(text).flatMap(({ type, source, offset }) => {
    const kind = kinds[type];
    return kind ? [{ kind, start: offset, end: offset + source.length }] : [];
  });
}

const anchored = new WeakMap<Structure, readonly AnchorUse[]>();

/** In the order of the text. An alias belongs to the last anchor of its name before it; a pattern that starts with an unquoted star belongs to none and is not listed. */
export function anchorUses(structure: Structure): readonly AnchorUse[] {
  let uses = anchored.get(structure);
  if (!uses) {
    uses = findAnchors(structure);
    anchored.set(structure, uses);
  }
  return uses;
}

function findAnchors(structure: Structure): AnchorUse[] {
  const { document } = structure;
  const text = document.getText();
  const latest = new Map<string, number>();
  return lexemes(structure).flatMap(({ kind, start, end }, index): AnchorUse[] => {
    const name = text.slice(start + 1, end);
    if (kind === 'anchor') {
      latest.set(name, index);
    }
    const group = kind === 'anchor' || kind === 'alias' ? latest.get(name) : undefined;
    return group === undefined ? [] : [{ name, group, isAlias: kind === 'alias', range: { start: document.positionAt(start), end: document.positionAt(end) } }];
  });
}

export function anchorAt(structure: Structure, position: Position): AnchorUse | undefined {
  return anchorUses(structure).find(({ range }) => contains(range, position));
}

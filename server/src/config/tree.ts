/**
 * YAML text → a plain tree in which every key and value knows its range. Aliases are followed here, once, so that nothing behind this file meets them.
 * Never throws: what cannot be read becomes a Problem and the tree holds the rest.
 */
import { isAlias, isMap, isScalar, isSeq, parseDocument } from 'yaml';
import type { Document, Node as YamlNode, Pair, ParsedNode } from 'yaml';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import type { ProblemData, Range } from '../protocol';
import type { ConfigCode, ConfigProblem } from './codes';
import { parseInPieces } from './pieces';
import type { Piece, PieceMemory } from './pieces';

export type Scalar = string | number | boolean | null;
export interface MapNode { kind: 'map'; range: Range; entries: Entry[]; /** Entries whose key stood there before; they do not count. */ repeated?: Entry[] }
export interface ListNode { kind: 'list'; range: Range; items: TreeNode[] }
export interface ScalarNode { kind: 'scalar'; range: Range; value: Scalar }
export type TreeNode = MapNode | ListNode | ScalarNode;
export interface Entry { key: string; keyRange: Range; value: TreeNode }

/** A config is written by hand or by a tool for some thousand layers; beyond this it is a wrong file, and the YAML library's worst cases get slow. */
export const maxTextLength = 256 * 1024;
const maxProblems = 100;
const maxNodes = 200_000;
const maxDepth = 64;
const maxIndentation = 256;

export interface Tree { root: TreeNode | null; problems: ConfigProblem[] }

/** @param memory of the document, where it is being written: see pieces.ts */
export function parseTree(document: TextDocument, memory?: PieceMemory): Tree {
  const text = document.getText();
  const whole: Range = { start: { line: 0, character: 0 }, end: { line: 0, character: 1 } };
  if (text.length > maxTextLength) {
    return refuse('config/too-large', `This file holds ${Math.ceil(text.length / 1024)} KiB of text; a quantization config may hold ${maxTextLength / 1024} KiB. ` +
      'Use patterns such as "transformer_blocks.*.ff.**" instead of listing layers, or check that this is the right file.', whole);
  }
  const tree = text.length < minimumInPieces ? undefined : parseInPieces(text, parsePiece, memory);
  return tree && tree.nodes <= maxNodes ? { root: tree.root, problems: tree.problems.slice(0, maxProblems) } : parsePiece(document, 0);
}

/** Below, the YAML library reads the whole text at once in a few milliseconds. */
const minimumInPieces = 8192;

/** @param depth at which its outermost value stands. */
export function parsePiece(document: TextDocument, depth: number): Piece {
  const tooDeep = firstTooDeep(document.getText());
  if (tooDeep >= 0) {
    return { ...refuse('config/too-deep', `Values are nested more than ${maxDepth} deep here; a config needs 6 levels at most. Remove the surplus brackets, dashes or indentation.`,
      rangeOf(document, tooDeep, tooDeep + 1)), nodes: 0, anchors: false, aliases: false };
  }
  let parsed: Document.Parsed<ParsedNode>;
  try {
    parsed = parseDocument(document.getText(), { prettyErrors: false, uniqueKeys: false, logLevel: 'error' });
  } catch (error) {
    const whole: Range = { start: { line: 0, character: 0 }, end: { line: 0, character: 1 } };
    return { ...refuse('config/yaml', `This is not valid YAML (${error instanceof Error ? error.message : String(error)}).`, whole), nodes: 0, anchors: false, aliases: false };
  }
  const problems: ConfigProblem[] = parsed.errors.slice(0, maxProblems).map((error) => yamlProblem(document, error.pos, error.code, error.message));
  const builder = new Builder(document, problems);
  const root = parsed.contents ? builder.build(parsed.contents, depth) : null;
  return { root, problems, ...builder.seen() };
}

function refuse(code: ConfigCode, message: string, range: Range): Tree {
  return { root: null, problems: [{ code, severity: 'error', message, range }] };
}

/** Short and shallow enough for the YAML library. */
export function isReadable(text: string): boolean { return text.length <= maxTextLength && firstTooDeep(text) < 0; }

export function rangeOf(document: TextDocument, start: number, end: number): Range {
  return { start: document.positionAt(start), end: document.positionAt(end) };
}

/**
 * Offset of the first place that nests deeper than any config, or -1. The YAML library recurses per level (and compiles a pattern as long as the run of `- - -`),
 * so depth is bounded before it sees the text: brackets, indicators at the start of a line, and columns of indentation. Quotes are not looked into:
 * quoted brackets this deep are no config either.
 */
function firstTooDeep(text: string): number {
  let brackets = 0;
  let indicators = 0;
  let column = 0;
  let leading = true;
  for (let i = 0; i < text.length; i++, column++) {
    const character = text[i];
    if (character === '\n') {
      leading = true;
      indicators = 0;
      column = -1;
    } else if (character === '[' || character === '{') {
      brackets++;
    } else if (character === ']' || character === '}') {
      brackets = Math.max(0, brackets - 1);
    }
    const indented = leading && character !== ' ' && character !== '\n' && character !== '\r' && column > maxIndentation;
    if (leading && (character === '-' || character === '?')) {
      indicators++;
    } else if (character !== ' ' && character !== '\n') {
      leading = false;
    }
    if (brackets > maxDepth || indicators > maxDepth || indented) {
      return i;
    }
  }
  return -1;
}

function yamlProblem(document: TextDocument, pos: [number, number], code: string, message: string): ConfigProblem {
  const range = rangeOf(document, pos[0], Math.max(pos[1], pos[0] + 1));
  if (code === 'TAB_AS_INDENT') {
    return { code: 'config/tab', severity: 'error', message: 'YAML does not allow tabs for indentation. Indent with spaces.', range };
  }
  if (code === 'MULTIPLE_DOCS') {
    return { code: 'config/yaml', severity: 'error', message: 'A second YAML document starts here. A config is one document: remove the "---" and what follows.', range };
  }
  return { code: 'config/yaml', severity: 'error', message: `This is not valid YAML: ${message.replace(/\s+/g, ' ').slice(0, 300)}`, range };
}

class Builder {
  private nodes = 0;
  private aliases = false;
  private full = false;
  /** The latest node of each anchor name, in document order, as YAML wants it. */
  private readonly anchors = new Map<string, YamlNode>();
  /** Anchored nodes being built right now: meeting one of them through an alias is a cycle. */
  private readonly open = new Set<YamlNode>();

  constructor(private readonly document: TextDocument, private readonly problems: ConfigProblem[]) {}

  /** `at` is the range of the alias that led here: what it brings in belongs to its place. */
  build(node: YamlNode, depth: number, at?: Range): TreeNode | null {
    const range = at ?? this.range(node);
    if (++this.nodes > maxNodes || depth > maxDepth) {
      if (!this.full) {
        this.full = true;
        this.report('config/too-large', depth > maxDepth ? `Values are nested more than ${maxDepth} deep here. Flatten them.` :
          `This file unfolds to more than ${maxNodes} values. Aliases repeated inside aliases multiply; write the values out once.`, range);
      }
      return null;
    }
    if (isAlias(node)) {
      this.aliases ||= !this.anchors.has(node.source);
      const target = this.anchors.get(node.source);
      if (target && !this.open.has(target)) {
        return this.build(target, depth + 1, range);
      }
      if (target) {
        this.report('config/alias', `The alias *${node.source} refers to itself. Break the cycle by writing the values out.`, range);
        return null;
      }
      return this.unquoted(`*${node.source}`, `No anchor &${node.source} is defined above. A pattern that starts with * must stand in quotes`, range);
    }
    const { anchor } = node as { anchor?: string };
    if (anchor === undefined) {
      return this.buildValue(node, depth, range, at);
    }
    this.anchors.set(anchor, node);
    this.open.add(node);
    const value = this.buildValue(node, depth, range, at);
    this.open.delete(node);
    return value;
  }

  /** How much there was, whether it has anchors, and whether it has aliases of anchors that it does not have. */
  seen(): Pick<Piece, 'nodes' | 'anchors' | 'aliases'> {
    return { nodes: this.nodes, anchors: this.anchors.size > 0, aliases: this.aliases };
  }

  private buildValue(node: YamlNode, depth: number, range: Range, at: Range | undefined): TreeNode | null {
    if (isMap(node)) {
      return { kind: 'map', range, ...this.unique(node.items.flatMap((pair) => this.entry(pair as Pair<YamlNode, YamlNode | null>, depth, at))) };
    }
    if (isSeq(node)) {
      return { kind: 'list', range, items: node.items.flatMap((item) => this.build(item as YamlNode, depth + 1, at) ?? []) };
    }
    if (isScalar(node)) {
      const { value } = node;
      if (node.tag?.startsWith('!')) {
        const end = node.range?.[1] ?? 0;
        const start = this.document.getText().lastIndexOf(node.tag, end);
        return this.unquoted(`${node.tag}${String(value ?? '')}`, 'A pattern that starts with ! must stand in quotes', rangeOf(this.document, Math.max(0, start), end));
      }
      return { kind: 'scalar', range, value: value === null || ['string', 'number', 'boolean'].includes(typeof value) ? (value as Scalar) : String(value) };
    }
    return null;
  }

  private entry(pair: Pair<YamlNode, YamlNode | null>, depth: number, at?: Range): Entry[] {
    const keyRange = at ?? this.range(pair.key);
    if (!isScalar(pair.key)) {
      this.report('config/yaml', 'A key must be a plain word.', keyRange);
      return [];
    }
    const value = pair.value ? this.build(pair.value, depth + 1, at) : null;
    return [{ key: String(pair.key.value), keyRange, value: value ?? { kind: 'scalar', range: { start: keyRange.end, end: keyRange.end }, value: null } }];
  }

  /** The YAML library compares every key with every other; this stays linear. The first of two equal keys counts. */
  private unique(all: Entry[]): Pick<MapNode, 'entries' | 'repeated'> {
    const seen = new Set<string>();
    const repeated: Entry[] = [];
    const entries = all.filter((entry) => {
      if (seen.has(entry.key)) {
        this.report('config/duplicate-key', `"${entry.key}" stands here already. Keep one of the two.`, entry.keyRange);
        repeated.push(entry);
        return false;
      }
      return Boolean(seen.add(entry.key));
    });
    return repeated.length > 0 ? { entries, repeated } : { entries };
  }

  private range(node: YamlNode): Range {
    const [start, end] = node.range ?? [0, 0];
    return rangeOf(this.document, start, end);
  }

  /** YAML reads a leading * or ! as its own; the fix is to quote. Until then the value is what was meant. */
  private unquoted(written: string, message: string, range: Range): ScalarNode {
    const text = JSON.stringify(written);
    this.report('config/unquoted-pattern', `${message}: ${text}.`, range, { fixes: [{ title: `Quote ${written}`, edits: [{ range, text }] }] });
    return { kind: 'scalar', range, value: written };
  }

  private report(code: ConfigCode, message: string, range: Range, data?: ProblemData): void {
    if (this.problems.length < maxProblems) {
      this.problems.push({ code, severity: 'error', message, range, ...(data ? { data } : {}) });
    }
  }
}

export function find(node: TreeNode | null | undefined, key: string): Entry | undefined {
  return node?.kind === 'map' ? node.entries.find((entry) => entry.key === key) : undefined;
}

/** The plain value, for the schema validator. */
export function toValue(node: TreeNode): unknown {
  if (node.kind === 'scalar') {
    return node.value;
  }
  const known = values.get(node);
  if (known !== undefined) {
    return known;
  }
  const value = node.kind === 'list' ? node.items.map(toValue) : valueOf(node);
  values.set(node, value);
  return value;
}

/** Most of a long file is as it was at the last keystroke. */
const values = new WeakMap<TreeNode, unknown>();

function valueOf({ entries }: MapNode): Record<string, unknown> {
  const value: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const { key, value: inner } of entries) {
    value[key] = toValue(inner);
  }
  return value;
}

/**
 * Colours that the grammar cannot know: which patterns take layers of the checkpoint, which keys and values the language has. Everything else (comments, quotes, free text) is the grammar's.
 * package.json says how themes draw what has no standard type.
 */
import type { Range, SemanticTokensEdit, SemanticTokensLegend } from 'vscode-languageserver-types';
import { matchList } from '../config/match';
import { schema } from '../config/schema';
import type { Schema } from '../config/schema';
import type { ScalarNode, TreeNode } from '../config/tree';
import { methods } from '../methods';
import { schemeOf } from '../methods/method';
import type { Model } from './model';
import { anchorUses, structureOf } from './structure';
import { compare, listedValues } from './tree';

export const tokenTypes = ['property', 'layer', 'wildcard', 'method', 'scheme', 'enumMember', 'number', 'unit', 'anchor', 'alias'] as const;
/** unknown: a word the language does not have. unmatched, excluded: of patterns. index: the number of a block in a pattern. */
export const tokenModifiers = ['unknown', 'unmatched', 'excluded', 'index'] as const;
export const legend: SemanticTokensLegend = { tokenTypes: [...tokenTypes], tokenModifiers: [...tokenModifiers] };

type Type = typeof tokenTypes[number];
type Modifier = typeof tokenModifiers[number];
interface Found { line: number; character: number; length: number; type: Type; modifiers: readonly Modifier[] }

/** @returns five numbers per token, as LSP packs them: lines and characters since the token before, length, type, bits of the modifiers */
export function semanticTokens(model: Model, range?: Range): number[] {
  const found = collect(model).filter(({ line, character, length }) => !range || (compare({ line, character: character + length }, range.start) >= 0 && compare({ line, character }, range.end) <= 0))
    .sort((a, b) => a.line - b.line || a.character - b.character);
  let before = { line: 0, character: 0 };
  return found.flatMap(({ line, character, length, type, modifiers }) => {
    const packed = [line - before.line, line === before.line ? character - before.character : character, length, tokenTypes.indexOf(type), modifiers.reduce((bits, each) => bits | (1 << tokenModifiers.indexOf(each)), 0)];
    before = { line, character };
    return packed;
  });
}

/** The one edit that turns packed tokens into others; none when they are the same. */
export function tokenEdits(before: readonly number[], after: readonly number[]): SemanticTokensEdit[] {
  const least = Math.min(before.length, after.length);
  let start = 0;
  while (start < least && before[start] === after[start]) {
    start++;
  }
  let end = 0;
  while (end < least - start && before[before.length - 1 - end] === after[after.length - 1 - end]) {
    end++;
  }
  const data = after.slice(start, after.length - end);
  return start === before.length && start === after.length ? [] : [{ start, deleteCount: before.length - end - start, data }];
}

/** While a quote or a bracket is missing, colours stay as navigation reads the text. */
function collect(model: Model): Found[] {
  const structure = structureOf(model);
  const { checkpoint } = model;
  const collector = new Collector(structure.document);
  if (structure.root) {
    collector.walk(structure.root, schema, '');
  }
  for (const { value, range } of structure.config.rules.flatMap(({ layers }) => layers)) {
    collector.pattern(value, range, checkpoint !== undefined && matchList(checkpoint, [value.replace(/^!/, '')]).length === 0);
  }
  anchorUses(structure).forEach(({ range, isAlias }) => collector.word(range, isAlias ? 'alias' : 'anchor'));
  return collector.found;
}

class Collector {
  readonly found: Found[] = [];

  constructor(private readonly document: Model['document']) {}

  walk(node: TreeNode, described: Schema | undefined, key: string): void {
    if (node.kind === 'list') {
      node.items.forEach((item) => !same(item.range, node.range) && this.walk(item, described?.items, key));
    } else if (node.kind === 'scalar') {
      this.scalar(node, described, key);
    } else {
      for (const entry of node.entries) {
        // What an alias brought in stands elsewhere.
        if (same(entry.keyRange, node.range)) {
          return;
        }
        const known = described?.properties && Object.hasOwn(described.properties, entry.key) ? described.properties[entry.key] : undefined;
        this.word(entry.keyRange, 'property', known || !described?.properties ? [] : ['unknown']);
        if (entry.key !== 'layers' && (known ?? entry.value.kind !== 'scalar') && !same(entry.value.range, node.range)) {
          this.walk(entry.value, known, entry.key === 'name' && key === 'method' ? 'method' : entry.key);
        }
      }
    }
  }

  private scalar({ value, range }: ScalarNode, described: Schema | undefined, key: string): void {
    const source = this.source(range);
    if (!described || value === null || source === undefined || source.startsWith('*')) {
      return;
    }
    const text = String(value);
    const values = listedValues(described);
    const size = /^(["']?)([\d.]+)(\s*)([A-Za-z]+)\1$/.exec(source);
    if (typeof value === 'number') {
      this.word(range, 'number');
    } else if (key === 'method') {
      this.word(range, 'method', methods.has(text) ? [] : ['unknown']);
    } else if (key === 'scheme') {
      this.word(range, 'scheme', schemeOf(text) ? [] : ['unknown']);
    } else if (key === 'size' && size) {
      const [, quote = '', amount = '', gap = '', unit = ''] = size;
      this.add(range, quote.length, amount.length, 'number');
      this.add(range, quote.length + amount.length + gap.length, unit.length, 'unit');
    } else if (values.length > 0 && typeof value === 'string') {
      this.word(range, 'enumMember', values.some((each) => each.value === text) ? [] : ['unknown']);
    }
  }

  /** Segments, block numbers and wildcards of a pattern; dots stay the grammar's. */
  pattern(value: string, range: Range, unmatched: boolean): void {
    const source = this.source(range) ?? '';
    const quoted = /^["']/.test(source);
    // Behind an alias, or with escapes that say something else: nothing to point at.
    if ((quoted ? source.slice(1, -1) : source) !== value) {
      return;
    }
    const excluded = value.startsWith('!');
    const modifiers: Modifier[] = [...unmatched ? ['unmatched' as const] : [], ...excluded ? ['excluded' as const] : []];
    for (const match of value.matchAll(/^!|\*+|[^.*!\s][^.*]*/g)) {
      const [part] = match;
      const operator = /^[!*]/.test(part);
      this.add(range, match.index + (quoted ? 1 : 0), part.length, operator ? 'wildcard' : 'layer', operator || !/^\d+$/.test(part) ? modifiers : [...modifiers, 'index']);
    }
  }

  word(range: Range, type: Type, modifiers: readonly Modifier[] = []): void {
    this.add(range, 0, range.end.character - range.start.character, type, modifiers);
  }

  private add({ start, end }: Range, from: number, length: number, type: Type, modifiers: readonly Modifier[] = []): void {
    // Tokens of several lines are more than clients have to understand.
    if (start.line === end.line && length > 0) {
      this.found.push({ line: start.line, character: start.character + from, length, type, modifiers });
    }
  }

  /** Of a text on one line. */
  private source({ start, end }: Range): string | undefined {
    return start.line === end.line ? this.document.getText({ start, end }) : undefined;
  }
}

function same(a: Range, b: Range): boolean { return compare(a.start, b.start) === 0 && compare(a.end, b.end) === 0; }

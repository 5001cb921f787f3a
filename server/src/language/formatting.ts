/**
 * Formatting: changes only the space between tokens, so comments, order, quotes and flow style stay as they are. Blocks are indented by `tabSize`, what stands behind a dash by 2;
 * brackets that go on over several lines move with the line they start on, and so do texts. The new text is read again: where it would say anything else, nothing is changed.
 */
import { isDeepStrictEqual } from 'node:util';
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { FormattingOptions, Range, TextEdit } from 'vscode-languageserver-types';
import { Parser } from 'yaml';
import type { CST } from 'yaml';
import { applyEdits, toTextEdits } from '../config/edits';
import type { Edit } from '../config/edits';
import { isGap, tokensOf } from '../config/tokens';
import type { Token } from '../config/tokens';
import { parseTree, toValue } from '../config/tree';

/** Text that is no YAML keeps its layout: nobody knows what was meant. */
const unreadable: ReadonlySet<string> = new Set(['config/yaml', 'config/tab', 'config/too-large', 'config/too-deep', 'config/alias']);

/** @param range whole lines that may change; blocks that reach out of it keep their column */
export function format(document: TextDocument, options: FormattingOptions, range?: Range): TextEdit[] {
  const before = parseTree(document);
  if (!before.root || before.problems.some(({ code }) => unreadable.has(code))) {
    return [];
  }
  const tokens = tokensOf(document.getText());
  // A key with a mark of its own (`? key`) may be anything; no config has one.
  const edits = tokens.some(({ type }) => type === 'explicit-key-ind') ? [] : new Layout(document, tokens, options, range).edits();
  const text = applyEdits(document, edits);
  const after = parseTree(TextDocument.create(document.uri, document.languageId, 0, text));
  const same = isDeepStrictEqual(before.root && toValue(before.root), after.root && toValue(after.root)) && after.problems.length === before.problems.length
    && isDeepStrictEqual(significant(tokens), significant(tokensOf(text)));
  return same ? toTextEdits(document, edits).map(({ range: at, text: newText }) => ({ range: at, newText })) : [];
}

/** Everything but space; in texts over several lines their indentation is none of their content. */
function significant(tokens: readonly Token[]): string[] {
  return tokens.filter(({ type }) => type !== 'space' && type !== 'newline').map(({ type, source }) => `${type} ${source.replace(/\s*\n\s*/g, '\n').trim()}`);
}

/** Where a line starts, before and after. */
interface Moved { old: number; new: number }
/** A value in a block, whose entries moved so: `base` is the column of a closing bracket, everything else is to the right of it; `own` that of a value on a line of its own. */
interface Place extends Moved { base: number; own: number }
/** A bracket. `margin` is that of the outermost one, which alone may close there. */
interface OpenFlow { moved: Moved; base: number; margin: number; /** Nothing stands behind the bracket: items go to lines of their own. */ hanging: boolean }

class Layout {
  private readonly text: string;
  private readonly start: number;
  private readonly tabSize: number;
  private readonly lines: { from: number; to: number };
  /** Columns of first tokens of entries (keys, dashes), by offset. */
  private readonly columns = new Map<number, Moved>();
  private readonly values = new Map<number, Place>();
  private readonly found: Edit[] = [];
  /** Column where the line at hand starts, when it starts inside of brackets. */
  private continued: number | undefined;

  constructor(private readonly document: TextDocument, private readonly tokens: readonly Token[], private readonly options: FormattingOptions, range: Range | undefined) {
    this.text = document.getText();
    this.start = this.text.startsWith('\uFEFF') ? 1 : 0;
    this.tabSize = Math.min(Math.max(Math.trunc(options.tabSize) || 2, 1), 16);
    // A range that ends before the first character of a line does not mean that line.
    const to = range && range.end.character === 0 && range.end.line > range.start.line ? range.end.line - 1 : range?.end.line;
    this.lines = { from: range?.start.line ?? 0, to: to ?? Infinity };
  }

  edits(): Edit[] {
    for (const token of new Parser().parse(this.text)) {
      if (token.type === 'document' && token.value) {
        this.place(token.value, { old: 0, new: 0, base: 0, own: 0 });
      }
    }
    this.gaps();
    return this.found;
  }

  // ------------------------------------------------------------------------------------------------------------- columns

  private place(token: CST.Token, parent: Place): void {
    if (token.type !== 'block-map' && token.type !== 'block-seq') {
      this.values.set(token.offset, parent);
      return;
    }
    const starts = token.items.map(({ start, key }) => start.find((each) => !isGap(each))?.offset ?? key?.offset ?? -1).filter((start) => start >= 0);
    const old = this.column(starts[0] ?? token.offset);
    const column = this.isWithin(starts[0] ?? 0, endOf(token)) ? parent.own : old;
    const inside: Place = { old, new: column, base: column + (token.type === 'block-seq' ? 2 : 0), own: column + (token.type === 'block-seq' ? 2 : this.tabSize) };
    starts.forEach((start) => this.columns.set(start, inside));
    token.items.forEach(({ value }) => value && this.place(value, inside));
  }

  private column(offset: number): number { return offset - this.lineStart(offset); }
  /** Behind a byte order mark on the first line. */
  private lineStart(offset: number): number { return Math.max(offset > 0 ? this.text.lastIndexOf('\n', offset - 1) + 1 : 0, this.start); }
  private line(offset: number): number { return this.document.positionAt(offset).line; }
  private isWithin(from: number, to: number): boolean { return this.line(from) >= this.lines.from && this.line(to) <= this.lines.to; }

  // ---------------------------------------------------------------------------------------------------------------- gaps

  private gaps(): void {
    const flows: OpenFlow[] = [];
    const texts = this.tokens.filter(({ type }) => type !== 'space' && type !== 'newline' && type !== 'byte-order-mark');
    let previous: Token | undefined;
    /** Column of the token at hand after formatting. */
    let column = 0;
    texts.forEach((token, index) => {
      const from = previous ? previous.offset + lengthOf(previous) : this.start;
      const gap = this.text.slice(from, token.offset);
      const after = previous?.type === 'block-scalar';
      if (!previous || gap.includes('\n') || after) {
        column = this.indentation(token, flows, texts, index);
        this.continued = flows.length > 0 ? column : undefined;
        this.breakLine(from, token.offset, previous, column);
      } else {
        column += previous.source.length;
        const space = this.space(previous, token, gap, column);
        this.change(from, token.offset, space);
        column += this.isWithin(from, token.offset) ? space.length : gap.length;
      }
      column = this.inside(token, column, flows, texts[index + 1]);
      previous = token;
    });
    this.endOfFile(previous);
  }

  /** Follows brackets and moves the later lines of a text. @returns the column that the line goes on from, less the token's length */
  private inside(token: Token, column: number, flows: OpenFlow[], next: Token | undefined): number {
    const { type, source, offset } = token;
    const place = this.values.get(offset);
    if (type === 'flow-map-start' || type === 'flow-seq-start') {
      const outer = flows.at(-1);
      const base = outer ? this.continued ?? outer.base + this.tabSize : place?.base ?? 0;
      flows.push({ moved: { old: this.column(offset), new: column }, base, margin: outer?.margin ?? base, hanging: next !== undefined && this.text.slice(offset, next.offset).includes('\n') });
    } else if (type === 'flow-map-end' || type === 'flow-seq-end') {
      flows.pop();
    } else if (source.includes('\n') && type !== 'comment') {
      const block = type === 'block-scalar';
      const moved = block ? place ?? this.lastValue(offset) : { old: this.column(offset), new: column };
      const least = block ? 0 : (place?.base ?? flows.at(-1)?.margin ?? -1) + 1;
      this.shiftLines(offset, source, moved.new - moved.old, least, block);
      const last = source.slice(source.lastIndexOf('\n') + 1);
      const indent = /^ */.exec(last)?.[0].length ?? 0;
      return Math.max(least, indent + moved.new - moved.old) - indent + last.length - source.length;
    }
    return column;
  }

  /** The header of a block text is where the tree has it. */
  private lastValue(offset: number): Moved {
    const header = this.tokens.findLast((token) => token.offset < offset && token.type === 'block-scalar-header');
    return this.values.get(header?.offset ?? -1) ?? { old: 0, new: 0 };
  }

  private shiftLines(offset: number, source: string, by: number, least: number, withFirst: boolean): void {
    if (by === 0) {
      return;
    }
    for (const match of source.matchAll(/(^|\n)( *)(?=[^\s])/g)) {
      const [, before = '', spaces = ''] = match;
      if (before !== '' || withFirst) {
        const from = offset + match.index + before.length;
        this.change(from, from + spaces.length, ' '.repeat(Math.max(least, spaces.length + by)));
      }
    }
  }

  private indentation(token: Token, flows: readonly OpenFlow[], texts: readonly Token[], index: number): number {
    const { offset, type } = token;
    const now = this.column(offset);
    const flow = flows.at(-1);
    if (!this.isWithin(offset, offset)) {
      return now;
    }
    if (type === 'block-scalar') {
      return 0; // its own lines hold its indentation
    }
    if (flow) {
      const closes = type === 'flow-map-end' || type === 'flow-seq-end';
      return flow.hanging ? flow.base + (closes ? 0 : this.tabSize) : Math.max(flow.margin + (closes && flows.length === 1 ? 0 : 1), now + flow.moved.new - flow.moved.old);
    }
    if (type === 'comment') {
      return this.commentColumn(now, texts, index);
    }
    return this.columns.get(offset)?.new ?? this.values.get(offset)?.own ?? now;
  }

  /** A comment belongs to what starts in its column, below it or around it; else to the nearest to its left. */
  private commentColumn(now: number, texts: readonly Token[], index: number): number {
    const around: Moved[] = [];
    let next = index + 1;
    while (texts[next]?.type === 'comment') {
      next++;
    }
    const below = this.columns.get(texts[next]?.offset ?? -1);
    for (let i = index - 1, least = Infinity; i >= 0 && least > 0; i--) {
      const known = this.columns.get(texts[i]?.offset ?? -1);
      if (known && known.old < least) {
        around.push(known);
        least = known.old;
      }
    }
    const candidates = [...below ? [below] : [], ...around];
    const nearest = candidates.filter(({ old }) => old <= now).sort((a, b) => b.old - a.old)[0];
    return (candidates.find(({ old }) => old === now) ?? nearest)?.new ?? 0;
  }

  /** Between two tokens of a line. */
  private space(previous: Token, token: Token, gap: string, end: number): string {
    const [left, right] = [previous.type, token.type];
    if (right === 'comment') {
      return gap === '' || gap.includes('\t') ? ' ' : gap; // as far to the right as its author put it
    }
    if (left === 'seq-item-ind') {
      const known = this.columns.get(token.offset);
      return ' '.repeat(Math.max(1, known ? known.new - end : 1));
    }
    if (right === 'comma') {
      return '';
    }
    if (right === 'map-value-ind') {
      return left === 'scalar' || left.endsWith('quoted-scalar') ? '' : gap;
    }
    if (right === 'flow-map-end') {
      return left === 'flow-map-start' ? '' : ' ';
    }
    if (right === 'flow-seq-end' || left === 'flow-seq-start') {
      return '';
    }
    return ['flow-map-start', 'comma', 'map-value-ind', 'anchor', 'tag'].includes(left) ? ' ' : gap;
  }

  /** One empty line at most, none before the first. */
  private breakLine(from: number, to: number, previous: Token | undefined, column: number): void {
    const start = Math.max(from, this.lineStart(to));
    const [first = '', ...empty] = this.text.slice(from, start).replaceAll('\r\n', '\n').split('\n').slice(0, -1).map((line) => (this.trims ? '' : line));
    const above = previous?.type === 'block-scalar' ? [first] : empty.slice(0, 1);
    const breaks = [...previous && previous.type !== 'block-scalar' ? [first] : [], ...previous ? above : []].map((line) => `${line}\n`).join('');
    this.change(from, start, start > from ? breaks : '', start > from ? start - 1 : start);
    this.change(start, to, ' '.repeat(column));
  }

  private get trims(): boolean { return this.options.trimTrailingWhitespace !== false; }

  private endOfFile(last: Token | undefined): void {
    const from = last ? last.offset + lengthOf(last) : this.start;
    const rest = this.text.slice(from).replaceAll('\r\n', '\n');
    if (last?.type === 'block-scalar') {
      return; // its last line ends belong to it
    }
    const first = this.trims ? '' : /^[^\n]*/.exec(rest)?.[0] ?? '';
    const breaks = rest.includes('\n') ? (this.options.trimFinalNewlines === false ? rest.slice(rest.indexOf('\n')) : '\n') : this.options.insertFinalNewline === false ? '' : '\n';
    this.change(from, this.text.length, first + breaks);
  }

  private change(from: number, to: number, text: string, last = to): void {
    if (this.text.slice(from, to).replaceAll('\r\n', '\n') !== text && this.isWithin(from, last)) {
      this.found.push({ from, to, text });
    }
  }
}

/** Spaces behind a comment are none of it. */
function lengthOf({ type, source }: Token): number { return type === 'comment' ? source.trimEnd().length : source.length; }

/** Behind the last of a value's own text. */
function endOf(token: CST.Token): number {
  switch (token.type) {
    case 'block-map': case 'block-seq': {
      const { start = [], key, sep = [], value } = token.items.findLast((item) => item.key ?? item.value ?? item.start.some((each) => !isGap(each))) ?? {};
      return value ? endOf(value) : [...start, ...sep].findLast((each) => !isGap(each))?.offset ?? (key ? endOf(key) : token.offset);
    }
    case 'flow-collection': return token.end[0]?.offset ?? token.offset;
    default: return 'source' in token ? token.offset + token.source.trimEnd().length : token.offset;
  }
}

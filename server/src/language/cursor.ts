/**
 * Where the cursor stands in a config, read from the text alone: indentation, dashes and brackets. The syntax tree of a half-typed file moves values to places
 * nobody meant, so completion does not ask it. Follows YAML as far as configs use it; a quoted scalar ends at the end of its line, so that a missing quote
 * does not swallow the rest of the file.
 */
import { Place } from './place';
import type { Step } from './place';

export interface Cursor {
  /** 'key': a key of the map at `path`. 'value': the value at `path`, on the line of its key or in brackets. 'fresh': the value at `path`, where a block may start. */
  kind: 'key' | 'value' | 'fresh';
  path: readonly Step[];
  /** Offsets of the whole scalar under the cursor, quotes included; equal where there is none. */
  start: number;
  end: number;
  quote: '"' | '\'' | '';
  /** From `start` to the cursor, without the quote. */
  typed: string;
  /** Keys the map at `path` has already, without the one under the cursor. */
  present: ReadonlySet<string>;
  /** The other scalars of the list that holds the cursor. */
  siblings: readonly string[];
  /** A colon follows: only the key itself is to be written. */
  hasColon: boolean;
  /** A key's colon stands directly before the cursor; the value needs a space first. */
  needsSpace: boolean;
  inFlow: boolean;
  /** In brackets, and something follows on this line without a comma between. */
  needsComma: boolean;
}

/** @param offset of the cursor in UTF-16 code units. @returns undefined where nothing can be completed: in a comment, a block scalar, behind a finished value. */
export function cursorAt(text: string, offset: number): Cursor | undefined {
  return new Scanner(text, offset).scan();
}

interface Frame { kind: 'map' | 'list'; indent: number; path: Place; step: Step; /** Its current value is complete. */ filled: boolean }
interface FlowFrame { close: ']' | '}'; path: Place; step: Step; state: 'key' | 'value' | 'done' }
type Found = Omit<Cursor, 'path' | 'present' | 'siblings' | 'needsComma'> & { path: Place };

/** No config nests deeper (tree.ts refuses what does); beyond, nothing is completed. */
const maxDepth = 64;

const plainKey = /^(?:"((?:[^"\\]|\\.)*)"|'((?:[^']|'')*)'|([^\s:#,[\]{}"'&*!|>%@`-][^:#,[\]{}]*?))\s*:(?=\s|$)/;

class Scanner {
  private readonly lines: string[];
  private readonly starts: number[] = [];
  private readonly root = Place.root();
  private frames: Frame[] = [];
  private line = 0;
  private found: Found | undefined;

  constructor(private readonly text: string, private readonly offset: number) {
    this.lines = text.split(/\r\n|\n|\r/);
    let start = 0;
    for (const line of this.lines) {
      this.starts.push(start);
      start += line.length + (text.startsWith('\r\n', start + line.length) ? 2 : 1);
    }
  }

  scan(): Cursor | undefined {
    for (; this.line < this.lines.length; this.line++) {
      this.blockLine();
    }
    if (!this.found) {
      return undefined;
    }
    const { path, kind, end, inFlow, hasColon } = this.found;
    const needsComma = inFlow && !hasColon && /^[^\S\r\n]*[^\s,\]}#]/.test(this.text.slice(end, end + 1000));
    return { ...this.found, path: path.path(), needsComma, present: new Set(path.keys), siblings: kind === 'key' ? [] : path.list.items };
  }

  private get lineText(): string { return this.lines[this.line] ?? ''; }
  private get lineStart(): number { return this.starts[this.line] ?? 0; }
  private get top(): Frame | undefined { return this.frames.at(-1); }
  private get valuePath(): Place { return this.top ? this.top.path.child(this.top.step) : this.root; }
  private isOnLine(): boolean { return this.offset >= this.lineStart && this.offset <= this.lineStart + this.lineText.length; }

  private blockLine(): void {
    const text = this.lineText;
    const column = text.search(/\S/);
    if (column < 0 || text[column] === '#') {
      const at = this.offset - this.lineStart;
      if (this.isOnLine() && (column < 0 || at <= column)) {
        this.fresh(at, this.offset, this.offset, '');
      }
    } else if (!/^(?:---|\.\.\.|%)/.test(text)) {
      this.content(column);
    }
  }

  /** What stands from `column` on, at the start of a line or behind dashes. */
  private content(column: number): void {
    if (this.frames.length > maxDepth) {
      this.frames = [];
      return;
    }
    const rest = this.lineText.slice(column);
    const dash = /^-(?=\s|$)\s*/.exec(rest);
    const key = dash ? null : plainKey.exec(rest);
    if (dash || key) {
      while (this.top && (this.top.indent > column || (this.top.indent === column && this.top.kind === 'list' && !dash))) {
        this.frames.pop();
      }
    }
    if (dash) {
      this.dash(column, column + dash[0].length);
    } else if (key) {
      this.key(column, key);
    } else if (/^[[{]/.test(rest)) {
      this.flow(this.valuePath, column);
    } else {
      const { start, end, quote } = this.scalar(this.lineStart + column);
      if (this.touches(start, end)) {
        this.fresh(column, start, end, quote);
      } else {
        this.item(this.valuePath, start, end);
      }
      if (this.top) {
        this.top.filled = true;
      }
    }
  }

  private dash(column: number, next: number): void {
    if (this.top?.kind === 'list' && this.top.indent === column) {
      this.top.step = Number(this.top.step) + 1;
      this.top.filled = false;
    } else {
      this.frames.push({ kind: 'list', indent: column, path: this.valuePath, step: 0, filled: false });
    }
    const rest = this.lineText.slice(next);
    if (plainKey.test(rest) && this.isPassed(column)) {
      return;
    }
    if (rest !== '' && !rest.startsWith('#')) {
      this.content(next);
    } else if (this.touches(this.lineStart + column + 1, this.lineStart + next)) {
      this.find('fresh', this.valuePath, this.offset, this.offset, { needsSpace: this.offset === this.lineStart + column + 1 });
    }
  }

  /** Items stand by themselves: the cursor's surroundings tell nothing of the inside of another mapping in the list. @returns whether it was passed over, up to its last line */
  private isPassed(column: number): boolean {
    const inside = ' '.repeat(column + 1);
    let next = this.line + 1;
    for (; next < this.lines.length; next++) {
      const line = this.lines[next] ?? '';
      if (!line.startsWith(inside) && line.search(/\S/) <= column && (/^\s*-(?:\s|$)/.test(line) || plainKey.test(line.trimStart()))) {
        break;
      }
    }
    const holdsCursor = this.offset >= this.lineStart && (next === this.lines.length || this.offset < (this.starts[next] ?? 0));
    if (!holdsCursor) {
      this.line = next - 1;
    }
    return !holdsCursor;
  }

  private key(column: number, match: RegExpExecArray): void {
    const name = match[1] ?? match[2] ?? match[3] ?? '';
    if (this.top?.kind !== 'map' || this.top.indent !== column) {
      this.frames.push({ kind: 'map', indent: column, path: this.valuePath, step: name, filled: false });
    }
    const frame = this.frames[this.frames.length - 1] as Frame;
    frame.step = name;
    frame.filled = false;
    const start = this.lineStart + column;
    const colon = start + match[0].length - 1;
    this.keyToken(frame.path, name, start, this.trimmed(start, colon), true);
    this.value(colon + 1);
  }

  private value(from: number): void {
    const path = this.valuePath;
    const lineEnd = this.lineStart + this.lineText.length;
    const gap = /^\s*(?:&\S+\s*)?/.exec(this.text.slice(from, lineEnd))?.[0] ?? '';
    const start = from + gap.length;
    const first = start < lineEnd ? this.text[start] : undefined;
    if (first === undefined || first === '#') {
      if (this.touches(from, start) && !this.hasBlockBelow()) {
        this.find('value', path, this.offset, this.offset, { needsSpace: this.offset === from });
      }
      return;
    }
    if (this.top) {
      this.top.filled = true;
    }
    if (this.offset >= from && this.offset < start) {
      return;
    }
    if (first === '|' || first === '>') {
      const indent = this.top?.indent ?? 0;
      while (this.line + 1 < this.lines.length && /^\s*$|^(\s*)\S/.test(this.lines[this.line + 1] ?? '') && indentOf(this.lines[this.line + 1] ?? '', indent + 1) > indent) {
        this.line++;
      }
    } else if (first === '[' || first === '{') {
      this.flow(path, start - this.lineStart);
    } else {
      const scalar = this.scalar(start);
      if (this.touches(scalar.start, scalar.end)) {
        this.find('value', path, scalar.start, scalar.end, { quote: scalar.quote });
      } else {
        this.item(path, scalar.start, scalar.end);
      }
    }
  }

  /** The key of this line has its value on the lines below. */
  private hasBlockBelow(): boolean {
    const indent = this.top?.indent ?? -1;
    for (let line = this.line + 1; line < this.lines.length; line++) {
      const text = this.lines[line] ?? '';
      const column = text.search(/[^\s]/);
      if (column >= 0 && text[column] !== '#') {
        return column > indent || (column === indent && /^\s*-(?:\s|$)/.test(text));
      }
    }
    return false;
  }

  /** An empty or half-typed line. It ends no block: the frames stay for what follows. */
  private fresh(column: number, start: number, end: number, quote: Cursor['quote']): void {
    const frames = this.frames.filter((frame) => frame.indent <= column);
    const frame = frames.at(-1);
    const parent = frames.at(-2);
    if (!frame) {
      this.find('fresh', this.root, start, end, { quote });
    } else if (frame.kind === 'list' && frame.indent === column) {
      // In `rules:` with its dashes at the same column, a new line at that column may start the next key.
      this.find(parent?.indent === column ? 'key' : 'fresh', parent?.indent === column ? parent.path : frame.path, start, end, { quote });
    } else if (frame.indent === column) {
      this.find('key', frame.path, start, end, { quote });
    } else if (!frame.filled) {
      this.find('fresh', frame.path.child(frame.step), start, end, { quote });
    }
  }

  /** Everything in brackets. A line that cannot belong to them, because it is indented no deeper than their key, ends them: a bracket was forgotten. */
  private flow(path: Place, column: number): void {
    const base = this.top?.indent ?? -1;
    const stack: FlowFrame[] = [];
    let at = this.lineStart + column;
    let gapFrom = at;
    for (;;) {
      const lineEnd = this.lineStart + this.lineText.length;
      const frame = stack.at(-1);
      const character = at < lineEnd ? this.text[at] : undefined;
      if (character === ' ' || character === '\t') {
        at++;
        continue;
      }
      if (frame) {
        this.flowGap(frame, gapFrom, at);
      }
      if (character === undefined || (character === '#' && /\s/.test(this.text[at - 1] ?? ' '))) {
        const next = this.lines[this.line + 1];
        if (next === undefined || (/\S/.test(next) && next.search(/\S/) <= base && !/^\s*[\]}]/.test(next))) {
          return;
        }
        this.line++;
        at = this.lineStart;
        gapFrom = at;
      } else if (character === '[' || character === '{') {
        if (stack.length > maxDepth) {
          return;
        }
        const inside = frame ? frame.path.child(frame.step) : path;
        stack.push(character === '[' ? { close: ']', path: inside, step: 0, state: 'value' } : { close: '}', path: inside, step: '', state: 'key' });
        gapFrom = ++at;
      } else if (character === ']' || character === '}') {
        stack.pop();
        gapFrom = ++at;
        const outer = stack.at(-1);
        if (!outer) {
          return;
        }
        outer.state = 'done';
      } else if (character === ',') {
        if (frame) {
          frame.state = frame.close === '}' ? 'key' : 'value';
          frame.step = typeof frame.step === 'number' ? frame.step + 1 : '';
        }
        gapFrom = ++at;
      } else if (character === ':' && frame?.close === '}') {
        frame.state = 'value';
        gapFrom = ++at;
      } else if (frame) {
        at = this.flowScalar(frame, at);
        gapFrom = at + 1;
      }
    }
  }

  private flowGap(frame: FlowFrame, from: number, to: number): void {
    if (this.found || this.offset < from || this.offset > to || frame.state === 'done' || !this.isOnLine()) {
      return;
    }
    const next = this.text[to];
    if (this.offset === to && next !== undefined && !/[\s,[\]{}#]/.test(next)) {
      return; // the token that starts here will say
    }
    const needsSpace = this.text[this.offset - 1] === ':';
    this.find(frame.state === 'key' ? 'key' : 'value', frame.state === 'key' ? frame.path : frame.path.child(frame.step), this.offset, this.offset, { inFlow: true, needsSpace });
  }

  private flowScalar(frame: FlowFrame, at: number): number {
    const { start, end, quote } = this.scalar(at, true);
    const hasColon = /^\s*:(?=[\s,[\]{}"']|$)/.test(this.text.slice(end, this.lineStart + this.lineText.length));
    if (frame.state === 'key') {
      frame.step = this.unquoted(start, end);
      this.keyToken(frame.path, frame.step, start, end, hasColon, true);
      frame.state = hasColon ? 'key' : 'done';
    } else {
      const path = frame.path.child(frame.step);
      if (this.touches(start, end)) {
        this.find('value', path, start, end, { quote, inFlow: true });
      } else {
        this.item(path, start, end);
      }
      frame.state = 'done';
    }
    return Math.max(end, at + 1);
  }

  private keyToken(path: Place, name: string, start: number, end: number, hasColon: boolean, inFlow = false): void {
    if (this.touches(start, end)) {
      // Keys hold no spaces: `{ ke| scheme: W4A4 }` is a new key before another one.
      const before = this.text.slice(start, this.offset).search(/\S+$/);
      const wordStart = before < 0 ? this.offset : start + before;
      const wordEnd = this.offset + (/^\S*/.exec(this.text.slice(this.offset, end))?.[0].length ?? 0);
      this.find('key', path, wordStart, wordEnd, { hasColon: hasColon && wordEnd === end, inFlow });
    } else {
      path.keys.push(name);
    }
  }

  private item(path: Place, start: number, end: number): void {
    path.list.items.push(this.unquoted(start, end));
  }

  /** The scalar that starts at `start`, on this line. */
  private scalar(start: number, inFlow = false): { start: number; end: number; quote: Cursor['quote'] } {
    const rest = this.text.slice(start, this.lineStart + this.lineText.length);
    const quote = rest[0] === '"' || rest[0] === '\'' ? rest[0] : '';
    if (quote) {
      const closed = (quote === '"' ? /^"(?:[^"\\]|\\.)*"/ : /^'(?:[^']|'')*'/).exec(rest)?.[0];
      // `"a, "b"` lacks a quote behind a: what looks like one scalar ends in a comma.
      if (closed && !(inFlow && /,\s*.$/.test(closed))) {
        return { start, end: start + closed.length, quote };
      }
      const open = (inFlow ? /^.[^,\]}\s]*/ : /^.*?(?=\s*$|\s#)/).exec(rest)?.[0] ?? quote;
      return { start, end: start + open.length, quote };
    }
    const plain = (inFlow ? /^(?:[^,[\]{}:#]|:(?![\s,[\]{}]|$)|(?<!\s)#)+/ : /^(?:[^#]|(?<!\s)#)+/).exec(rest)?.[0] ?? '';
    return { start, end: start + plain.trimEnd().length, quote: '' };
  }

  private unquoted(start: number, end: number): string {
    const text = this.text.slice(start, end);
    return /^["']/.test(text) ? text.replace(/^(["'])(.*?)\1?$/s, '$2') : text;
  }

  private trimmed(start: number, end: number): number {
    return start + this.text.slice(start, end).trimEnd().length;
  }

  private touches(start: number, end: number): boolean {
    return this.offset >= start && this.offset <= end;
  }

  private find(kind: Found['kind'], path: Place, start: number, end: number, more: Partial<Found>): void {
    const quote = more.quote ?? '';
    const inside = start + quote.length;
    const typed = this.text.slice(inside, Math.max(inside, this.offset));
    this.found ??= { kind, path, start, end, hasColon: false, needsSpace: false, inFlow: false, ...more, quote, typed };
  }
}

/** Column of the first character; `blank` for an empty line, which belongs to any block. */
function indentOf(line: string, blank: number): number {
  const column = line.search(/\S/);
  return column < 0 ? blank : column;
}

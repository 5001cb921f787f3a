/**
 * Where the cursor stands in a JSON text, read from its tokens alone: the tree of a half-typed file ends at the first fault. A string ends at the end of its
 * line, and missing commas are passed over, so that what follows the cursor is understood too.
 */
import { id } from '../cursor';
import type { Cursor, Step } from '../cursor';

export interface JsonCursor extends Cursor {
  /** Offset behind the value before, where a comma is missing between it and the cursor. */
  commaAt?: number;
}

interface Frame { close: '}' | ']'; path: readonly Step[]; step: Step; state: 'key' | 'colon' | 'value' | 'done'; end: number }
interface Token { kind: 'string' | 'word'; start: number; end: number }

const maxDepth = 64;

/** @param offset in UTF-16 code units. @returns undefined where nothing can be completed: behind a finished value, in a comment. */
export function jsonCursorAt(text: string, offset: number): JsonCursor | undefined {
  return new Scanner(text, offset).scan();
}

class Scanner {
  private at = 0;
  private readonly stack: Frame[] = [];
  private readonly keys = new Map<string, Set<string>>();
  private readonly items = new Map<string, string[]>();
  private found: Omit<JsonCursor, 'present' | 'siblings'> | undefined;

  constructor(private readonly text: string, private readonly offset: number) {}

  scan(): JsonCursor | undefined {
    while (this.stack.length <= maxDepth) {
      const from = this.at;
      if (!this.skipBlanks()) {
        this.gap(from, this.at);
      }
      if (this.at >= this.text.length) {
        break;
      }
      this.token();
    }
    if (!this.found) {
      return undefined;
    }
    const { path, kind } = this.found;
    const list = typeof path.at(-1) === 'number' ? path.slice(0, -1) : path;
    return { ...this.found, present: this.keys.get(id(path)) ?? new Set<string>(), siblings: kind === 'key' ? [] : this.items.get(id(list)) ?? [] };
  }

  private get top(): Frame | undefined { return this.stack.at(-1); }

  /** White space and comments. @returns whether the cursor stands in a comment */
  private skipBlanks(): boolean {
    let inComment = false;
    for (;;) {
      const [blank = ''] = /^(?:\s+|\/\/[^\r\n]*|\/\*[\s\S]*?(?:\*\/|$))/.exec(this.text.slice(this.at, this.at + 100_000)) ?? [];
      if (blank === '') {
        return inComment;
      }
      inComment ||= blank.startsWith('/') && this.offset > this.at && this.offset <= this.at + blank.length;
      this.at += blank.length;
    }
  }

  private token(): void {
    const { text, at, top } = this;
    const character = text.charAt(at);
    switch (character) {
      case '{': case '[': {
        const path = top ? this.valuePath(top) : [];
        this.stack.push(character === '{' ? { close: '}', path, step: '', state: 'key', end: at } : { close: ']', path, step: 0, state: 'value', end: at });
        this.at++;
        return;
      }
      case '}': case ']':
        this.stack.pop();
        this.at++;
        this.finish(this.at);
        return;
      case ',':
        if (top) {
          top.state = top.close === '}' ? 'key' : 'value';
          top.step = typeof top.step === 'number' ? top.step + 1 : '';
        }
        this.at++;
        return;
      case ':':
        if (top?.close === '}') {
          top.state = 'value';
        }
        this.at++;
        return;
      default:
        this.scalar(character === '"' ? { kind: 'string', start: at, end: this.endOfString(at) } : { kind: 'word', start: at, end: at + (/^[^\s,:{}[\]"/]+/.exec(text.slice(at, at + 1000))?.[0].length ?? 1) });
    }
  }

  /** Where the string ends: `"a, "b"` lacks a quote behind a where the cursor is in it, and so does one that runs to the end of its line. */
  private endOfString(start: number): number {
    const line = /^[^\r\n]*/.exec(this.text.slice(start, start + 100_000))?.[0] ?? '"';
    const closed = /^"(?:[^"\\]|\\.)*"/.exec(line)?.[0];
    const holdsCursor = (length: number): boolean => this.offset > start && this.offset < start + length;
    if (closed && !(holdsCursor(closed.length) && /[,:[{]\s*"$/.test(closed))) {
      return start + closed.length;
    }
    return start + (/^"[^,:\]}\s"]*/.exec(line)?.[0].length ?? 1);
  }

  private scalar(token: Token): void {
    const { top } = this;
    this.at = token.end;
    if (!top) {
      return;
    }
    if (top.state === 'done') { // a comma is missing
      top.state = top.close === '}' ? 'key' : 'value';
      top.step = typeof top.step === 'number' ? top.step + 1 : '';
    }
    const holds = this.offset >= token.start && this.offset <= token.end;
    const value = this.unquoted(token);
    if (top.close === '}' && top.state === 'key') {
      const hasColon = /^\s*:/.test(this.text.slice(token.end, token.end + 1000));
      if (holds) {
        this.find('key', top, token.start, token.end, { hasColon });
      } else {
        this.keys.set(id(top.path), (this.keys.get(id(top.path)) ?? new Set<string>()).add(value));
      }
      top.step = value;
      top.state = 'colon';
    } else if (top.state === 'value') {
      const path = this.valuePath(top);
      if (holds) {
        this.find('value', { ...top, path }, token.start, token.end, {});
      } else {
        const list = id(typeof path.at(-1) === 'number' ? path.slice(0, -1) : path);
        this.items.set(list, [...this.items.get(list) ?? [], value]);
      }
      this.finish(token.end);
    }
  }

  private finish(end: number): void {
    if (this.top) {
      this.top.state = 'done';
      this.top.end = end;
    }
  }

  /** Between two tokens. */
  private gap(from: number, to: number): void {
    const { top, offset } = this;
    const atToken = offset === to && /["\w-]/.test(this.text.charAt(to));
    if (!top || offset < from || offset > to || atToken || this.found) {
      return;
    }
    const newLine = /[\r\n]/.test(this.text.slice(top.end, offset));
    if (top.close === '}' && (top.state === 'key' || (top.state === 'done' && newLine))) {
      this.find('key', top, offset, offset, top.state === 'done' ? { commaAt: top.end } : {});
    } else if (top.state === 'value' && !(top.close === '}' && this.isValue(to))) {
      this.find('value', { ...top, path: this.valuePath(top) }, offset, offset, { needsSpace: this.text[offset - 1] === ':' });
    } else if (top.close === ']' && top.state === 'done' && newLine) {
      this.find('value', { ...top, path: [...top.path, Number(top.step) + 1] }, offset, offset, { commaAt: top.end });
    }
  }

  /** A value stands there already, no key whose value is still to come. */
  private isValue(at: number): boolean {
    const rest = this.text.slice(at, at + 10_000);
    return /^[\w{[-]/.test(rest) || (rest.startsWith('"') && !/^"(?:[^"\\\r\n]|\\.)*"\s*:/.test(rest));
  }

  private valuePath({ path, step }: Frame): readonly Step[] { return [...path, step]; }

  private unquoted({ kind, start, end }: Token): string {
    const text = this.text.slice(start, end);
    try {
      return kind === 'string' ? String(JSON.parse(text)) : text;
    } catch {
      return text.replace(/^"|"$/g, ''); // half a string
    }
  }

  private find(kind: 'key' | 'value', { path }: Pick<Frame, 'path'>, start: number, end: number, more: Partial<JsonCursor>): void {
    const rest = /^\s*(.?)/s.exec(this.text.slice(end, end + 10_000))?.[1] ?? '';
    const quote = this.text[start] === '"' && end > start ? '"' : '';
    const needsComma = more.hasColon !== true && /["\w{[-]/.test(rest);
    this.found ??= { kind, path, start, end, quote, typed: this.text.slice(start + quote.length, Math.max(start + quote.length, this.offset)), hasColon: false, needsSpace: false, inFlow: true, needsComma, ...more };
  }
}

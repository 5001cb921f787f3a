/**
 * Where the cursor stands in a JSON text, read from its tokens alone: the tree of a half-typed file ends at the first fault. A string ends at the end of its
 * line, and missing commas are passed over, so that what follows the cursor is understood too.
 */
import type { Cursor } from '../cursor';
import type { Step } from '../place';

export interface JsonCursor extends Cursor {
  /** Offset behind the value before, where a comma is missing between it and the cursor. */
  commaAt?: number;
}

/** An open bracket. `scalars`: offsets where its keys or its items start and end, one after the other. */
interface Frame { close: '}' | ']'; step: Step; state: 'key' | 'colon' | 'value' | 'done'; end: number; scalars: number[] }
type Found = Omit<JsonCursor, 'path' | 'present' | 'siblings'> & { in: Frame; path: Step[] };

const maxDepth = 64;

const blank = /\s+|\/\/[^\r\n]*|\/\*[\s\S]*?(?:\*\/|$)/y;
const word = /[^\s,:{}[\]"/]{1,1000}/y;
const closedString = /"(?:[^"\\\r\n]|\\[^\r\n])*"/y;
const openString = /"[^,:\]}\s"]*/y;
const colon = /\s*:/y;

/** @param offset in UTF-16 code units. @returns undefined where nothing can be completed: behind a finished value, in a comment. */
export function jsonCursorAt(text: string, offset: number): JsonCursor | undefined {
  return new Scanner(text, offset).scan();
}

class Scanner {
  private at = 0;
  private readonly stack: Frame[] = [];
  private found: Found | undefined;

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
    const { in: frame, ...found } = this.found;
    const scalars = frame.scalars.flatMap((start, i) => (i % 2 === 0 ? this.unquoted(start, frame.scalars[i + 1] ?? start) : []));
    return { ...found, present: new Set(found.kind === 'key' ? scalars : []), siblings: frame.close === ']' ? scalars : [] };
  }

  private get top(): Frame | undefined { return this.stack.at(-1); }

  /** White space and comments. @returns whether the cursor stands in a comment */
  private skipBlanks(): boolean {
    let inComment = false;
    for (let end = endOf(blank, this.text, this.at); end > this.at; end = endOf(blank, this.text, this.at)) {
      inComment ||= this.text[this.at] === '/' && this.offset > this.at && this.offset <= end;
      this.at = end;
    }
    return inComment;
  }

  private token(): void {
    const { text, at, top } = this;
    const character = text.charAt(at);
    switch (character) {
      case '{':
        this.stack.push({ close: '}', step: '', state: 'key', end: at, scalars: [] });
        this.at++;
        return;
      case '[':
        this.stack.push({ close: ']', step: 0, state: 'value', end: at, scalars: [] });
        this.at++;
        return;
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
        this.scalar(at, character === '"' ? this.endOfString(at) : Math.max(at + 1, endOf(word, text, at)));
    }
  }

  /** Where the string ends: `"a, "b"` lacks a quote behind a where the cursor is in it, and so does one that runs to the end of its line. */
  private endOfString(start: number): number {
    const end = endOf(closedString, this.text, start);
    const holdsCursor = this.offset > start && this.offset < end;
    return end > start && !(holdsCursor && /[,:[{]\s*"$/.test(this.text.slice(start, end))) ? end : endOf(openString, this.text, start);
  }

  private scalar(start: number, end: number): void {
    const { top } = this;
    this.at = end;
    if (!top) {
      return;
    }
    if (top.state === 'done') { // a comma is missing
      top.state = top.close === '}' ? 'key' : 'value';
      top.step = typeof top.step === 'number' ? top.step + 1 : '';
    }
    const holds = this.offset >= start && this.offset <= end;
    if (top.close === '}' && top.state === 'key') {
      if (holds) {
        this.find('key', top, start, end, { hasColon: endOf(colon, this.text, end) > end });
      } else {
        top.scalars.push(start, end);
      }
      // The name itself is only asked for on the way to the cursor, which lies ahead or was found.
      top.step = this.found ? '' : this.unquoted(start, end);
      top.state = 'colon';
    } else if (top.state === 'value') {
      if (holds) {
        this.find('value', top, start, end, {});
      } else if (top.close === ']') {
        top.scalars.push(start, end);
      }
      this.finish(end);
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
      this.find('value', top, offset, offset, { needsSpace: this.text[offset - 1] === ':' });
    } else if (top.close === ']' && top.state === 'done' && newLine) {
      top.step = Number(top.step) + 1;
      this.find('value', top, offset, offset, { commaAt: top.end });
      top.step--;
    }
  }

  /** A value stands there already, no key whose value is still to come. */
  private isValue(at: number): boolean {
    const rest = this.text.slice(at, at + 10_000);
    return /^[\w{[-]/.test(rest) || (rest.startsWith('"') && !/^"(?:[^"\\\r\n]|\\.)*"\s*:/.test(rest));
  }

  private unquoted(start: number, end: number): string {
    const text = this.text.slice(start, end);
    if (text.includes('\\')) {
      try {
        return String(JSON.parse(text));
      } catch {
        // half a string
      }
    }
    return text.replace(/^"|"$/g, '');
  }

  private find(kind: 'key' | 'value', frame: Frame, start: number, end: number, more: Partial<Found>): void {
    if (this.found) {
      return;
    }
    const rest = /^\s*(.?)/s.exec(this.text.slice(end, end + 10_000))?.[1] ?? '';
    const quote = this.text[start] === '"' && end > start ? '"' : '';
    const needsComma = more.hasColon !== true && /["\w{[-]/.test(rest);
    const around = this.stack.slice(0, this.stack.indexOf(frame) + (kind === 'key' ? 0 : 1)).map(({ step }) => step);
    this.found = { in: frame, kind, path: around, start, end, quote, typed: this.text.slice(start + quote.length, Math.max(start + quote.length, this.offset)), hasColon: false, needsSpace: false, inFlow: true, needsComma, ...more };
  }
}

/** Where the match of a sticky expression ends; `at` where there is none. */
function endOf(expression: RegExp, text: string, at: number): number {
  expression.lastIndex = at;
  return expression.test(text) ? expression.lastIndex : at;
}

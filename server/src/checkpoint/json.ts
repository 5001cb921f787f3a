/**
 * A strict JSON reader for untrusted files. JSON.parse would hide duplicate keys, round large integers and give no place;
 * this one reads in one pass, reports the position of every error, and bounds nesting.
 */
import { isUtf8 } from 'node:buffer';
import type { CheckpointCode } from './errors';
import { CheckpointError, escaped, grouped } from './errors';

const MAX_DEPTH = 64;

/** Something wrong at one place of a text. Whoever knows the file turns it into a CheckpointError. */
export class Fault extends Error {
  constructor(
    readonly code: CheckpointCode,
    message: string,
    /** Index in the text, in UTF-16 code units. */
    readonly position: number,
  ) {
    super(message);
  }
}

/** Parses a whole JSON file. Every fault becomes a CheckpointError of `code` that names the byte. */
export function parseJson(file: string, bytes: Buffer, code: CheckpointCode): unknown {
  const text = decodeUtf8(file, bytes, 0);
  const reader = new JsonReader(text);
  try {
    const value = reader.value();
    reader.end();
    return value;
  } catch (error) {
    if (error instanceof Fault) {
      const place = Buffer.byteLength(text.slice(0, error.position));
      throw new CheckpointError(code, file, `byte ${grouped(place)}: ${error.message}. Correct it, or download the file again.`);
    }
    throw error;
  }
}

/** Strict UTF-8. `start` is the position of `bytes` in the file, for the message. */
export function decodeUtf8(file: string, bytes: Buffer, start: number): string {
  const text = bytes.toString('utf8');
  if (isUtf8(bytes)) {
    return text;
  }
  // The first replacement character that the file does not hold itself stands where the first bad byte is.
  let place = 0;
  let from = 0;
  for (;;) {
    const at = text.indexOf('\ufffd', from);
    place += Buffer.byteLength(text.slice(from, at));
    if (bytes.toString('latin1', place, place + 3) !== '\xef\xbf\xbd') {
      throw new CheckpointError('checkpoint/utf8', file, `byte ${grouped(start + place)} is not UTF-8. The file is damaged or of another kind: `
        + `download it again.`);
    }
    place += 3;
    from = at + 1;
  }
}

const enum Code { Quote = 0x22, Minus = 0x2d, Dot = 0x2e, Zero = 0x30, Nine = 0x39, UpperE = 0x45, LowerE = 0x65, Backslash = 0x5c }

export class JsonReader {
  private at = 0;
  private depth = 0;

  constructor(private readonly text: string) {}

  /** Position of the next token. */
  get position(): number {
    this.skipSpace();
    return this.at;
  }

  /** The next token's first character, '' at the end. */
  peek(): string {
    this.skipSpace();
    return this.text.charAt(this.at);
  }

  /** Reads an object. `member` must consume the value. A key that stands twice is an error. */
  object(member: (key: string, position: number) => void): void {
    const keys = new Set<string>();
    this.sequence('{', '}', () => {
      const position = this.position;
      const key = this.string();
      if (keys.has(key)) {
        throw new Fault('checkpoint/duplicate', `the key "${escaped(key)}" stands twice`, position);
      }
      keys.add(key);
      this.expect(':');
      member(key, position);
    });
  }

  /** Reads an array. `item` must consume the value. */
  array(item: () => void): void {
    this.sequence('[', ']', item);
  }

  string(): string {
    this.expect('"');
    const start = this.at;
    let plain = true;
    for (; ; this.at++) {
      const code = this.text.charCodeAt(this.at);
      if (code === Code.Quote) {
        break;
      }
      if (Number.isNaN(code)) {
        throw new Fault('checkpoint/json', 'a string has no closing quote', start - 1);
      }
      if (code < 0x20) {
        throw new Fault('checkpoint/json', 'a string holds a raw control character', this.at);
      }
      if (code === Code.Backslash) {
        plain = false;
        this.at++;
      }
    }
    const raw = this.text.slice(start, this.at++);
    return plain ? raw : unescaped(raw, start);
  }

  /** A whole number from 0 to 2^53 − 1, written in digits alone. */
  integer(): number {
    const start = this.position;
    let value = 0;
    let code = this.text.charCodeAt(this.at);
    while (code >= Code.Zero && code <= Code.Nine && value <= Number.MAX_SAFE_INTEGER) {
      value = value * 10 + (code - Code.Zero);
      code = this.text.charCodeAt(++this.at);
    }
    const digits = this.at - start;
    const leadingZero = digits > 1 && this.text.charCodeAt(start) === Code.Zero;
    const continues = code === Code.Dot || code === Code.UpperE || code === Code.LowerE;
    if (digits === 0 || leadingZero || continues || value > Number.MAX_SAFE_INTEGER) {
      const found = /^[^\s,\]}]{0,40}/.exec(this.text.slice(start, start + 40))?.[0] ?? '';
      throw new Fault('checkpoint/shape', `"${escaped(found)}" is not a whole number from 0 to 2^53 − 1`, start);
    }
    return value;
  }

  /** Any value as JSON.parse would give it. */
  value(): unknown {
    const first = this.peek();
    if (first === '{') {
      const entries: [string, unknown][] = [];
      this.object(key => { entries.push([key, this.value()]); });
      return Object.fromEntries(entries); // defines a key named __proto__ as plain data
    }
    if (first === '[') {
      const items: unknown[] = [];
      this.array(() => { items.push(this.value()); });
      return items;
    }
    return first === '"' ? this.string() : this.scalar();
  }

  /** Only white space may follow. */
  end(): void {
    if (this.peek() !== '') {
      throw new Fault('checkpoint/json', `unexpected "${escaped(this.peek())}" after the end`, this.at);
    }
  }

  private scalar(): unknown {
    const pattern = /(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![\w.+-])/y;
    pattern.lastIndex = this.at;
    const token = pattern.exec(this.text)?.[0];
    if (token === undefined) {
      throw new Fault('checkpoint/json', this.at < this.text.length ? `unexpected "${escaped(this.peek())}"` : 'the text ends too early', this.at);
    }
    const value = JSON.parse(token) as unknown;
    if (value === Infinity || value === -Infinity) {
      throw new Fault('checkpoint/json', `the number ${escaped(token)} is out of range`, this.at);
    }
    this.at += token.length;
    return value;
  }

  private sequence(open: string, close: string, item: () => void): void {
    this.expect(open);
    if (++this.depth > MAX_DEPTH) {
      throw new Fault('checkpoint/json', `nested deeper than ${MAX_DEPTH} levels`, this.at - 1);
    }
    if (this.peek() === close) {
      this.at++;
    } else {
      for (;;) {
        item();
        const next = this.peek();
        if (next === close) {
          this.at++;
          break;
        }
        this.expect(',');
      }
    }
    this.depth--;
  }

  private expect(token: string): void {
    const found = this.peek();
    if (found !== token) {
      const wanted = token === '"' ? 'a string' : `"${token}"`;
      const message = found === '' ? `the text ends where ${wanted} is needed` : `${wanted} is needed, not "${escaped(found)}"`;
      throw new Fault('checkpoint/json', message, this.at);
    }
    this.at++;
  }

  private skipSpace(): void {
    for (; ; this.at++) {
      const code = this.text.charCodeAt(this.at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) {
        return;
      }
    }
  }
}

/** Resolves the escapes of a string's raw content. Lone surrogates are refused, as every other reader of the format does. */
function unescaped(raw: string, position: number): string {
  let text: string;
  try {
    text = JSON.parse(`"${raw}"`) as string;
  } catch {
    throw new Fault('checkpoint/json', 'a string holds an escape that JSON does not know', position);
  }
  if (/\p{Surrogate}/u.test(text)) {
    throw new Fault('checkpoint/json', 'a string holds half a surrogate pair', position);
  }
  return text;
}

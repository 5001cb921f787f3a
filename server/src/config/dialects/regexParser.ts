/** The text of an expression of Python's `re` or C++'s `std::regex` as a tree; what it cannot read, or cannot count rightly, is refused with its place. */

export type Flavour = 'python' | 'ecmascript';

/** `unsupported`: the tool would take it, this program cannot say what it matches. */
export class RegexFault extends Error {
  constructor(message: string, readonly position: number, readonly unsupported = false) { super(message); }
}

export type CharTest = (code: number) => boolean;
export type Node =
  | { kind: 'char'; test: CharTest }
  | { kind: 'sequence' | 'either'; parts: Node[] }
  | { kind: 'repeat'; part: Node; least: number; most: number }
  | { kind: 'start' | 'end' | 'border' | 'inside' }
  | { kind: 'look'; part: Node; ahead: boolean; negative: boolean };

const isDigit: CharTest = (code) => code >= 48 && code <= 57;
export const isWord: CharTest = (code) => isDigit(code) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122) || code === 95 || (code > 127 && /[\p{L}\p{N}]/u.test(String.fromCharCode(code)));
const isSpace: CharTest = (code) => (code >= 9 && code <= 13) || code === 32;
const not = (test: CharTest): CharTest => (code) => !test(code);
const is = (wanted: number): CharTest => (code) => code === wanted;
const classes: Readonly<Record<string, CharTest>> = { d: isDigit, D: not(isDigit), w: isWord, W: not(isWord), s: isSpace, S: not(isSpace) };
const controls: Readonly<Record<string, number>> = { n: 10, t: 9, r: 13, f: 12, v: 11 };

export class Parser {
  private at = 0;
  private ignoreCase = false;
  private dotAll = false;
  private readonly python: boolean;

  constructor(private readonly text: string, flavour: Flavour) { this.python = flavour === 'python'; }

  parse(): { tree: Node; ignoreCase: boolean } {
    this.flags();
    const tree = this.alternatives();
    if (this.at < this.text.length) {
      throw this.fault('a ")" closes nothing');
    }
    return { tree, ignoreCase: this.ignoreCase };
  }

  /** `(?i)` and its like may stand at the very start of a Python expression. */
  private flags(): void {
    const [all, letters] = (this.python && /^\(\?([aiLmsux]+)\)/.exec(this.text)) || [];
    if (all && letters) {
      if (/[xm]/.test(letters)) {
        throw this.fault(`the flags "${letters}" are not read here`, true);
      }
      this.ignoreCase = letters.includes('i');
      this.dotAll = letters.includes('s');
      this.at = all.length;
    }
  }

  private alternatives(): Node {
    const parts = [this.sequence()];
    while (this.take('|')) {
      parts.push(this.sequence());
    }
    return parts.length === 1 && parts[0] ? parts[0] : { kind: 'either', parts };
  }

  private sequence(): Node {
    const parts: Node[] = [];
    while (this.at < this.text.length && !'|)'.includes(this.peek())) {
      parts.push(this.quantified(this.atom()));
    }
    return { kind: 'sequence', parts };
  }

  private quantified(part: Node): Node {
    let bounds = this.bounds();
    let node = part;
    for (let count = 0; bounds; count++, bounds = this.bounds()) {
      if (count > 0 || ['start', 'end', 'border', 'inside'].includes(part.kind)) {
        throw this.fault(count > 0 ? 'a quantifier follows a quantifier' : 'nothing to repeat before a quantifier');
      }
      if (this.take('+')) {
        if (this.python) {
          throw this.fault('possessive quantifiers are not read here', true);
        }
        throw this.fault('a quantifier follows a quantifier');
      }
      this.take('?'); // a lazy one matches the same texts
      node = { kind: 'repeat', part, ...bounds };
    }
    return node;
  }

  private bounds(): { least: number; most: number } | undefined {
    const simple = { '*': { least: 0, most: Infinity }, '+': { least: 1, most: Infinity }, '?': { least: 0, most: 1 } }[this.peek()];
    if (simple) {
      this.at++;
      return simple;
    }
    if (this.peek() !== '{') {
      return undefined;
    }
    const [all, low = '', comma = '', high = ''] = (this.python ? /^\{(\d*)(,?)(\d*)\}/ : /^\{(\d+)(,?)(\d*)\}/).exec(this.text.slice(this.at)) ?? [];
    if (all === undefined || (low === '' && comma === '')) {
      if (this.python) {
        return undefined; // a plain brace
      }
      throw this.fault('"{" starts no quantifier such as {2,3}');
    }
    const least = Number(low || 0);
    const most = comma === '' ? least : high === '' ? Infinity : Number(high);
    if (most < least) {
      throw this.fault('the quantifier\'s upper bound is below its lower one');
    }
    this.at += all.length;
    return { least, most };
  }

  private atom(): Node {
    const character = this.text.charAt(this.at);
    switch (character) {
      case '(': return this.group();
      case '[': return { kind: 'char', test: this.set() };
      case '.': this.at++; return { kind: 'char', test: this.dotAll ? () => true : not(is(10)) };
      case '^': this.at++; return { kind: 'start' };
      case '$': this.at++; return { kind: 'end' };
      case '\\': return this.escape();
      case '*': case '+': case '?': throw this.fault('nothing to repeat before a quantifier');
      case '{': if (!this.python) { throw this.fault('nothing to repeat before "{"'); } break;
      default:
    }
    this.at++;
    return { kind: 'char', test: is(character.charCodeAt(0)) };
  }

  private group(): Node {
    const from = this.at++;
    const [head, name] = /^\?(?:[:=!]|<[=!]|#[^)]*|P<(\w+)>)/.exec(this.text.slice(this.at)) ?? [];
    if (head?.startsWith('?#') && this.python) {
      this.at += head.length + 1;
      return { kind: 'sequence', parts: [] };
    }
    const known = head !== undefined && (this.python || ['?:', '?=', '?!'].includes(head));
    if (this.peek() === '?' && !known) {
      throw this.fault(`the group "${this.text.slice(from, from + 4)}" is not ${this.python ? 'read here' : 'known to std::regex'}`, this.python);
    }
    this.at += known ? head.length : 0;
    const part = this.alternatives();
    if (!this.take(')')) {
      throw new RegexFault('a "(" is not closed', from);
    }
    return head === undefined || head === '?:' || name !== undefined ? part : { kind: 'look', part, ahead: !head.includes('<'), negative: head.endsWith('!') };
  }

  private escape(): Node {
    const letter = this.text.charAt(this.at + 1);
    if (letter === 'b' || letter === 'B') {
      this.at += 2;
      return { kind: letter === 'b' ? 'border' : 'inside' };
    }
    if (this.python && (letter === 'A' || letter === 'Z')) {
      this.at += 2;
      return { kind: letter === 'A' ? 'start' : 'end' };
    }
    if (/[1-9]/.test(letter)) {
      throw this.fault('backreferences are not read here', true);
    }
    return { kind: 'char', test: this.escaped() };
  }

  /** A backslash and what belongs to it, where one character is meant. */
  private escaped(): CharTest {
    const letter = this.text.charAt(this.at + 1);
    const rest = this.text.slice(this.at + 1);
    const [hex, digits] = /^(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4}))/.exec(rest)?.filter((part) => part !== undefined) ?? [];
    if (hex && digits) {
      this.at += 1 + hex.length;
      return is(parseInt(digits, 16));
    }
    const test = classes[letter] ?? (controls[letter] === undefined ? undefined : is(controls[letter]));
    if (!test && (letter === '' || /[0-9A-Za-z]/.test(letter))) {
      throw this.fault(letter === '' ? 'a backslash stands at the end' : `"\\${letter}" is no escape`);
    }
    this.at += 2;
    return test ?? is(letter.charCodeAt(0));
  }

  private set(): CharTest {
    const from = this.at++;
    const negative = this.take('^');
    const tests: CharTest[] = [];
    for (let first = true; first || this.peek() !== ']'; first = false) {
      if (this.at >= this.text.length) {
        throw new RegexFault('a "[" is not closed', from);
      }
      if (first && this.peek() === ']' && !this.python) {
        break;
      }
      if (!this.python && /^\[[:.=]/.test(this.text.slice(this.at))) {
        throw this.fault('character classes such as [:alpha:] are not read here', true);
      }
      tests.push(this.member());
    }
    this.at++;
    const any: CharTest = (code) => tests.some((test) => test(code));
    return negative ? not(any) : any;
  }

  private member(): CharTest {
    const place = this.at;
    const low = this.setCharacter();
    if (this.peek() !== '-' || this.text.charAt(this.at + 1) === ']' || this.at + 1 >= this.text.length) {
      return low.test;
    }
    this.at++;
    const high = this.setCharacter();
    if (low.code === undefined || high.code === undefined || high.code < low.code) {
      throw new RegexFault('a range in [ ] runs backwards or from a class', place);
    }
    const [from, to] = [low.code, high.code];
    return (code) => code >= from && code <= to;
  }

  /** `code` is undefined for classes such as \d. */
  private setCharacter(): { test: CharTest; code: number | undefined } {
    if (this.peek() !== '\\') {
      const code = this.text.charCodeAt(this.at++);
      return { test: is(code), code };
    }
    const letter = this.text.charAt(this.at + 1);
    if (letter === 'b') {
      this.at += 2;
      return { test: is(8), code: 8 };
    }
    const test = this.escaped();
    return { test, code: classes[letter] ? undefined : [...Array(0x10000).keys()].find((code) => test(code)) };
  }

  private peek(): string { return this.text.charAt(this.at); }

  private take(character: string): boolean {
    if (this.peek() !== character) {
      return false;
    }
    this.at++;
    return true;
  }

  private fault(message: string, unsupported = false): RegexFault { return new RegexFault(message, this.at, unsupported); }
}

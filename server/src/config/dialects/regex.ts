/**
 * Regular expressions of other tools: Python's `re` and C++'s `std::regex` (ECMAScript). JavaScript's own would accept other texts, and can take minutes on a
 * hostile one; this one asks each (instruction, position) pair once, so the time is bounded by pattern times name; most patterns run as an automaton (automaton.ts).
 * It answers yes or no, and refuses by name what it does not have (backreferences, conditions, possessive quantifiers), so that no count is ever wrong silently.
 */
import { Automaton } from './automaton';
import { isWord, Parser, RegexFault } from './regexParser';
import type { CharTest, Flavour, Node } from './regexParser';

export interface Regex {
  /** Anywhere in the text, as `re.search` and `std::regex_search`. */
  search(text: string): boolean;
  /** From its start on, as `re.match`. */
  match(text: string): boolean;
  /** All of it, as `re.fullmatch`. */
  full(text: string): boolean;
}

export type Instruction =
  | { op: 'char'; test: CharTest }
  | { op: 'split'; a: number; b: number }
  | { op: 'jump'; to: number }
  | { op: 'start' | 'end' | 'border' | 'inside' | 'done' }
  | { op: 'look'; program: Program; ahead: boolean; negative: boolean };
interface Program {
  code: Instruction[];
  /** Which pairs the current run has asked, as its number: nothing has to be cleared between runs. */
  asked: Uint32Array;
  runs: number;
}

const maxPattern = 4096;
const maxProgram = 20_000;

/** The last ones compiled, with their automata: an editor reads the same file again at every letter. */
const compiled = new Map<string, Regex>();
const maxCompiled = 128;

/** @throws RegexFault with the position in the pattern. */
export function compileRegex(pattern: string, flavour: Flavour): Regex {
  const key = `${flavour} ${pattern}`;
  const regex = compiled.get(key) ?? compile(pattern, flavour);
  compiled.delete(key);
  compiled.set(key, regex);
  if (compiled.size > maxCompiled) {
    compiled.delete([...compiled.keys()][0] ?? '');
  }
  return regex;
}

function compile(pattern: string, flavour: Flavour): Regex {
  if (pattern.length > maxPattern) {
    throw new RegexFault(`it has ${pattern.length} characters, more than ${maxPattern}`, maxPattern, true);
  }
  const { tree, ignoreCase } = new Parser(pattern, flavour).parse();
  const program = assemble(tree, ignoreCase);
  const automaton = Automaton.of(program.code);
  return {
    search: (text) => automaton?.test(text, true, false) ?? run(program, text, [...Array(text.length + 1).keys()]),
    match: (text) => automaton?.test(text, false, false) ?? run(program, text, [0]),
    full: (text) => automaton?.test(text, false, true) ?? run(program, text, [0], text.length),
  };
}

function assemble(tree: Node, ignoreCase: boolean): Program {
  const code: Instruction[] = [];
  const add = (instruction: Instruction): number => {
    if (code.length >= maxProgram) {
      throw new RegexFault('its repetitions unfold to too many steps', 0, true);
    }
    return code.push(instruction) - 1;
  };
  const split = (): { op: 'split'; a: number; b: number } => ({ op: 'split', a: 0, b: 0 });
  const emit = (node: Node): void => {
    switch (node.kind) {
      case 'char': add({ op: 'char', test: ignoreCase ? (code) => eitherCase(code).some(node.test) : node.test }); break;
      case 'sequence': node.parts.forEach(emit); break;
      case 'either': emitEither(node.parts); break;
      case 'repeat': emitRepeat(node); break;
      case 'look': add({ op: 'look', program: assemble(node.part, ignoreCase), ahead: node.ahead, negative: node.negative }); break;
      case 'start': case 'end': case 'border': case 'inside': add({ op: node.kind }); break;
    }
  };
  const emitEither = (parts: readonly Node[]): void => {
    const jumps = parts.map((part, i) => {
      const fork = split();
      if (i < parts.length - 1) {
        fork.a = add(fork) + 1;
      }
      emit(part);
      const jump = { op: 'jump' as const, to: 0 };
      add(jump);
      fork.b = code.length;
      return jump;
    });
    jumps.forEach((jump) => { jump.to = code.length; });
  };
  const emitRepeat = ({ part, least, most }: Extract<Node, { kind: 'repeat' }>): void => {
    for (let i = 0; i < least; i++) {
      emit(part);
    }
    const forks: { b: number }[] = [];
    for (let i = least; i < (most === Infinity ? least + 1 : most); i++) {
      const fork = split();
      const place = add(fork);
      fork.a = place + 1;
      forks.push(fork);
      emit(part);
      if (most === Infinity) {
        add({ op: 'jump', to: place });
      }
    }
    forks.forEach((fork) => { fork.b = code.length; });
  };
  emit(tree);
  add({ op: 'done' });
  return { code, asked: new Uint32Array(0), runs: 0 };
}

function eitherCase(code: number): number[] {
  const text = String.fromCharCode(code);
  return [code, text.toLowerCase().charCodeAt(0), text.toUpperCase().charCodeAt(0)];
}

/** @param end where the match has to end; anywhere when undefined. */
function run(program: Program, text: string, starts: readonly number[], end?: number): boolean {
  const width = text.length + 1;
  if (program.asked.length < program.code.length * width || program.runs === 0xffffffff) {
    program.asked = new Uint32Array(program.code.length * width);
    program.runs = 0;
  }
  const { code, asked } = program;
  const number = ++program.runs;
  const pending = starts.toReversed(); // pairs packed as instruction × width + position
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (asked[next] === number) {
      continue;
    }
    asked[next] = number;
    const at = next % width;
    const place = (next - at) / width;
    const instruction = code[place];
    const go = (to: number, position: number): void => { pending.push(to * width + position); };
    switch (instruction?.op) {
      case 'done': if (end === undefined || at === end) { return true; } break;
      case 'char': if (at < text.length && instruction.test(text.charCodeAt(at))) { go(place + 1, at + 1); } break;
      case 'split': go(instruction.b, at); go(instruction.a, at); break;
      case 'jump': go(instruction.to, at); break;
      case 'look': if (look(instruction, text, at) !== instruction.negative) { go(place + 1, at); } break;
      case 'start': if (at === 0) { go(place + 1, at); } break;
      case 'end': if (at === text.length) { go(place + 1, at); } break;
      case 'border': case 'inside': {
        const border = isWord(text.charCodeAt(at - 1)) !== isWord(text.charCodeAt(at));
        if (border === (instruction.op === 'border')) { go(place + 1, at); }
        break;
      }
      case undefined: break;
    }
  }
  return false;
}

function look({ program, ahead }: Extract<Instruction, { op: 'look' }>, text: string, at: number): boolean {
  return ahead ? run(program, text, [at]) : run(program, text, [...Array(at + 1).keys()], at);
}

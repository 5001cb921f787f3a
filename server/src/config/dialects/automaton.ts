/**
 * A compiled expression as a deterministic automaton whose states are made when a text first leads to them: names of a checkpoint share most of their letters, so
 * nearly every step is one look-up. It follows the same instructions as `run` in regex.ts; what looks around itself stays there.
 */
import type { Instruction } from './regex';

interface State {
  /** Instructions that wait for a character. */
  places: readonly number[];
  /** The text read so far matches; `atEnd`: it does when nothing follows. */
  done: boolean;
  atEnd: boolean;
  /** By the code of the character. */
  next: (State | undefined)[];
}

/** States times instructions; beyond it an expression is followed step by step. */
const maxWork = 50_000;

export class Automaton {
  private readonly states = new Map<string, State>();
  private readonly starts = new Map<boolean, State>();

  /** undefined for what needs to know the characters around a place. */
  static of(code: readonly Instruction[]): Automaton | undefined {
    return code.some(({ op }) => op === 'look' || op === 'border' || op === 'inside') ? undefined : new Automaton(code);
  }

  private constructor(private readonly code: readonly Instruction[]) {}

  /** @param everywhere the match may start at any place. @param whole it has to end with the text. @returns undefined when there would be too many states */
  test(text: string, everywhere: boolean, whole: boolean): boolean | undefined {
    let state = this.start(everywhere);
    for (let at = 0; at < text.length; at++) {
      if (state.done && !whole) {
        return true;
      }
      const character = text.charCodeAt(at);
      let next = state.next[character];
      if (!next) {
        next = this.step(state, character, everywhere);
        if (!next) {
          return undefined;
        }
        state.next[character] = next;
      }
      state = next;
    }
    return state.atEnd || (state.done && !whole);
  }

  private start(everywhere: boolean): State {
    const state = this.starts.get(everywhere) ?? this.state([0], true);
    this.starts.set(everywhere, state);
    return state;
  }

  private step({ places }: State, character: number, everywhere: boolean): State | undefined {
    const reached = places.filter((place) => {
      const instruction = this.code[place];
      return instruction?.op === 'char' && instruction.test(character);
    });
    const id = everywhere ? `*${reached.join()}` : reached.join();
    const known = this.states.get(id);
    if (known || this.states.size * this.code.length >= maxWork) {
      return known;
    }
    const next = reached.map((place) => place + 1);
    const state = this.state(everywhere ? [...next, 0] : next, false);
    this.states.set(id, state);
    return state;
  }

  private state(from: readonly number[], first: boolean): State {
    const inside = this.closure(from, first, false);
    return { places: inside.places, done: inside.done, atEnd: this.closure(from, first, true).done, next: [] };
  }

  /** What can be reached without reading. */
  private closure(from: readonly number[], first: boolean, last: boolean): { places: number[]; done: boolean } {
    const seen = new Set<number>();
    const pending = [...from];
    const places: number[] = [];
    let done = false;
    for (let place = pending.pop(); place !== undefined; place = pending.pop()) {
      const instruction = this.code[place];
      if (seen.has(place) || !instruction) {
        continue;
      }
      seen.add(place);
      switch (instruction.op) {
        case 'char': places.push(place); break;
        case 'split': pending.push(instruction.a, instruction.b); break;
        case 'jump': pending.push(instruction.to); break;
        case 'done': done = true; break;
        case 'start': if (first) { pending.push(place + 1); } break;
        case 'end': if (last) { pending.push(place + 1); } break;
        case 'look': case 'border': case 'inside': break; // not in an automaton
      }
    }
    return { places: places.sort((a, b) => a - b), done };
  }
}

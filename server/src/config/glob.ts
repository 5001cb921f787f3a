/**
 * Layer patterns: `*` is any run of characters without a dot, `**` any run at all; everything else is literal, both ends are anchored.
 * A list takes a layer when one of its patterns does and none of its `!` exclusions.
 */
export interface Glob { readonly text: string; test(name: string): boolean }

const dot = 46;

/**
 * Compiles one pattern (no leading `!`). The literal text before the first and behind the last star is compared at once, and the longest literal between must
 * stand somewhere; only names that pass run through the automaton. A pattern whose literal characters alone are longer than the name fails at once, so hostile patterns of any length stay linear in their own length.
 */
export function compileGlob(pattern: string): Glob {
  const first = pattern.indexOf('*');
  if (first < 0) {
    return { text: pattern, test: (name) => name === pattern };
  }
  const prefix = pattern.slice(0, first);
  const suffix = pattern.slice(pattern.lastIndexOf('*') + 1);
  const middle = pattern.slice(first, pattern.length - suffix.length);
  const literals = pattern.length - [...pattern.matchAll(/\*+/g)].reduce((sum, [stars]) => sum + stars.length, 0);
  const longest = middle.split('*').reduce((a, b) => (b.length > a.length ? b : a));
  const matches = /^\*\*+$/.test(middle) ? () => true : automaton(middle);
  return {
    text: pattern,
    test: (name) => literals <= name.length && name.startsWith(prefix) && name.endsWith(suffix) && name.includes(longest)
      && matches(name, prefix.length, name.length - suffix.length),
  };
}

type Matcher = (name: string, from: number, to: number) => boolean;

/** Built when a name is first long enough for it. */
function automaton(pattern: string): Matcher {
  let built: Matcher | undefined;
  return (name, from, to) => {
    built ??= buildAutomaton(pattern);
    return built(name, from, to);
  };
}

/**
 * A nondeterministic automaton, 32 states to a word (Baeza-Yates & Gonnet's shift-and): bit i of `reached` says that the first i tokens can match the
 * characters read so far. Runs of stars are one token, so no two stars are neighbours and a star is skipped in one step.
 */
function buildAutomaton(pattern: string): Matcher {
  const tokens = pattern.match(/\*+|[^*]/g) ?? [];
  const words = (tokens.length >>> 5) + 1;
  const stars = new Int32Array(words);
  /** Tokens that stay where they are: on any character but a dot, and on a dot. */
  const stay = new Int32Array(words);
  const stayOnDot = new Int32Array(words);
  const literals = new Map<number, Int32Array>();
  tokens.forEach((token, i) => {
    const word = i >>> 5;
    const bit = 1 << (i & 31);
    const set = (masks: Int32Array): void => { masks[word] = (masks[word] ?? 0) | bit; };
    if (token.startsWith('*')) {
      set(stars);
      set(stay);
      if (token.length > 1) {
        set(stayOnDot);
      }
    } else {
      const character = token.charCodeAt(0);
      const masks = literals.get(character) ?? new Int32Array(words);
      set(masks);
      literals.set(character, masks);
    }
  });
  const none = new Int32Array(words);
  const reached = new Int32Array(words);
  return (name, from, to) => {
    reached.fill(0);
    reached[0] = 1 | (((stars[0] ?? 0) & 1) << 1);
    for (let at = from; at < to; at++) {
      const character = name.charCodeAt(at);
      const literal = literals.get(character) ?? none;
      const staying = character === dot ? stayOnDot : stay;
      let carry = 0;
      let skipCarry = 0;
      let alive = 0;
      for (let word = 0; word < words; word++) {
        const before = reached[word] ?? 0;
        const advanced = before & (literal[word] ?? 0);
        const after = (before & (staying[word] ?? 0)) | (advanced << 1) | carry;
        carry = advanced >>> 31;
        const skipped = after & (stars[word] ?? 0);
        const now = after | (skipped << 1) | skipCarry;
        skipCarry = skipped >>> 31;
        reached[word] = now;
        alive |= now;
      }
      if (alive === 0) {
        return false;
      }
    }
    return (((reached[tokens.length >>> 5] ?? 0) >>> (tokens.length & 31)) & 1) === 1;
  };
}

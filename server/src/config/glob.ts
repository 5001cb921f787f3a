/**
 * Layer patterns: `*` is any run of characters without a dot, `**` any run at all; everything else is literal, both ends are anchored.
 * A list takes a layer when one of its patterns does and none of its `!` exclusions.
 */
export interface Glob { readonly text: string; test(name: string): boolean }

const star = 0;
const doubleStar = 1;
type Token = string | typeof star | typeof doubleStar;

/**
 * Compiles one pattern (no leading `!`). A test takes O(tokens · name length), and a pattern whose literal characters alone are longer than the name fails
 * at once: hostile patterns of any length stay linear in their own length.
 */
export function compileGlob(pattern: string): Glob {
  const tokens: Token[] = [];
  let literals = 0;
  for (const part of pattern.match(/\*+|[^*]/gu) ?? []) {
    if (part.startsWith('*')) {
      tokens.push(part.length === 1 ? star : doubleStar);
    } else {
      tokens.push(part);
      literals += part.length;
    }
  }
  return { text: pattern, test: (name) => literals <= name.length && matches(tokens, name) };
}

/** Runs the pattern as a nondeterministic automaton: reached[i] says that the first i tokens can match the characters read so far. */
function matches(tokens: readonly Token[], name: string): boolean {
  let reached = new Uint8Array(tokens.length + 1);
  let next = new Uint8Array(tokens.length + 1);
  reached[0] = 1;
  skipStars(tokens, reached);
  for (const character of name) {
    next.fill(0);
    let alive = false;
    for (let i = 0; i < tokens.length; i++) {
      if (!reached[i]) {
        continue;
      }
      const token = tokens[i];
      if (token === doubleStar || (token === star && character !== '.')) {
        next[i] = 1;
        alive = true;
      } else if (token === character) {
        next[i + 1] = 1;
        alive = true;
      }
    }
    if (!alive) {
      return false;
    }
    skipStars(tokens, next);
    [reached, next] = [next, reached];
  }
  return reached[tokens.length] === 1;
}

/** A star may match nothing: whoever stands before it also stands behind it. */
function skipStars(tokens: readonly Token[], reached: Uint8Array): void {
  for (let i = 0; i < tokens.length; i++) {
    if (reached[i] && typeof tokens[i] === 'number') {
      reached[i + 1] = 1;
    }
  }
}

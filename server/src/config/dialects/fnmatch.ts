/** Python's `fnmatch`: `*` any run of characters (dots included), `?` one, `[ab]` and `[!ab]` one of a set; both ends anchored, case counts. */
import { compileGlob } from '../glob';
import { compileRegex } from './regex';

export function compileFnmatch(pattern: string): (name: string) => boolean {
  if (!/[?[]/.test(pattern)) {
    const glob = compileGlob(pattern.replace(/\*+/g, '**')); // our `**` is Python's `*`
    return (name) => glob.test(name);
  }
  let translated = '(?s)';
  for (let at = 0; at < pattern.length; at++) {
    const character = pattern.charAt(at);
    const close = character === '[' ? endOfSet(pattern, at) : -1;
    if (close > 0) {
      const inside = pattern.slice(at + 1, close).replace(/\\/g, '\\\\').replace(/\[/g, '\\[');
      translated += inside.startsWith('!') ? `[^${inside.slice(1)}]` : `[${inside.replace(/^\^/, '\\^')}]`;
      at = close;
    } else if (character === '*') {
      translated += translated.endsWith('.*') ? '' : '.*';
    } else {
      translated += character === '?' ? '.' : character.replace(/[^\w]/, '\\$&');
    }
  }
  const regex = compileRegex(translated, 'python');
  return (name) => regex.full(name);
}

/** Index of the `]` that closes a set, or -1: then the `[` is a plain character. A `]` right behind the opening belongs to the set. */
function endOfSet(pattern: string, open: number): number {
  let from = open + 1;
  from += pattern.charAt(from) === '!' ? 1 : 0;
  from += pattern.charAt(from) === ']' ? 1 : 0;
  return pattern.indexOf(']', from);
}

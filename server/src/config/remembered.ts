/** What a keystroke leaves for the next one: most of a long file is as it was. */
import type { Checkpoint } from '../protocol';

/**
 * The same text as a string of its own. V8 lets a part of a text refer to the whole that it was cut from: what is remembered would keep each version of the file alive.
 */
export function ownText(text: string): string {
  return ` ${text}`.slice(1);
}

/** The same function, which remembers what it found for each text in each checkpoint. @param most texts of one checkpoint; beyond, all are forgotten */
export function remembering<C extends Pick<Checkpoint, 'layers'>, T>(find: (text: string, checkpoint: C) => T, most = 8192): typeof find {
  const known = new WeakMap<C, Map<string, T>>();
  return (text, checkpoint) => {
    const found = known.get(checkpoint) ?? new Map<string, T>();
    known.set(checkpoint, found);
    if (!found.has(text)) {
      if (found.size >= most) {
        found.clear();
      }
      found.set(ownText(text), find(text, checkpoint));
    }
    return found.get(text) as T;
  };
}

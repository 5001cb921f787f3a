/** Which layers of a checkpoint a pattern list takes. Results are remembered per checkpoint, so a keystroke only matches the pattern it changed. */
import type { Checkpoint } from '../protocol';
import { compileGlob } from './glob';
import { maxPatterns } from './parse';

const remembered = new WeakMap<Checkpoint, Map<string, Uint32Array>>();
/** Room for all patterns of a config (maxPatterns) twice. */
const bound = 2 * maxPatterns;

/** Indices into checkpoint.layers, ascending. A list of only exclusions takes nothing. */
export function matchList(checkpoint: Checkpoint, patterns: readonly string[]): Uint32Array {
  if (patterns.length === 1 && patterns[0] !== undefined && !patterns[0].startsWith('!')) {
    return matchOne(checkpoint, patterns[0]);
  }
  const taken = new Uint8Array(checkpoint.layers.length);
  for (const pattern of patterns.filter((text) => !text.startsWith('!'))) {
    matchOne(checkpoint, pattern).forEach((index) => { taken[index] = 1; });
  }
  for (const pattern of patterns.filter((text) => text.startsWith('!'))) {
    matchOne(checkpoint, pattern.slice(1)).forEach((index) => { taken[index] = 0; });
  }
  return Uint32Array.from(checkpoint.layers.keys()).filter((index) => taken[index] === 1);
}

function matchOne(checkpoint: Checkpoint, pattern: string): Uint32Array {
  let cache = remembered.get(checkpoint);
  if (!cache) {
    cache = new Map();
    remembered.set(checkpoint, cache);
  }
  let indices = cache.get(pattern);
  if (!indices) {
    const glob = compileGlob(pattern);
    indices = Uint32Array.from(checkpoint.layers.keys()).filter((index) => glob.test(checkpoint.layers[index]?.name ?? ''));
    if (cache.size >= bound) {
      cache.clear();
    }
    cache.set(pattern, indices);
  }
  return indices;
}

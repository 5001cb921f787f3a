/** Which layers of a checkpoint a pattern list takes. Results are remembered per checkpoint, so a keystroke only matches the pattern it changed. */
import type { Checkpoint } from '../protocol';
import { compileGlob } from './glob';
import { maxPatterns } from './parse';
import { remembering } from './remembered';

/** Indices into checkpoint.layers, ascending. A list of only exclusions takes nothing. */
export function matchList(checkpoint: Checkpoint, patterns: readonly string[]): Uint32Array {
  if (patterns.length === 1 && patterns[0] !== undefined && !patterns[0].startsWith('!')) {
    return matchOne(patterns[0], checkpoint);
  }
  const taken = new Uint8Array(checkpoint.layers.length);
  for (const pattern of patterns.filter((text) => !text.startsWith('!'))) {
    matchOne(pattern, checkpoint).forEach((index) => { taken[index] = 1; });
  }
  for (const pattern of patterns.filter((text) => text.startsWith('!'))) {
    matchOne(pattern.slice(1), checkpoint).forEach((index) => { taken[index] = 0; });
  }
  return Uint32Array.from(checkpoint.layers.keys()).filter((index) => taken[index] === 1);
}

const matchOne = remembering((pattern, checkpoint: Checkpoint) => {
  const glob = compileGlob(pattern);
  return Uint32Array.from(checkpoint.layers.keys()).filter((index) => glob.test(checkpoint.layers[index]?.name ?? ''));
}, 2 * maxPatterns); // all patterns of a config, twice

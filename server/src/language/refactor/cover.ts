/** Few patterns for layers of a checkpoint. */
import { PatternIndex } from '../../config/patterns/cover';
import type { Checkpoint } from '../../protocol';

const indices = new WeakMap<Checkpoint, PatternIndex>();

/** Patterns that take exactly `names`, and of `allowed` whatever they like. */
export function cover(checkpoint: Checkpoint, names: ReadonlySet<string>, allowed: ReadonlySet<string> = new Set()): string[] {
  const index = indices.get(checkpoint) ?? new PatternIndex(checkpoint.layers.map(({ name }) => name));
  indices.set(checkpoint, index);
  return index.cover(names, allowed);
}

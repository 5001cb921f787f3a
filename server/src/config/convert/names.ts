import { isAbsolute, relative, sep } from 'node:path';

/** A checkpoint as a config in this folder names it. */
export function checkpointName(folder: string, checkpoint: string): string {
  const inside = relative(folder, checkpoint).split(sep).join('/');
  return inside.startsWith('.') || isAbsolute(inside) ? inside : `./${inside}`;
}

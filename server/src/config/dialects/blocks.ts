/** Block numbers in an entry that the checkpoint does not have, such as 37 to 39 of a list written for a model of 40 blocks on one of 30. */
import type { Checkpoint } from '../../protocol';
import { ownText } from '../ownText';

/** `blocks.37`, `blocks\\.(37|38|39)`, `blocks.[37]` is left alone. */
const numbered = /([A-Za-z_]\w*)\\?\.\(?(?:\?:)?(\d+(?:\|\d+)*)(?![\w\]-])/g;

/** The highest block of each container, by name: `transformer_blocks` → 18. */
function lastBlocks({ layers }: Pick<Checkpoint, 'layers'>): Map<string, number> {
  const last = new Map<string, number>();
  for (const { block } of layers) {
    const [, container, index] = /(?:^|\.)(\w+)\.(\d+)$/.exec(block ?? '') ?? [];
    if (container !== undefined) {
      last.set(container, Math.max(Number(index), last.get(container) ?? 0));
    }
  }
  return last;
}

/** What was said of an entry: most of a long file is as it was at the last keystroke. */
interface Known { last: ReadonlyMap<string, number>; said: Map<string, string | undefined> }
const known = new WeakMap<Pick<Checkpoint, 'layers'>, Known>();
const maxSaid = 8192;

/** A sentence about the first number that is too high; undefined when there is none. Names count by their end, as most rules are not anchored. */
export function noSuchBlock(text: string, checkpoint: Pick<Checkpoint, 'layers'>): string | undefined {
  const { last, said } = known.get(checkpoint) ?? { last: lastBlocks(checkpoint), said: new Map<string, string | undefined>() };
  known.set(checkpoint, { last, said });
  if (!said.has(text)) {
    if (said.size >= maxSaid) {
      said.clear();
    }
    said.set(ownText(text), tooHigh(text, last));
  }
  return said.get(text);
}

function tooHigh(text: string, last: ReadonlyMap<string, number>): string | undefined {
  for (const [, name = '', numbers = ''] of text.matchAll(numbered)) {
    const bounds = [...last].filter(([container]) => container.endsWith(name)).map(([, index]) => index);
    const missing = numbers.split('|').filter((number) => bounds.length > 0 && Number(number) > Math.max(...bounds));
    if (missing.length > 0) {
      return `It names ${missing.length === 1 ? 'block' : 'blocks'} ${missing.join(', ')}, but the last of ${name} in this checkpoint is ${Math.max(...bounds)}.`;
    }
  }
  return undefined;
}

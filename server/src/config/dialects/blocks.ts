/** Block numbers in an entry that the checkpoint does not have, such as 37 to 39 of a list written for a model of 40 blocks on one of 30; and what such a list leaves. */
import type { Checkpoint } from '../../protocol';
import { remembering } from '../remembered';
import type { Decision, DialectEntry } from './dialect';

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

/** A sentence about the first number that is too high; undefined when there is none. Names count by their end, as most rules are not anchored. */
export const noSuchBlock = remembering((text, checkpoint: Pick<Checkpoint, 'layers'>) => tooHigh(text, knownLast(checkpoint)));

const lasts = new WeakMap<Pick<Checkpoint, 'layers'>, ReadonlyMap<string, number>>();

function knownLast(checkpoint: Pick<Checkpoint, 'layers'>): ReadonlyMap<string, number> {
  const last = lasts.get(checkpoint) ?? lastBlocks(checkpoint);
  lasts.set(checkpoint, last);
  return last;
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

/** ModelOpt's script keeps these, and 37 to 39, of any Wan. */
const firstOfWan = [0, 1, 2];

/**
 * The entry that keeps the first three blocks of a Wan of less than 40 whose last three are quantized, and a sentence about it. That list is written out for the layers
 * there are, so that no number in it is too high.
 */
export function lastBlocksLeft({ architecture }: Pick<Checkpoint, 'architecture'>, decisions: readonly Decision[]): { entry: DialectEntry; sentence: string } | undefined {
  if (architecture !== 'WanTransformer3DModel') {
    return undefined;
  }
  const ofBlock = ({ layer }: Decision): number => Number(/^(?:.+\.)?blocks\.(\d+)$/.exec(layer.block ?? '')?.[1] ?? NaN);
  const count = decisions.reduce((most, decision) => Math.max(most, ofBlock(decision) + 1 || 0), 0);
  const quantizedIn = new Set(decisions.filter(({ treatment }) => treatment.kind === 'quantize').map(ofBlock));
  const whole = Array.from({ length: count }, (_, index) => index).filter((index) => !quantizedIn.has(index));
  const entry = decisions.find((decision) => ofBlock(decision) === 0)?.entry;
  return count < 40 && entry && !entry.builtin && whole.join() === firstOfWan.join() ?
    { entry, sentence: `Blocks 0, 1 and 2 are kept and ${count - 3} to ${count - 1} are quantized: ModelOpt's script for Wan names 37, 38 and 39 besides, the last of the model with 40 blocks, and this one has ${count}.` } : undefined;
}

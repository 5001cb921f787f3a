/** Entries of a file with what they take, as hints and hovers write them. */
import type { DialectEntry, EntryResult, Treatment } from '../../config/dialects/dialect';
import { fieldAt } from '../../config/dialects/field';
import type { Field } from '../../config/dialects/field';
import type { Layer, Position } from '../../protocol';
import { layerCount, percent, share } from '../text';
import { contains, placeAt } from '../tree';
import type { DialectModel } from './model';

export interface WrittenEntry { entry: DialectEntry; result: EntryResult }

/** Those that stand in the file, in its order. */
export function writtenEntries({ parsed, entries }: DialectModel): WrittenEntry[] {
  return parsed.entries.flatMap((entry, i) => {
    const result = entries[i];
    return result ? [{ entry, result }] : [];
  });
}

export function entryAt(model: DialectModel, position: Position): WrittenEntry | undefined {
  return writtenEntries(model).find(({ entry }) => contains(entry.range, position));
}

/** The field that a place is a value of: for an item of a list of names the list's. */
export function fieldOf(root: Field, path: readonly (string | number)[]): ReturnType<typeof fieldAt> {
  return fieldAt(root, path) ?? (typeof path.at(-1) === 'number' ? fieldAt(root, path.slice(0, -1)) : undefined);
}

/** How the tool compares this entry, in a sentence: the field's own where it has one. */
export function ruleOf({ root, file, dialect }: DialectModel, { range }: Pick<DialectEntry, 'range'>): string {
  const place = placeAt(file.root, range.start);
  const path = place?.onKey ? place.path.slice(0, -1) : place?.path ?? [];
  return fieldOf(root, path)?.field.names?.doc ?? dialect.rule;
}

export function isKept({ kind }: Treatment): boolean {
  return kind === 'keep';
}

/** `quantizes 465 of 504 layers (84.93 % of the weights) and keeps 39 (15.07 %)`. */
export function outcomeText({ quantized, kept, all }: Outcome): string {
  return `quantizes ${quantized.length} of ${layerCount(all.length)} (${percent(share(quantized, all))} of the weights) and keeps ${kept.length} (${percent(share(kept, all))})`;
}

export interface Outcome { quantized: Layer[]; kept: Layer[]; all: readonly Layer[] }

/**
 * What the whole file does. undefined without layers, while the text, or another one that says so, is not read to its end, and where Python leaves something to a run of
 * the program.
 */
export function outcome({ decisions, checkpoint, broken, file }: DialectModel): Outcome | undefined {
  if (!checkpoint || decisions.length === 0 || broken || file.python?.open) {
    return undefined;
  }
  const [quantized, kept]: [Layer[], Layer[]] = [[], []];
  decisions.forEach(({ layer, treatment }) => (isKept(treatment) ? kept : quantized).push(layer));
  return { quantized, kept, all: checkpoint.layers };
}

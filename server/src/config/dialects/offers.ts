/** Names of modules and patterns of them that are worth offering in another tool's list, best first. What they take is that tool's affair (`NameRule.takes`). */
import type { Checkpoint, Layer } from '../../protocol';

const known = new WeakMap<Checkpoint, Map<string, readonly string[]>>();

/** Once per checkpoint and kind. */
function collected(kind: string, checkpoint: Checkpoint | undefined, collect: (layers: readonly Layer[]) => Iterable<string>): readonly string[] {
  if (!checkpoint) {
    return [];
  }
  const kinds = known.get(checkpoint) ?? new Map<string, readonly string[]>();
  known.set(checkpoint, kinds);
  const found = kinds.get(kind) ?? [...new Set(collect(checkpoint.layers))];
  kinds.set(kind, found);
  return found;
}

const isNumber = (segment: string): boolean => /^\d+$/.test(segment);

/** The name with its block's number open: the same layer of every block. */
function family({ name, block }: Layer, open: string): string[] {
  const blockLength = block === null ? 0 : block.split('.').length;
  return name.split('.').map((segment, i) => (i === blockLength - 1 ? open : segment));
}

/** Dotted segments that are no numbers, those that end a name first. */
export function segments(checkpoint: Checkpoint | undefined): readonly string[] {
  return collected('segments', checkpoint, (layers) => [...layers.map(({ name }) => name.slice(name.lastIndexOf('.') + 1)).filter((leaf) => !isNumber(leaf)), ...layers.flatMap(({ name }) => name.split('.')).filter((segment) => !isNumber(segment))]);
}

/** The last segments of names, numbers included. */
export function leaves(checkpoint: Checkpoint | undefined): readonly string[] {
  return collected('leaves', checkpoint, (layers) => layers.map(({ name }) => name.slice(name.lastIndexOf('.') + 1)));
}

/** Modules: layers outside of blocks and what contains them, runs of segments within blocks, then blocks and every full name. */
export function modules(checkpoint: Checkpoint | undefined): readonly string[] {
  return collected('modules', checkpoint, (layers) => {
    const single = layers.filter(({ block }) => block === null).flatMap(({ name }) => prefixes(name));
    const inside = layers.flatMap(({ name, block }) => (block === null ? [] : prefixes(name.slice(block.length + 1)))).filter((path) => !isNumber(path));
    const blocks = layers.flatMap(({ block }) => (block === null ? [] : [block.replace(/\.\d+$/, ''), block]));
    return [...single, ...inside, ...blocks, ...layers.map(({ name }) => name)];
  });
}

function prefixes(name: string): string[] {
  const parts = name.split('.');
  return parts.map((_, i) => parts.slice(0, i + 1).join('.'));
}

/** Full names of layers, in the order of the model. */
export function names(checkpoint: Checkpoint | undefined): readonly string[] {
  return collected('names', checkpoint, (layers) => layers.map(({ name }) => name));
}

/** Globs of Python's fnmatch. @param end behind each: what a name goes on with, such as `*` */
export function globs(end: string): (checkpoint: Checkpoint | undefined) => readonly string[] {
  return (checkpoint) => collected(`globs ${end}`, checkpoint, (layers) => [
    ...layers.map((layer) => family(layer, '*').join('.') + end),
    ...layers.flatMap(({ name }) => name.split('.')).filter((segment) => !isNumber(segment)).map((segment) => `*${segment}*`),
    ...layers.flatMap(({ block }) => (block === null ? [] : [`${block}.*`])),
  ]);
}

/**
 * Regular expressions: the same layer of every block, what contains it, single segments, blocks.
 * @param start in front of each, such as `re:`. @param end behind a whole name. @param around what a part of a name needs on either side to be found anywhere
 */
export function expressions(start: string, end: string, around: readonly [before: string, behind: string]): (checkpoint: Checkpoint | undefined) => readonly string[] {
  const anywhere = (text: string): string => `${start}${around[0]}${text}${around[1]}`;
  const within = (parts: readonly string[]): string => `${start}${parts.join('\\.')}\\.${around[1]}`;
  return (checkpoint) => collected(`expressions ${start} ${end}`, checkpoint, (layers) => [
    ...layers.map((layer) => `${start}${family(layer, '\\d+').join('\\.')}${end}`),
    ...layers.flatMap((layer) => family(layer, '\\d+').map((_, i, parts) => parts.slice(0, i)).filter((parts) => parts.length > 0 && parts.at(-1) !== '\\d+').map(within)),
    ...segments(checkpoint).map(anywhere),
    ...layers.flatMap(({ block }) => (block === null ? [] : [within(block.split('.'))])),
  ]);
}

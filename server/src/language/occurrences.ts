/** Everything in a config that has a meaning in other places too: names, patterns, methods, files, anchors. Highlights, references and rename all start here. */
import type { Settings } from '../config/parse';
import { find } from '../config/tree';
import type { TreeNode } from '../config/tree';
import type { Position, Range } from '../protocol';
import { namedFiles } from './files';
import { anchorUses } from './structure';
import type { Structure } from './structure';
import { compare, contains, ruleNodes } from './tree';

export interface Occurrence {
  kind: 'anchor' | 'rule' | 'pattern' | 'method' | 'scheme' | 'keep' | 'file';
  /** Equal for occurrences of one thing: a pattern without its `!`, a file with its whole path. */
  value: string;
  range: Range;
  /** The place that gives it its meaning: an anchor, a rule's own name. */
  isDefinition: boolean;
}

const found = new WeakMap<Structure, readonly Occurrence[]>();

/** In the order of the text; what an alias brings in has the alias' range, and anchors come before what stands there. */
export function occurrences(structure: Structure): readonly Occurrence[] {
  let list = found.get(structure);
  if (!list) {
    list = gather(structure);
    found.set(structure, list);
  }
  return list;
}

/** At an alias: the anchor's name, not what it brings in. */
export function occurrenceAt(structure: Structure, position: Position): Occurrence | undefined {
  return occurrences(structure).find(({ range }) => contains(range, position));
}

/** The same thing at all its places in a config. */
export function sameAs({ kind, value }: Occurrence, structure: Structure): Occurrence[] {
  return occurrences(structure).filter((each) => each.kind === kind && each.value === value);
}

function gather(structure: Structure): Occurrence[] {
  const { config, root } = structure;
  const nodes = [find(root, 'defaults')?.value, ...ruleNodes(root)];
  const all = [
    ...anchorUses(structure).map(({ name, group, isAlias, range }): Occurrence => ({ kind: 'anchor', value: `${name} ${group}`, range, isDefinition: !isAlias })),
    ...config.rules.flatMap(({ named, layers }): Occurrence[] => [
      ...(named ? [{ kind: 'rule' as const, value: named.value, range: named.range, isDefinition: true }] : []),
      ...layers.map(({ value, range }) => ({ kind: 'pattern' as const, value: value.replace(/^!/, ''), range, isDefinition: false })),
    ]),
    ...[config.defaults, ...config.rules].flatMap((settings, index) => settingsOf(settings, nodes[index])),
    ...namedFiles(structure).map(({ path, range }): Occurrence => ({ kind: 'file', value: path, range, isDefinition: false })),
  ];
  const seen = new Set<string>();
  return all.filter(({ kind, value, range: { start } }) => {
    const key = `${start.line}:${start.character} ${kind} ${value}`;
    return !seen.has(key) && seen.add(key);
  }).sort((a, b) => compare(a.range.start, b.range.start));
}

function settingsOf({ scheme, method, keep }: Settings, node: TreeNode | undefined): Occurrence[] {
  const written = find(node, 'method')?.value;
  const name = written?.kind === 'map' ? find(written, 'name')?.value : written;
  return [
    ...(method && name ? [{ kind: 'method' as const, value: method.value.name, range: name.range, isDefinition: false }] : []),
    ...(scheme ? [{ kind: 'scheme' as const, value: `W${scheme.value.weightBits}A${scheme.value.activationBits}`, range: scheme.range, isDefinition: false }] : []),
    ...(keep ? [{ kind: 'keep' as const, value: keep.value, range: keep.range, isDefinition: false }] : []),
  ];
}

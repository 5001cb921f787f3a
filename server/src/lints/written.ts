/** Remedies for what is wrong with the text itself. */
import { removeEntry, toTextEdits } from '../config/edits';
import { find } from '../config/tree';
import type { Entry, MapNode, TreeNode } from '../config/tree';
import type { Range } from '../protocol';
import { fix, withFixes } from './lint';
import type { Remedy, Written } from './lint';

/** The second of two equal keys does not count, so it may go. */
export const duplicateKey: Remedy<Written> = (problem, subject) => {
  const found = problem.range && owner(subject.root, problem.range);
  const all = found && { ...found.map, entries: [...found.map.entries, ...found.map.repeated ?? []].sort((a, b) => compare(a.keyRange, b.keyRange)) };
  return withFixes(found && all ? fix(subject, `Remove this "${found.entry.key}", which does not count`, removeEntry(subject.document, all, found.entry), true) : []);
};

/** A key that has no meaning where it stands. */
export const surplusKey: Remedy<Written> = (problem, subject) => {
  const found = problem.range && owner(subject.root, problem.range);
  return withFixes([...problem.data?.fixes ?? [], ...(found ? fix(subject, `Remove "${found.entry.key}"`, removeEntry(subject.document, found.map, found.entry)) : [])]);
};

export const keepAndQuantize: Remedy<Written> = (problem, subject) => {
  const map = problem.range && owner(subject.root, problem.range)?.map;
  const remove = (keys: readonly string[]): ReturnType<typeof fix> => {
    const edits = keys.flatMap((key) => find(map, key) ?? []).map((entry) => (map ? removeEntry(subject.document, map, entry) : undefined));
    return edits.some((each) => !each) ? [] : fix(subject, `Remove ${keys.filter((key) => find(map, key)).map((key) => `"${key}"`).join(' and ')}`, edits.flatMap((each) => each ?? []));
  };
  const both = find(map, 'scheme') && find(map, 'method');
  // In braces the two would be neighbours, and their commas the same.
  return withFixes([...remove(['keep']), ...(both && map?.range.start.line === map?.range.end.line ? [] : remove(['scheme', 'method']))]);
};

export const missingVersion: Remedy<Written> = (problem, subject) => {
  const { document, root } = subject;
  const [first] = root.kind === 'map' ? root.entries : [];
  if (!first || find(root, 'version') || !problem.message.startsWith('"version"')) {
    return {};
  }
  const at = document.offsetAt(first.keyRange.start);
  const flow = document.getText()[document.offsetAt(root.range.start)] === '{';
  return withFixes([{ title: 'Add "version: 1"', edits: toTextEdits(document, [{ from: at, to: at, text: flow ? 'version: 1, ' : 'version: 1\n' }]) }]);
};

function owner(node: TreeNode, key: Range): { map: MapNode; entry: Entry } | undefined {
  const inner = node.kind === 'map' ? [...node.entries, ...node.repeated ?? []] : [];
  const entry = inner.find(({ keyRange }) => keyRange === key);
  if (entry && node.kind === 'map') {
    return { map: node, entry };
  }
  for (const child of node.kind === 'list' ? node.items : inner.map(({ value }) => value)) {
    const found = child.kind === 'scalar' ? undefined : owner(child, key);
    if (found) {
      return found;
    }
  }
  return undefined;
}

function compare(a: Range, b: Range): number { return a.start.line - b.start.line || a.start.character - b.start.character; }

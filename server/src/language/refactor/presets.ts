/** A method that is written out gets a name (`&name`), and whoever says the same uses it (`*name`); and the way back. */
import { CodeActionKind } from 'vscode-languageserver-types';
import { isDeepStrictEqual } from 'node:util';
import { endOf, inBraces, isShared } from '../../config/edits';
import type { Edit } from '../../config/edits';
import { find, toValue } from '../../config/tree';
import type { Entry, MapNode, TreeNode } from '../../config/tree';
import { contains } from '../tree';
import { anchorNames, hasAnchors, hasComments, sourceOf } from './refactor';
import type { Refactor, Site } from './refactor';

export const extractPreset: Refactor = (site) => {
  const { document, root, range } = site;
  const rules = find(root, 'rules')?.value;
  const owners = [find(root, 'defaults')?.value, ...(rules?.kind === 'list' && !isShared(document, rules) ? rules.items : [])];
  const methods = owners.flatMap((owner) => (owner && !isShared(document, owner) ? find(owner, 'method') ?? [] : [])).filter(({ value }) => value.kind === 'map' && !isShared(document, value))
    .sort((a, b) => document.offsetAt(a.keyRange.start) - document.offsetAt(b.keyRange.start));
  const here = methods.find(({ keyRange, value }) => contains({ start: keyRange.start, end: document.positionAt(endOf(document, value)) }, range.start));
  const value = here && toValue(here.value);
  const [first, ...others] = methods.filter((each) => here && isDeepStrictEqual(toValue(each.value), value));
  if (!here || !first) {
    return [];
  }
  const existing = anchorOf(site, first);
  const name = existing ?? freeName(anchorNames(site), value);
  const inside = (entry: Entry): [number, number] => [document.offsetAt(entry.keyRange.end), endOf(document, entry.value)];
  // What holds names or comments of its own stays.
  const replaced = others.filter((entry) => !hasAnchors(site, ...inside(entry)) && !hasComments(site, ...inside(entry)));
  return existing !== undefined && replaced.length === 0 ? [] : [{
    title: existing !== undefined ? `Use &${name} in ${places(replaced.length)} that ${replaced.length === 1 ? 'says' : 'say'} the same` : `Name this method &${name}${replaced.length > 0 ? `, and use it in ${places(replaced.length)} more` : ''}`,
    kind: CodeActionKind.RefactorExtract, keeps: 'values',
    edits: () => {
      const colon = (entry: Entry): number => document.getText().indexOf(':', document.offsetAt(entry.keyRange.end)) + 1;
      return [
        ...existing === undefined ? [{ from: colon(first), to: colon(first), text: ` &${name}` }] : [],
        ...replaced.map((entry): Edit => ({ from: colon(entry), to: endOf(document, entry.value), text: ` *${name}` })),
      ];
    },
  }];
};

function places(count: number): string { return `${count} ${count === 1 ? 'place' : 'places'}`; }

function anchorOf({ document }: Site, { keyRange, value }: Entry): string | undefined {
  return /&(\S+)\s*$/.exec(document.getText().slice(document.offsetAt(keyRange.end), document.offsetAt(value.range.start)))?.[1];
}

/** `rtn`, or with what tells it apart: `rtn-g64`. */
function freeName(taken: ReadonlySet<string>, value: unknown): string {
  const { name, weights } = value as { name?: unknown; weights?: { group?: unknown } };
  const stem = `${String(name).replace(/[^\w-]/g, '') || 'method'}${typeof weights?.group === 'number' ? `-g${weights.group}` : ''}`;
  let free = stem;
  for (let count = 2; taken.has(free); count++) {
    free = `${stem}-${count}`;
  }
  return free;
}

/** The alias at the cursor, written out on its line. */
export const inlineAlias: Refactor = (site) => {
  const { document, root, range } = site;
  const at = document.offsetAt(range.start);
  const tokens = document.getText().includes('&') ? site.tokens() : [];
  const alias = tokens.find(({ type, source, offset }) => type === 'alias' && offset <= at && at <= offset + source.length);
  const anchor = alias && tokens.findLast(({ type, source, offset }) => type === 'anchor' && offset < alias.offset && source.slice(1) === alias.source.slice(1));
  const start = anchor && tokens.find(({ type, offset }) => offset > anchor.offset && !['space', 'newline', 'comment'].includes(type))?.offset;
  const node = start === undefined ? undefined : nodeAt(root, document.offsetAt.bind(document), start);
  const text = node && flowText(site, node);
  return !alias || !node ? [] : [{
    title: `Write ${alias.source} out here`, kind: CodeActionKind.RefactorInline, keeps: 'values',
    ...(text === undefined ? { disabled: 'What it stands for has names inside, or texts over several lines.' } : {}),
    edits: () => (text === undefined ? undefined : [{ from: alias.offset, to: alias.offset + alias.source.length, text }]),
  }];
};

/** The outermost value that starts there. */
function nodeAt(node: TreeNode, offsetAt: (position: TreeNode['range']['start']) => number, start: number): TreeNode | undefined {
  if (offsetAt(node.range.start) === start) {
    return node;
  }
  const inside = node.kind === 'map' ? node.entries.map(({ value }) => value) : node.kind === 'list' ? node.items : [];
  for (const each of inside) {
    const found = nodeAt(each, offsetAt, start);
    if (found) {
      return found;
    }
  }
  return undefined;
}

/** On one line, whatever lines it has now. */
function flowText(site: Site, node: TreeNode): string | undefined {
  const { document } = site;
  const [from, to] = [document.offsetAt(node.range.start), endOf(document, node)];
  if (hasAnchors(site, from, to)) {
    return undefined;
  }
  if (node.kind === 'scalar' || isShared(document, node) || (inBraces(document, node) && node.range.start.line === node.range.end.line)) {
    const source = sourceOf(document, node);
    return source.includes('\n') ? undefined : source;
  }
  const texts = (node.kind === 'list' ? node.items : (node satisfies MapNode).entries.map(({ value }) => value)).map((each) => flowText(site, each));
  if (texts.includes(undefined)) {
    return undefined;
  }
  return node.kind === 'list' ? `[${texts.join(', ')}]` : `{ ${node.entries.map(({ keyRange }, i) => `${document.getText(keyRange)}: ${texts[i] ?? ''}`).join(', ')} }`;
}

/** Between names and patterns: what is selected becomes the fewest patterns that take exactly the same, a pattern the names it takes. */
import { CodeActionKind } from 'vscode-languageserver-types';
import { endOf, inBraces, isShared } from '../../config/edits';
import { matchList } from '../../config/match';
import { layerCount } from '../text';
import { compare, contains } from '../tree';
import { plainScalar } from '../yamlText';
import { cover } from './cover';
import { hasComments, listText, planned } from './refactor';
import type { Refactor } from './refactor';

/** A list that a person still scrolls through. */
const maxNames = 512;

/** The patterns that the selection touches, or all of the list at the cursor. */
export const shortenPatterns: Refactor = (site) => {
  const { at, document, range } = site;
  const known = planned(site);
  const list = at?.layers.value;
  if (!at || !known || list?.kind !== 'list' || isShared(document, list)) {
    return [];
  }
  const touched = list.items.filter((item) => compare(item.range.start, range.end) <= 0 && compare(range.start, item.range.end) <= 0);
  const selection = compare(range.start, range.end) < 0;
  const items = (selection ? touched : contains(list.range, range.start) ? list.items : []).filter((item) => item.kind === 'scalar' && typeof item.value === 'string' && !item.value.startsWith('!'));
  const [first, last] = [items[0], items.at(-1)];
  const between = first && last ? list.items.slice(list.items.indexOf(first), list.items.indexOf(last) + 1) : [];
  if (!first || !last || items.length < 2) {
    return [];
  }
  const values = items.map((item) => (item.kind === 'scalar' ? String(item.value) : ''));
  const takes = (patterns: readonly string[]): Set<string> => new Set([...matchList(known.checkpoint, patterns)].map((index) => known.checkpoint.layers[index]?.name ?? ''));
  const wanted = takes(values);
  // What the rule excludes anyway may be in.
  const out = takes(at.rule.layers.flatMap(({ value }) => (value.startsWith('!') ? [value.slice(1)] : [])));
  const patterns = wanted.size === 0 ? [] : cover(known.checkpoint, new Set([...wanted].filter((name) => !out.has(name))), out);
  const [from, to] = [document.offsetAt(first.range.start), document.offsetAt(last.range.end)];
  return patterns.length === 0 || patterns.length >= values.length ? [] : [{
    title: `Replace ${selection ? 'the selected' : 'these'} ${items.length} patterns with ${patterns.length === 1 ? `"${patterns[0] ?? ''}"` : `${patterns.length} that take the same`} (${layerCount(wanted.size)})`,
    kind: CodeActionKind.RefactorRewrite, keeps: 'plan',
    ...(between.length > items.length ? { disabled: 'Exclusions stand between these patterns. Move them to the end of the list.' } : hasComments(site, from, to) ? { disabled: 'Comments stand between these patterns and would be lost.' } : {}),
    edits: () => [{ from, to, text: inner(listText(document, at.layers, patterns)) }],
  }];
};

export const expandPattern: Refactor = (site) => {
  const { at, document, range } = site;
  const known = planned(site);
  const list = at?.layers.value;
  const item = list?.kind === 'scalar' ? list : list?.kind === 'list' ? list.items.find((each) => contains(each.range, range.start)) : undefined;
  if (!at || !known || !list || isShared(document, list) || item?.kind !== 'scalar' || typeof item.value !== 'string' || !item.value.includes('*')) {
    return [];
  }
  const sign = item.value.startsWith('!') ? '!' : '';
  const names = [...matchList(known.checkpoint, [item.value.replace(/^!/, '')])].map((index) => known.checkpoint.layers[index]?.name ?? '');
  const texts = names.map((name) => plainScalar(sign + name, { quote: sign ? '"' : '' }));
  const flow = list.kind === 'scalar' || inBraces(document, list);
  return names.length === 0 || names.length > maxNames ? [] : [{
    title: `Replace "${item.value}" with the names of its ${layerCount(names.length)}`, kind: CodeActionKind.RefactorInline, keeps: 'plan',
    edits: () => [{
      from: document.offsetAt(item.range.start), to: endOf(document, item),
      text: list.kind === 'scalar' ? (texts.length === 1 ? texts[0] ?? '' : `[${texts.join(', ')}]`) : texts.join(flow ? ', ' : `\n${' '.repeat(list.range.start.character)}- `),
    }],
  }];
};

/** Without brackets: for a part of a list. */
function inner(list: string): string { return list.replace(/^\[(.*)\]$/s, '$1'); }

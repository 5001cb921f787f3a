/** One rule becomes several that say the same for a part of its layers each: by pattern, by role, by block, or in two at the cursor. */
import { CodeActionKind } from 'vscode-languageserver-types';
import { addRulesBehind, endOf } from '../../config/edits';
import type { Edit } from '../../config/edits';
import { matchList } from '../../config/match';
import type { Layer } from '../../protocol';
import { contains } from '../tree';
import { cover } from './cover';
import { copyRule, hasComments, planned, replaceLayers } from './refactor';
import type { Candidate, Refactor, RuleSite, Site } from './refactor';

/** More rules than that are no help to anybody. */
const maxParts = 64;

interface Part { name: string; patterns: readonly string[] }

export const splitRule: Refactor = (site) => {
  const { at } = site;
  return at ? [...byPattern(site, at), ...atCursor(site, at), ...byGroup(site, at)] : [];
};

function byPattern(site: Site, at: RuleSite): Candidate[] {
  const { taken, out } = signs(at);
  return taken.length < 2 || taken.length > maxParts ? [] : [candidate(site, at, `Split "${at.rule.name}" into one rule per pattern`, () => taken.map((pattern) => ({ name: pattern, patterns: [pattern, ...out] })))];
}

/** From the pattern at the cursor on. */
function atCursor(site: Site, at: RuleSite): Candidate[] {
  const { taken, out } = signs(at);
  const pattern = at.rule.layers.find(({ range }) => contains(range, site.range.start))?.value;
  const first = pattern === undefined ? -1 : taken.indexOf(pattern);
  return first < 1 ? [] : [candidate(site, at, `Split "${at.rule.name}" before "${pattern ?? ''}"`, () => [
    { name: at.rule.name, patterns: [...taken.slice(0, first), ...out] }, { name: `${at.rule.name} (2)`, patterns: [...taken.slice(first), ...out] },
  ], true)];
}

function byGroup(site: Site, at: RuleSite): Candidate[] {
  const known = planned(site);
  if (!known) {
    return [];
  }
  const layers = [...matchList(known.checkpoint, at.rule.layers.map(({ value }) => value))].flatMap((index) => known.checkpoint.layers[index] ?? []);
  const by = (what: string, key: (layer: Layer) => string): Candidate[] => {
    const groups = new Map<string, Set<string>>();
    layers.forEach((layer) => groups.set(key(layer), (groups.get(key(layer)) ?? new Set()).add(layer.name)));
    return groups.size < 2 || groups.size > maxParts ? [] : [candidate(site, at, `Split "${at.rule.name}" by ${what} (${groups.size} rules)`, () =>
      [...groups].map(([name, names]) => ({ name, patterns: cover(known.checkpoint, names) })))];
  };
  return [...by('role', ({ role }) => role), ...by('block', ({ block }) => block ?? 'outside of blocks')];
}

function signs({ rule }: RuleSite): { taken: string[]; out: string[] } {
  const values = [...new Set(rule.layers.map(({ value }) => value))];
  return { taken: values.filter((value) => !value.startsWith('!')), out: values.filter((value) => value.startsWith('!')) };
}

/** @param ownName the parts' names are whole */
function candidate(site: Site, at: RuleSite, title: string, parts: () => readonly Part[], ownName = false): Candidate {
  const { document } = site;
  const { value } = at.layers;
  const commented = hasComments(site, document.offsetAt(value.range.start), endOf(document, value));
  return {
    title, kind: CodeActionKind.RefactorRewrite, keeps: 'plan',
    ...(commented ? { disabled: 'There are comments between its patterns, which belong to one part or the other. Move them above the rule first.' } : {}),
    edits(): Edit[] | undefined {
      const [first, ...others] = parts();
      const named = at.node.entries.some(({ key }) => key === 'name');
      const nameOf = ({ name }: Part): string | undefined => (!named ? undefined : ownName ? name : `${at.rule.name}: ${name}`);
      const copies = others.map((part) => copyRule(site, at, part.patterns, nameOf(part)));
      const behind = copies.every((copy) => copy) ? addRulesBehind(document, at.list, at.index, copies.flatMap((copy) => copy ?? [])) : undefined;
      return first && behind && [replaceLayers(document, at, first.patterns), ...behind];
    },
  };
}

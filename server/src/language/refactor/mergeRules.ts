/** Neighbours that say the same become one rule. Exclusions of one could take out layers of the other, so the plan is what decides. */
import { CodeActionKind } from 'vscode-languageserver-types';
import { isDeepStrictEqual } from 'node:util';
import { endOf, lastLine, lineStart, removeItem } from '../../config/edits';
import { find, toValue } from '../../config/tree';
import type { MapNode } from '../../config/tree';
import { hasComments, replaceLayers, ruleSite } from './refactor';
import type { Candidate, Refactor } from './refactor';

export const mergeRules: Refactor = (site) => {
  const { at, document, model, root } = site;
  const owner = find(root, 'rules');
  const next = at && ruleSite(at.list, at.index + 1, model.parsed.config.rules);
  if (!at || !next || !owner || !isDeepStrictEqual(settings(at.node), settings(next.node))) {
    return [];
  }
  const values = [...new Set([...at.rule.layers, ...next.rule.layers].map(({ value }) => value))];
  const patterns = [...values.filter((value) => !value.startsWith('!')), ...values.filter((value) => value.startsWith('!'))];
  if (!model.plan && values.some((value) => value.startsWith('!'))) {
    return []; // what is excluded from one may be taken by the other: without a checkpoint nobody knows
  }
  const commented = hasComments(site, lineStart(document, lastLine(document, at.node) + 1), endOf(document, next.node)) || hasComments(site, document.offsetAt(at.layers.value.range.start), endOf(document, at.layers.value));
  const merged: Candidate = {
    title: `Merge with the next rule, "${next.rule.name}", which says the same`, kind: CodeActionKind.RefactorRewrite, keeps: 'plan',
    ...(commented ? { disabled: 'Comments of the two rules would be lost. Move them above the first rule.' } : {}),
    edits: () => {
      const removed = removeItem(document, owner, next.index);
      return removed && [replaceLayers(document, at, patterns), ...removed];
    },
  };
  return [merged];
};

/** Everything but name and layers. */
function settings(node: MapNode): unknown {
  return Object.fromEntries(node.entries.filter(({ key }) => key !== 'name' && key !== 'layers').map(({ key, value }) => [key, toValue(value)]));
}

/** A rule changes places with its neighbour, comments above it included. The title says which layers get another rule; nothing else may change. */
import { CodeActionKind } from 'vscode-languageserver-types';
import { inBraces, lastLine, lineStart } from '../../config/edits';
import type { Edit } from '../../config/edits';
import { matchList } from '../../config/match';
import { layerCount } from '../text';
import { planned, ruleSite } from './refactor';
import type { Candidate, Refactor, RuleSite, Site } from './refactor';

export const moveRule: Refactor = (site) => {
  const { at, model: { parsed: { config } } } = site;
  const above = at && ruleSite(at.list, at.index - 1, config.rules);
  const below = at && ruleSite(at.list, at.index + 1, config.rules);
  return at ? [...above ? [swap(site, above, at, 'up')] : [], ...below ? [swap(site, at, below, 'down')] : []] : [];
};

function swap(site: Site, first: RuleSite, second: RuleSite, to: 'up' | 'down'): Candidate {
  const known = planned(site);
  const takes = ({ rule }: RuleSite): Uint32Array => (known ? matchList(known.checkpoint, rule.layers.map(({ value }) => value)) : new Uint32Array());
  const both = new Set(takes(first));
  const shared = [...takes(second)].filter((index) => both.has(index));
  // A rule below takes the others anyway.
  const changing = new Set(shared.filter((index) => known?.plan.layers[index]?.decidedBy?.rule === second.rule.index));
  const moved = to === 'up' ? second : first;
  const consequence = !known ? '' : changing.size === 0 ? ', which changes no layer' : `: "${first.rule.name}" then decides ${layerCount(changing.size)}`;
  return {
    title: `Move "${moved.rule.name}" ${to}${consequence}`, kind: CodeActionKind.RefactorMove,
    // Of layers that do not change hands, none may get another recipe.
    keeps: ({ plan, parsed }) => parsed.config.rules.length === site.model.parsed.config.rules.length && parsed.config.rules[first.rule.index]?.layers.map(({ value }) => value).join() === second.rule.layers.map(({ value }) => value).join()
      && (!known || known.plan.layers.every(({ recipe }, index) => changing.has(index) || JSON.stringify(plan?.layers[index]?.recipe) === JSON.stringify(recipe))),
    edits: () => swapText(site, first, second),
  };
}

function swapText({ document }: Site, first: RuleSite, second: RuleSite): Edit[] | undefined {
  const text = document.getText();
  const [a, b] = inBraces(document, first.list)
    ? [first, second].map(({ node: { range } }) => [document.offsetAt(range.start), document.offsetAt(range.end)] as const)
    : [first, second].map(({ node, list }) => [startOf(text, document.offsetAt(node.range.start), list.range.start.character), endOf(text, lineStart(document, lastLine(document, node) + 1), list.range.start.character)] as const);
  if (!a || !b || a[1] > b[0]) {
    return undefined;
  }
  const [one, between, two] = [text.slice(...a), text.slice(a[1], b[0]), text.slice(...b)].map((each) => each.replaceAll('\r\n', '\n'));
  const ends = two?.endsWith('\n') || inBraces(document, first.list);
  return [{ from: a[0], to: b[1], text: `${two ?? ''}${ends ? '' : '\n'}${between ?? ''}${ends ? one ?? '' : one?.replace(/\n$/, '') ?? ''}` }];
}

/** The line of the dash, or of the first comment right above it in the same column. */
function startOf(text: string, offset: number, column: number): number {
  let start = text.lastIndexOf('\n', offset - 1) + 1;
  for (;;) {
    const above = text.lastIndexOf('\n', start - 2) + 1;
    const line = text.slice(above, start);
    if (start === 0 || !/^\s*#/.test(line) || line.search('#') !== column) {
      return start;
    }
    start = above;
  }
}

/** Behind the comments that are indented as the rule's keys are. */
function endOf(text: string, offset: number, column: number): number {
  const [comments = ''] = new RegExp(`^(?: {${column + 1},}#.*(?:\\n|$))*`).exec(text.slice(offset)) ?? [];
  return offset + comments.length;
}

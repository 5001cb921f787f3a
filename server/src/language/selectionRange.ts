/** What "expand selection" takes next: word or segment, value, entry, list, rule, section, document. */
import type { Position, Range, SelectionRange } from 'vscode-languageserver-types';
import type { Entry, TreeNode } from '../config/tree';
import type { Model } from './model';
import { lexemes, spanOf, structureOf, withoutQuotes } from './structure';
import type { Structure } from './structure';
import { compare, contains } from './tree';

/** One chain for each position, in their order. */
export function selectionRanges(model: Pick<Model, 'document' | 'parsed'>, positions: readonly Position[]): SelectionRange[] {
  const structure = structureOf(model);
  return positions.map((position) => chain(structure, position));
}

function chain(structure: Structure, position: Position): SelectionRange {
  const { document, root } = structure;
  const ranges: Range[] = [{ start: { line: 0, character: 0 }, end: document.positionAt(document.getText().length) }];
  const add = (range: Range): void => {
    if (contains(range, position) && compare(range.start, range.end) < 0) {
      ranges.push(range);
    }
  };
  if (root) {
    descend(structure, root, position, add);
  }
  comments(structure, position).forEach(add);
  word(structure, position).forEach(add);
  let selection: SelectionRange | undefined;
  for (const range of ranges) {
    const outer = selection?.range;
    // Strictly narrower than the one before: editors step through them one by one.
    if (!outer || (contains(outer, range.start) && contains(outer, range.end) && (compare(outer.start, range.start) !== 0 || compare(outer.end, range.end) !== 0))) {
      selection = selection ? { range, parent: selection } : { range };
    }
  }
  return selection ?? { range: { start: position, end: position } };
}

/** From outside in: every node around the position, and for entries and items what they are written with. */
function descend(structure: Structure, root: TreeNode, position: Position, add: (range: Range) => void): void {
  let node: TreeNode | undefined = root;
  while (node) {
    const outer: TreeNode = node;
    const span = spanOf(structure, outer);
    add(span);
    node = undefined;
    if (outer.kind === 'map') {
      const entry: Entry | undefined = [...outer.entries, ...outer.repeated ?? []].find(({ keyRange, value }) => contains({ start: keyRange.start, end: spanOf(structure, value).end }, position));
      if (entry && compare(entry.keyRange.start, span.start) >= 0 && differs(entry.keyRange, span)) {
        add({ start: entry.keyRange.start, end: spanOf(structure, entry.value).end });
        add(entry.keyRange);
        node = contains(spanOf(structure, entry.value), position) ? entry.value : undefined;
      }
    } else if (outer.kind === 'list') {
      const item: TreeNode | undefined = outer.items.find((each) => contains(withDash(structure, each), position) && differs(each.range, outer.range));
      if (item) {
        add(withDash(structure, item));
        node = contains(spanOf(structure, item), position) ? item : undefined;
      }
    } else {
      add(withoutQuotes(structure, span));
    }
  }
}

/** What an alias brings in has its range all over. */
function differs(a: Range, b: Range): boolean { return compare(a.start, b.start) !== 0 || compare(a.end, b.end) !== 0; }

/** An item of a list in lines begins at its dash. */
function withDash(structure: Structure, item: TreeNode): Range {
  const { start, end } = spanOf(structure, item);
  const before = structure.document.getText({ start: { line: start.line, character: 0 }, end: start });
  const dash = /-[ \t]+(?:[&!]\S*[ \t]+)*$/.exec(before);
  return { start: dash ? { line: start.line, character: dash.index } : start, end };
}

/** The block of comment lines around the position, and its own line of it. */
function comments(structure: Structure, position: Position): Range[] {
  const { document } = structure;
  const lines = new Map(lexemes(structure).filter(({ kind }) => kind === 'comment').map(({ start, end }) => [document.positionAt(start).line, { start: document.positionAt(start), end: document.positionAt(end) }]));
  const own = lines.get(position.line);
  if (!own || !contains(own, position)) {
    return [];
  }
  const step = (direction: 1 | -1): Range => {
    let at = own;
    for (let line = position.line + direction; lines.get(line)?.start.character === own.start.character; line += direction) {
      at = lines.get(line) ?? at;
    }
    return at;
  };
  return [{ start: step(-1).start, end: step(1).end }, own];
}

/** The run of word characters at the position; in a layer name, a segment between dots. */
function word({ document }: Structure, position: Position): Range[] {
  const line = document.getText({ start: { line: position.line, character: 0 }, end: { line: position.line + 1, character: 0 } });
  const before = /[\p{L}\p{N}_*-]*$/u.exec(line.slice(0, position.character))?.[0].length ?? 0;
  const after = /^[\p{L}\p{N}_*-]*/u.exec(line.slice(position.character))?.[0].length ?? 0;
  return before + after === 0 ? [] : [{ start: { line: position.line, character: position.character - before }, end: { line: position.line, character: position.character + after } }];
}

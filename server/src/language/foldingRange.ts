/** What can be folded away: values over several lines, bracketed lists, blocks of comments, and what stands between `# region` and `# endregion`. */
import { FoldingRangeKind } from 'vscode-languageserver-types';
import type { FoldingRange } from 'vscode-languageserver-types';
import type { TreeNode } from '../config/tree';
import type { Model } from './model';
import { lexemes, spanOf, structureOf } from './structure';
import type { Structure } from './structure';

/** @param limit what the client takes at most; the widest are kept */
export function foldingRanges(model: Pick<Model, 'document' | 'parsed'>, limit = Infinity): FoldingRange[] {
  const structure = structureOf(model);
  const all = [...nodeFolds(structure), ...bracketFolds(structure), ...commentFolds(structure)].filter(({ startLine, endLine }) => endLine > startLine);
  // Of several that start on a line an editor shows the widest.
  const widest = new Map<number, FoldingRange>();
  for (const range of all) {
    const other = widest.get(range.startLine);
    if (!other || other.endLine < range.endLine) {
      widest.set(range.startLine, range);
    }
  }
  const ranges = [...widest.values()].sort((a, b) => a.startLine - b.startLine);
  if (ranges.length <= limit) {
    return ranges;
  }
  const kept = new Set([...ranges].sort((a, b) => (b.endLine - b.startLine) - (a.endLine - a.startLine)).slice(0, limit));
  return ranges.filter((range) => kept.has(range));
}

/** From the line of a key or a dash to the last line of what belongs to it. */
function nodeFolds(structure: Structure): FoldingRange[] {
  const folds: FoldingRange[] = [];
  const visit = (node: TreeNode): void => children(node).forEach(({ startLine, value }) => {
    if (spanOf(structure, value).end.line > startLine) {
      folds.push({ startLine, endLine: lastLine(structure, value) });
      visit(value);
    }
  });
  if (structure.root) {
    visit(structure.root);
  }
  return folds;
}

function children(node: TreeNode): { startLine: number; value: TreeNode }[] {
  switch (node.kind) {
    case 'map': return [...node.entries, ...node.repeated ?? []].map(({ keyRange, value }) => ({ startLine: keyRange.start.line, value }));
    case 'list': return node.items.map((item) => ({ startLine: item.range.start.line, value: item }));
    case 'scalar': return [];
  }
}

/** The line of a closing bracket stays in sight. */
function lastLine(structure: Structure, node: TreeNode): number {
  const { document } = structure;
  const { line } = spanOf(structure, node).end;
  const text = document.getText({ start: { line, character: 0 }, end: { line: line + 1, character: 0 } });
  return /^\s*[\]}]/.test(text) ? line - 1 : line;
}

/** Brackets of collections inside of others, and in text that is no tree. */
function bracketFolds(structure: Structure): FoldingRange[] {
  const { document } = structure;
  const open: number[] = [];
  return lexemes(structure).flatMap(({ kind, start }) => {
    if (kind === 'open') {
      open.push(document.positionAt(start).line);
    } else if (kind === 'close') {
      const { line, character } = document.positionAt(start);
      const startLine = open.pop();
      const before = document.getText({ start: { line, character: 0 }, end: { line, character } });
      return startLine === undefined ? [] : [{ startLine, endLine: /^\s*[\]}]*$/.test(before) ? line - 1 : line }];
    }
    return [];
  });
}

function commentFolds(structure: Structure): FoldingRange[] {
  const { document } = structure;
  const text = document.getText();
  const folds: FoldingRange[] = [];
  const regions: number[] = [];
  let block: { first: number; last: number } | undefined;
  const endBlock = (): void => {
    if (block) {
      folds.push({ startLine: block.first, endLine: block.last, kind: FoldingRangeKind.Comment });
    }
    block = undefined;
  };
  for (const { kind, start, end } of lexemes(structure)) {
    const { line, character } = document.positionAt(start);
    if (kind !== 'comment' || document.getText({ start: { line, character: 0 }, end: { line, character } }).trim() !== '') {
      continue;
    }
    const [, mark] = /^#\s*(region|endregion)\b/.exec(text.slice(start, end)) ?? [];
    if (mark === 'region') {
      regions.push(line);
    } else if (mark === 'endregion') {
      const startLine = regions.pop();
      folds.push(...(startLine === undefined ? [] : [{ startLine, endLine: line, kind: FoldingRangeKind.Region }]));
    }
    if (mark || block?.last !== line - 1) {
      endBlock();
    }
    block = mark ? undefined : { first: block?.first ?? line, last: line };
  }
  endBlock();
  return folds;
}

/** What an allocation changes: of the plan layer by layer, and of the text line by line. */
import { createHash } from 'node:crypto';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import type { Plan, PlanChange, TextChange } from '../../protocol';

/** Layers whose recipe differs, in the order of the new plan. Both plans are of one checkpoint. */
export function planChanges(before: Plan, after: Plan): PlanChange[] {
  const earlier = new Map(before.layers.map((layer) => [layer.name, layer]));
  return after.layers.flatMap((to) => {
    const from = earlier.get(to.name);
    return from && JSON.stringify(from.recipe) !== JSON.stringify(to.recipe) ? [{ from, to }] : [];
  });
}

/** Above this many pairs of lines the differing middle is replaced as one. */
const maxPairs = 4_000_000;

/** The fewest whole lines to replace that make `document` read `text`, from top to bottom. */
export function textChanges(document: TextDocument, text: string): TextChange[] {
  const [before, after] = [linesOf(document.getText()), linesOf(text)];
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) {
    start++;
  }
  let [endBefore, endAfter] = [before.length, after.length];
  while (endBefore > start && endAfter > start && before[endBefore - 1] === after[endAfter - 1]) {
    endBefore--;
    endAfter--;
  }
  const hunks = differing(before.slice(start, endBefore), after.slice(start, endAfter));
  const offsets = before.reduce((all, line) => [...all, (all.at(-1) ?? 0) + line.length], [0]);
  return hunks.map(({ from, to, lines }) => {
    const [first, end] = [offsets[start + from] ?? 0, offsets[start + to] ?? 0];
    return { range: { start: document.positionAt(first), end: document.positionAt(end) }, oldText: document.getText().slice(first, end), newText: lines.join('') };
  });
}

/** Tells whether a text is still the one that changes belong to. */
export function textHash(text: string): string { return createHash('sha256').update(text).digest('hex'); }

interface Hunk { from: number; to: number; lines: string[] }

/** By the longest common subsequence. */
function differing(before: readonly string[], after: readonly string[]): Hunk[] {
  if (before.length === 0 && after.length === 0) {
    return [];
  }
  if (before.length * after.length > maxPairs) {
    return [{ from: 0, to: before.length, lines: [...after] }];
  }
  const width = after.length + 1;
  const common = new Uint32Array((before.length + 1) * width);
  const at = (i: number, j: number): number => common[i * width + j] ?? 0;
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      common[i * width + j] = before[i] === after[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const hunks: Hunk[] = [];
  let open: Hunk | undefined;
  for (let i = 0, j = 0; i < before.length || j < after.length;) {
    if (i < before.length && j < after.length && before[i] === after[j]) {
      open = undefined;
      i++;
      j++;
      continue;
    }
    if (!open) {
      open = { from: i, to: i, lines: [] };
      hunks.push(open);
    }
    if (j >= after.length || (i < before.length && at(i + 1, j) >= at(i, j + 1))) {
      open.to = ++i;
    } else {
      open.lines.push(after[j++] ?? '');
    }
  }
  return hunks;
}

/** With their ends; the last one may lack it. */
function linesOf(text: string): string[] { return text.match(/[^\n]*\n|[^\n]+$/g) ?? []; }

/** What a new plan changes, grouped as the new rules say it, and the edit of the config as lines. */
import type { LayerPlan, PlanChange, TextChange } from '../../../server/src/protocol';
import { recipeLabel } from './layers';

export interface ChangeGroup {
  /** Of the rule that decides these layers then. */
  rule: string;
  from: string;
  to: string;
  layers: string[];
  /** Packed bytes afterwards minus those before, without what layers share. */
  bytes: number;
}

/** One group for each rule and pair of recipes, the largest change of size first. */
export function groupChanges(changes: readonly PlanChange[]): ChangeGroup[] {
  const groups = new Map<string, ChangeGroup>();
  for (const { from, to } of changes) {
    const rule = ruleOf(to);
    const [before, after] = [recipeLabel(from), recipeLabel(to)];
    const key = JSON.stringify([rule, before, after]);
    const group = groups.get(key) ?? { rule, from: before, to: after, layers: [], bytes: 0 };
    group.layers.push(to.name);
    group.bytes += to.packedBytes - from.packedBytes;
    groups.set(key, group);
  }
  return [...groups.values()].sort((a, b) => Math.abs(b.bytes) - Math.abs(a.bytes));
}

function ruleOf({ decidedBy }: LayerPlan): string {
  return decidedBy === null ? 'no rule' : decidedBy.rule < 0 ? 'defaults' : `rule "${decidedBy.name || decidedBy.rule + 1}"`;
}

export interface DiffLine { kind: 'place' | 'removed' | 'added'; text: string }

/** As patches are written, each change under the line it stands at (from 1). */
export function diffLines(edits: readonly TextChange[]): DiffLine[] {
  const lines = (text: string): string[] => text.replace(/\r?\n$/, '').split(/\r?\n/);
  return edits.flatMap(({ range, oldText, newText }): DiffLine[] => [
    { kind: 'place', text: `line ${range.start.line + 1}` },
    ...(oldText === '' ? [] : lines(oldText).map((text): DiffLine => ({ kind: 'removed', text }))),
    ...(newText === '' ? [] : lines(newText).map((text): DiffLine => ({ kind: 'added', text }))),
  ]);
}

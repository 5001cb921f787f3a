/** What a lint sees and gives. A lint is one file beside this one and one line in index.ts; all are pure. */
import type { TextDocument } from 'vscode-languageserver-textdocument';
import type { ConfigProblem } from '../config/codes';
import { changesText, removeItem, toTextEdits } from '../config/edits';
import type { Edit } from '../config/edits';
import type { QuantConfig, Rule } from '../config/parse';
import { find } from '../config/tree';
import type { Entry, TreeNode } from '../config/tree';
import type { Checkpoint, Plan, QuickFix, Range } from '../protocol';

/** A config in text and meaning. */
export interface Written { document: TextDocument; root: TreeNode; config: QuantConfig }

/** And what it does to its checkpoint. */
export interface Subject extends Written { checkpoint: Checkpoint; plan: Plan }

/** Finds problems of its own. */
export type Lint = (subject: Subject) => ConfigProblem[];

/** Adds quick fixes, related places or tags to a problem that parser or resolver found. */
export type Remedy<S extends Written> = (problem: ConfigProblem, subject: S) => Partial<Pick<ConfigProblem, 'related' | 'unnecessary' | 'data'>>;

/** A quick fix, or none where the text cannot be changed in place or the edit would change nothing. */
export function fix({ document }: Written, title: string, edits: readonly Edit[] | undefined, safe?: true): QuickFix[] {
  return edits && edits.length > 0 && changesText(document, edits) ? [{ title, edits: toTextEdits(document, edits), ...(safe ? { safe } : {}) }] : [];
}

export function withFixes(fixes: readonly QuickFix[]): { data?: { fixes: QuickFix[] } } {
  return fixes.length > 0 ? { data: { fixes: [...fixes] } } : {};
}

/** Where a rule stands in the tree. */
export function ruleAt({ root }: Written, rule: Pick<Rule, 'range'>): { owner: Entry; index: number; node: TreeNode } | undefined {
  const owner = find(root, 'rules');
  const index = owner?.value.kind === 'list' ? owner.value.items.findIndex((item) => item.range === rule.range) : -1;
  const node = owner?.value.kind === 'list' ? owner.value.items[index] : undefined;
  return owner && node ? { owner, index, node } : undefined;
}

export function removeRule(subject: Written, rule: Pick<Rule, 'range'>): Edit[] | undefined {
  const at = ruleAt(subject, rule);
  return at && removeItem(subject.document, at.owner, at.index);
}

/** Takes a pattern away, and its rule when no pattern is left that takes anything. */
export function removePattern(subject: Written, range: Range): { edits: Edit[] | undefined; title: string } | undefined {
  const rule = subject.config.rules.find(({ layers }) => layers.some((each) => each.range === range));
  const at = rule && ruleAt(subject, rule);
  const layers = find(at?.node, 'layers');
  if (!rule || !layers) {
    return undefined;
  }
  const left = rule.layers.filter((each) => each.range !== range);
  const index = layers.value.kind === 'list' ? layers.value.items.findIndex((item) => item.range === range) : -1;
  return left.some(({ value }) => !value.startsWith('!')) && index >= 0
    ? { edits: removeItem(subject.document, layers, index), title: 'Remove this pattern' } : { edits: removeRule(subject, rule), title: 'Remove this rule' };
}

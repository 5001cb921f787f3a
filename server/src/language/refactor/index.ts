/** Every refactoring at a place, as code actions. What claims to change nothing is tried out on the text before it reaches the editor. */
import { isDeepStrictEqual } from 'node:util';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { CodeActionKind } from 'vscode-languageserver-types';
import type { CodeAction, Range } from 'vscode-languageserver-types';
import { applyEdits, toTextEdits } from '../../config/edits';
import type { Edit } from '../../config/edits';
import { parseConfig } from '../../config/parse';
import { resolvePlan } from '../../config/resolve';
import { toValue } from '../../config/tree';
import type { Model } from '../model';
import { mergeRules } from './mergeRules';
import { moveRule } from './moveRule';
import { expandPattern, shortenPatterns } from './patterns';
import { extractPreset, inlineAlias } from './presets';
import { siteOf } from './refactor';
import type { Candidate, Refactor } from './refactor';
import { splitRule } from './splitRule';

const refactorings: readonly Refactor[] = [shortenPatterns, expandPattern, splitRule, mergeRules, moveRule, extractPreset, inlineAlias];

export const refactorKinds: readonly CodeActionKind[] = [CodeActionKind.RefactorExtract, CodeActionKind.RefactorInline, CodeActionKind.RefactorRewrite, CodeActionKind.RefactorMove];

export interface RefactorOptions {
  wanted(kind: string): boolean;
  /** The client asks for the edit of an action once it is chosen. */
  lazy: boolean;
  /** The client shows what cannot be done, with the reason. */
  disabled: boolean;
}

/** Carried by an action whose edit is asked for later. */
export interface RefactorData { uri: string; range: Range; title: string }

/** Up to here a text is parsed and resolved so fast that an action is tried before it is offered; longer ones when it is chosen. */
const cheap = 4 * 1024;

export function refactors(model: Model, range: Range, { wanted, lazy, disabled }: RefactorOptions): CodeAction[] {
  const late = lazy && model.document.getText().length > cheap;
  return candidates(model, range).filter(({ kind }) => wanted(kind)).flatMap((candidate): CodeAction[] => {
    const { title, kind } = candidate;
    if (candidate.disabled !== undefined) {
      return disabled ? [{ title, kind, disabled: { reason: candidate.disabled } }] : [];
    }
    if (late) {
      return [{ title, kind, data: { uri: model.document.uri, range, title } satisfies RefactorData }];
    }
    const edits = tried(model, candidate);
    return edits ? [withEdit(model, { title, kind }, edits)] : [];
  });
}

/** @returns undefined when it would change what it promises to keep, or the text is another by now */
export function resolveRefactor(model: Model, action: CodeAction): CodeAction | undefined {
  const { range, title } = action.data as RefactorData;
  const candidate = candidates(model, range).find((each) => each.title === title);
  const edits = candidate && tried(model, candidate);
  return edits && withEdit(model, action, edits);
}

function candidates(model: Model, range: Range): Candidate[] {
  const site = siteOf(model, range);
  return site ? refactorings.flatMap((refactoring) => refactoring(site)) : [];
}

function withEdit({ document }: Model, action: CodeAction, edits: readonly Edit[]): CodeAction {
  return { ...action, edit: { changes: { [document.uri]: toTextEdits(document, edits).map(({ range, text }) => ({ range, newText: text })) } } };
}

/** The edits, when the text after them keeps what it has to and has no new errors. */
function tried(model: Model, { keeps, edits }: Candidate): Edit[] | undefined {
  const { document, parsed: before, checkpoint, plan } = model;
  const changes = edits();
  if (!changes || changes.length === 0) {
    return undefined;
  }
  const parsed = parseConfig(TextDocument.create(document.uri, document.languageId, 0, applyEdits(document, changes)));
  const errors = (problems: typeof parsed.problems): number => problems.filter(({ severity }) => severity === 'error').length;
  if (errors(parsed.problems) > errors(before.problems)) {
    return undefined;
  }
  if (keeps === 'values') {
    return before.root && parsed.root && isDeepStrictEqual(toValue(parsed.root), toValue(before.root)) ? changes : undefined;
  }
  const after = checkpoint && resolvePlan(parsed.config, checkpoint);
  return (keeps === 'plan' ? !plan || after?.hash === plan.hash : keeps({ parsed, plan: after })) ? changes : undefined;
}

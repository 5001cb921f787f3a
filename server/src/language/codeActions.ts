import { CodeActionKind } from 'vscode-languageserver-types';
import type { CodeAction, Diagnostic, TextEdit } from 'vscode-languageserver-types';
import type { Problem, ProblemData, QuickFix } from '../protocol';

/** What "fix all" is called, so that it can be put into `editor.codeActionsOnSave` for these files alone. */
export const fixAllKind = `${CodeActionKind.SourceFixAll}.quantscope`;

/** Of files of other tools, that another checkpoint helps. */
const checkpointCodes: readonly unknown[] = ['dialect/no-checkpoint', 'dialect/checkpoint', 'dialect/packed-checkpoint'];

/** Quick fixes travel in Diagnostic.data; an editor that drops it loses only these. The first of each is preferred. What takes longer than an edit is a command of the client. */
export function codeActions(uri: string, diagnostics: readonly Diagnostic[]): CodeAction[] {
  return diagnostics.flatMap((diagnostic) => [
    ...((diagnostic.data as ProblemData | undefined)?.fixes ?? []).map((fix, index): CodeAction => ({
      title: fix.title, kind: CodeActionKind.QuickFix, diagnostics: [diagnostic], ...(index === 0 ? { isPreferred: true } : {}),
      edit: { changes: { [uri]: fix.edits.map(toEdit) } },
    })),
    ...(checkpointCodes.includes(diagnostic.code) ? [{
      title: 'Choose the checkpoint', kind: CodeActionKind.QuickFix, diagnostics: [diagnostic],
      command: { title: 'Choose Checkpoint for Quantization Files', command: 'quantscope.chooseCheckpoint', arguments: [uri] },
    }] : []),
    ...(diagnostic.code === 'plan/over-budget' ? [{
      title: 'Choose bits that fit the budget', kind: CodeActionKind.QuickFix, diagnostics: [diagnostic],
      command: { title: 'Allocate Bits under the Budget', command: 'quantscope.allocate', arguments: [uri] },
    }] : []),
  ]);
}

/** One action for all fixes that change neither a recipe nor a picture; those that would touch the same text twice wait for the next time. */
export function fixAll(uri: string, problems: readonly Problem[]): CodeAction[] {
  const chosen: QuickFix[] = [];
  for (const fix of problems.flatMap(({ data }) => data?.fixes.filter(({ safe }) => safe).slice(0, 1) ?? [])) {
    if (!chosen.some((other) => overlap(other, fix))) {
      chosen.push(fix);
    }
  }
  return chosen.length === 0 ? [] : [{
    title: chosen.length === 1 ? chosen[0]?.title ?? '' : `Apply ${chosen.length} fixes that change no layer`, kind: fixAllKind, edit: { changes: { [uri]: chosen.flatMap(({ edits }) => edits.map(toEdit)) } },
  }];
}

function toEdit({ range, text }: QuickFix['edits'][number]): TextEdit { return { range, newText: text }; }

function overlap(a: QuickFix, b: QuickFix): boolean {
  const before = (x: { line: number; character: number }, y: { line: number; character: number }): boolean => x.line < y.line || (x.line === y.line && x.character < y.character);
  return a.edits.some(({ range: one }) => b.edits.some(({ range: two }) => before(one.start, two.end) && before(two.start, one.end)));
}

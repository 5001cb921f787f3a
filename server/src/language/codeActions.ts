import { CodeActionKind } from 'vscode-languageserver-types';
import type { CodeAction, Diagnostic } from 'vscode-languageserver-types';
import type { ProblemData } from '../protocol';

/** Quick fixes travel in Diagnostic.data; an editor that drops it loses only these. What takes longer than an edit is a command of the client. */
export function codeActions(uri: string, diagnostics: readonly Diagnostic[]): CodeAction[] {
  return diagnostics.flatMap((diagnostic): CodeAction[] => {
    const data = diagnostic.data as ProblemData | undefined;
    return data?.fix === 'replace' ? [{
      title: data.title, kind: CodeActionKind.QuickFix, diagnostics: [diagnostic], isPreferred: true,
      edit: { changes: { [uri]: [{ range: data.range, newText: data.text }] } },
    }] : diagnostic.code === 'plan/over-budget' ? [{
      title: 'Choose bits that fit the budget', kind: CodeActionKind.QuickFix, diagnostics: [diagnostic],
      command: { title: 'Allocate Bits under the Budget', command: 'quantscope.allocate', arguments: [uri] },
    }] : [];
  });
}

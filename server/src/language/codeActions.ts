import { CodeActionKind } from 'vscode-languageserver-types';
import type { CodeAction, Diagnostic } from 'vscode-languageserver-types';
import type { ProblemData } from '../protocol';

/** Quick fixes travel in Diagnostic.data; an editor that drops it loses only these. */
export function codeActions(uri: string, diagnostics: readonly Diagnostic[]): CodeAction[] {
  return diagnostics.flatMap((diagnostic) => {
    const data = diagnostic.data as ProblemData | undefined;
    return data?.fix === 'replace' ? [{
      title: data.title, kind: CodeActionKind.QuickFix, diagnostics: [diagnostic], isPreferred: true,
      edit: { changes: { [uri]: [{ range: data.range, newText: data.text }] } },
    }] : [];
  });
}

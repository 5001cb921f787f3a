import { DiagnosticSeverity, DiagnosticTag } from 'vscode-languageserver-types';
import type { Diagnostic } from 'vscode-languageserver-types';
import type { Problem } from '../protocol';
import type { Model } from './model';

const severities = { error: DiagnosticSeverity.Error, warning: DiagnosticSeverity.Warning, info: DiagnosticSeverity.Information, hint: DiagnosticSeverity.Hint } as const;

/** @param problemDocs URL of docs/problems.md, which has a heading for every code; undefined when there is none. */
export function diagnostics({ problems, document }: Pick<Model, 'problems' | 'document'>, problemDocs: string | undefined): Diagnostic[] {
  return problems.map((problem) => toDiagnostic(problem, document.uri, problemDocs));
}

function toDiagnostic(problem: Problem, uri: string, problemDocs: string | undefined): Diagnostic {
  const { code, severity, message, range, related, unnecessary, data } = problem;
  return {
    source: 'quantscope', code, severity: severities[severity], message,
    range: range ?? { start: { line: 0, character: 0 }, end: { line: 0, character: 1 } },
    ...(problemDocs ? { codeDescription: { href: `${problemDocs}#${code.replace('/', '')}` } } : {}),
    ...(unnecessary ? { tags: [DiagnosticTag.Unnecessary] } : {}),
    ...(related && related.length > 0 ? { relatedInformation: related.map((each) => ({ message: each.message, location: { uri, range: each.range } })) } : {}),
    ...(data ? { data } : {}),
  };
}

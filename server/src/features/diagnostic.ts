import { ResponseError } from 'vscode-languageserver';
import type { Diagnostic } from 'vscode-languageserver';
import { diagnostics } from '../language/diagnostics';
import type { Feature } from './feature';
import { workspaceDiagnostics } from './workspaceDiagnostics';

/** Pulled; documents.ts pushes to clients that cannot pull. */
export const diagnostic: Feature = {
  capabilities: () => ({ diagnosticProvider: { interFileDependencies: true, workspaceDiagnostics: true } }),
  register(context) {
    context.connection.languages.diagnostics.on(async ({ textDocument }, token) => {
      const told = (model: Parameters<typeof diagnostics>[0]): Diagnostic[] => diagnostics(model, context.runtime.problemDocs);
      const items = await context.onModel(textDocument.uri, 'diagnostics', token, told, (models) => models.flatMap(told));
      return items instanceof ResponseError ? items : { kind: 'full', items: items ?? [] };
    });
    workspaceDiagnostics(context);
  },
};

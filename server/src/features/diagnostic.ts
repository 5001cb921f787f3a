import { ResponseError } from 'vscode-languageserver';
import { diagnostics } from '../language/diagnostics';
import type { Feature } from './feature';

/** Pulled; documents.ts pushes to clients that cannot pull. */
export const diagnostic: Feature = {
  capabilities: () => ({ diagnosticProvider: { interFileDependencies: true, workspaceDiagnostics: false } }),
  register(context) {
    context.connection.languages.diagnostics.on(async ({ textDocument }, token) => {
      const items = await context.onModel(textDocument.uri, 'diagnostics', token, (model) => diagnostics(model, context.runtime.problemDocs));
      return items instanceof ResponseError ? items : { kind: 'full', items: items ?? [] };
    });
  },
};

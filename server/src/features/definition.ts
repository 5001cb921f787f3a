import { definition as definitionAt } from '../language/definition';
import type { Feature } from './feature';

/** Targets are in the listing of the checkpoint, which a client without `workspace/textDocumentContent` cannot show. */
export const definition: Feature = {
  capabilities: () => ({ definitionProvider: true }),
  register(context) {
    const { textDocument: editor, workspace } = context.client;
    context.connection.onDefinition(({ textDocument, position }, token) => context.onModel(textDocument.uri, 'definition', token, (model) =>
      (workspace?.textDocumentContent ? definitionAt(model, position, Boolean(editor?.definition?.linkSupport)) : null)));
  },
};

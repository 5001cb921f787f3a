import { definition as definitionAt } from '../language/definition';
import type { Feature } from './feature';

export const definition: Feature = {
  capabilities: () => ({ definitionProvider: true }),
  register(context) {
    const { runtime, client: { textDocument: editor, workspace } } = context;
    const options = {
      linkSupport: Boolean(editor?.definition?.linkSupport), listings: Boolean(workspace?.textDocumentContent), methodDocs: runtime.methodDocs, listFolder: (path: string) => runtime.listFolder(path),
    };
    context.connection.onDefinition(({ textDocument, position }, token) => context.onModel(textDocument.uri, 'definition', token, (model) => definitionAt(model, position, options)));
  },
};

import { references as referencesAt } from '../language/references';
import { workspaceConfigs } from './configs';
import type { Feature } from './feature';

export const references: Feature = {
  capabilities: () => ({ referencesProvider: true }),
  register(context) {
    context.connection.onReferences(({ textDocument, position, context: { includeDeclaration } }, token) => context.onModel(textDocument.uri, 'references', token, async (model) =>
      referencesAt(model, position, await workspaceConfigs(context, token), includeDeclaration)));
  },
};

import { checkpointScheme, listingPath } from '../language/checkpointText';
import { references as referencesAt, referencesFromListing } from '../language/references';
import { workspaceConfigs } from './configs';
import type { Feature } from './feature';

/** From a config, and from the listing of a checkpoint (registered in otherFiles.ts). */
export const references: Feature = {
  capabilities: () => ({ referencesProvider: true }),
  register(context) {
    context.connection.onReferences(({ textDocument: { uri }, position, context: { includeDeclaration } }, token) => (uri.startsWith(`${checkpointScheme}:`)
      ? context.safely('references', null, token, async () => referencesFromListing(await context.store.get(listingPath(uri)), position.line, await workspaceConfigs(context, token)))
      : context.onModel(uri, 'references', token, async (model) => referencesAt(model, position, await workspaceConfigs(context, token), includeDeclaration))));
  },
};

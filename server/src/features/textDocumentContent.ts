import { CheckpointError } from '../checkpoint';
import { checkpointListing, checkpointScheme, listingPath } from '../language/checkpointText';
import type { Feature } from './feature';

/** Read-only documents that the server writes: the listing of a checkpoint. */
export const textDocumentContent: Feature = {
  capabilities: () => ({ workspace: { textDocumentContent: { schemes: [checkpointScheme] } } }),
  register(context) {
    context.connection.onRequest('workspace/textDocumentContent', ({ uri }: { uri: string }, token) => context.safely('checkpoint listing', { text: '' }, token, async () => {
      try {
        return { text: checkpointListing(await context.store.get(listingPath(uri))).text };
      } catch (error) {
        if (error instanceof CheckpointError) {
          return { text: `${error.message}\n` };
        }
        throw error;
      }
    }));
  },
};

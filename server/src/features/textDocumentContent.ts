import { TextDocumentContentRefreshRequest } from 'vscode-languageserver';
import { CheckpointError } from '../checkpoint';
import { send } from '../connectionErrors';
import { checkpointListing, checkpointScheme, listingPath } from '../language/checkpointText';
import { planConfig, planScheme, planText, planUri } from '../language/planText';
import { configModel } from './configModel';
import type { Feature, FeatureContext } from './feature';

/** Read-only documents that the server writes: the listing of a checkpoint, and what a config makes of it. */
export const textDocumentContent: Feature = {
  capabilities: () => ({ workspace: { textDocumentContent: { schemes: [checkpointScheme, planScheme] } } }),
  register(context) {
    const { connection, client } = context;
    /** Plans that the editor has, by the config. */
    const shown = new Set<string>();
    connection.onRequest('workspace/textDocumentContent', ({ uri }: { uri: string }, token) => context.safely('document', { text: '' }, token, async () => {
      if (!uri.startsWith(`${planScheme}:`)) {
        return { text: await listing(context, listingPath(uri)) };
      }
      const config = planConfig(uri);
      const model = await configModel(context, config);
      shown.add(config);
      return { text: model ? planText(model) : `${config} cannot be read any more.\n` };
    }));
    if (client.workspace?.textDocumentContent) {
      context.onSettled((uri) => shown.has(uri) && send(connection, 'plan refresh', connection.sendRequest(TextDocumentContentRefreshRequest.type, { uri: planUri(uri) })));
    }
  },
};

async function listing({ store }: FeatureContext, path: string): Promise<string> {
  try {
    return checkpointListing(await store.get(path)).text;
  } catch (error) {
    if (error instanceof CheckpointError) {
      return `${error.message}\n`;
    }
    throw error;
  }
}

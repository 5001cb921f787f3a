import { complete, completionTriggers } from '../language/completion';
import { completeDialect } from '../language/dialects/completion';
import type { Feature } from './feature';

export const completion: Feature = {
  capabilities: () => ({ completionProvider: { triggerCharacters: completionTriggers } }),
  register(context) {
    const snippets = Boolean(context.client.textDocument?.completion?.completionItem?.snippetSupport);
    context.connection.onCompletion(({ textDocument, position }, token) => context.onModel(textDocument.uri, 'completion', token,
      (model) => complete(model, position, { snippets, listFolder: (path) => context.runtime.listFolder(path) }),
      (model) => completeDialect(model, position, { snippets })));
  },
};

import { ResponseError } from 'vscode-languageserver';
import { complete, completionTriggers, resolveCompletion } from '../language/completion';
import { completeDialect } from '../language/dialects/completion';
import { modelAt } from '../language/dialects/model';
import type { Feature } from './feature';

export const completion: Feature = {
  capabilities: () => ({ completionProvider: { triggerCharacters: completionTriggers, resolveProvider: true } }),
  register(context) {
    const { completionItem: item, completionList: list } = context.client.textDocument?.completion ?? {};
    const abilities = {
      snippets: Boolean(item?.snippetSupport), labelDetails: Boolean(item?.labelDetailsSupport), itemDefaults: list?.itemDefaults ?? [],
      insertReplace: Boolean(item?.insertReplaceSupport), commitCharacters: Boolean(item?.commitCharactersSupport),
    };
    context.connection.onCompletion(({ textDocument, position }, token) => context.onModel(textDocument.uri, 'completion', token,
      (model) => complete(model, position, { ...abilities, listFolder: (path) => context.runtime.listFolder(path) }),
      (models) => { const model = modelAt(models, position); return model ? completeDialect(model, position, abilities) : { isIncomplete: false, items: [] }; }));
    context.connection.onCompletionResolve(async (chosen, token) => {
      const { uri } = (chosen.data ?? {}) as { uri?: string };
      const resolved = await context.onModel(uri ?? '', 'completion', token, (model) => resolveCompletion(model, chosen));
      return resolved instanceof ResponseError ? resolved : resolved ?? chosen;
    });
  },
};

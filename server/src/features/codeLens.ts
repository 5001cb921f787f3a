import { codeLenses } from '../language/codeLens';
import { dialectCodeLenses } from '../language/dialects/codeLens';
import type { Feature } from './feature';

export const codeLens: Feature = {
  capabilities: () => ({ codeLensProvider: {} }),
  register(context) {
    context.connection.onCodeLens(({ textDocument }, token) => context.onModel(textDocument.uri, 'code lenses', token, codeLenses, (models) => models.flatMap(dialectCodeLenses)));
  },
};

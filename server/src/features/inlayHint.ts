import { inlayHints } from '../language/inlayHints';
import { dialectInlayHints } from '../language/dialects/inlayHints';
import type { Feature } from './feature';

export const inlayHint: Feature = {
  capabilities: () => ({ inlayHintProvider: true }),
  register(context) {
    context.connection.languages.inlayHint.on(({ textDocument, range }, token) => context.onModel(textDocument.uri, 'inlay hints', token,
      (model) => inlayHints(model, range), (models) => dialectInlayHints(models, range)));
  },
};

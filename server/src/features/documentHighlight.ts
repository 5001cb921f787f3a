import { documentHighlights } from '../language/documentHighlight';
import type { Feature } from './feature';

export const documentHighlight: Feature = {
  capabilities: () => ({ documentHighlightProvider: true }),
  register(context) {
    context.connection.onDocumentHighlight(({ textDocument, position }, token) => context.onModel(textDocument.uri, 'highlights', token, (model) => documentHighlights(model, position)));
  },
};

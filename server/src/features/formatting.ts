import { format } from '../language/formatting';
import type { Feature } from './feature';

export const formatting: Feature = {
  capabilities: () => ({ documentFormattingProvider: true, documentRangeFormattingProvider: true }),
  register(context) {
    context.connection.onDocumentFormatting(({ textDocument, options }, token) => context.onModel(textDocument.uri, 'formatting', token, ({ document }) => format(document, options)));
    context.connection.onDocumentRangeFormatting(({ textDocument, options, range }, token) => context.onModel(textDocument.uri, 'formatting', token, ({ document }) => format(document, options, range)));
  },
};

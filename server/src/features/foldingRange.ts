import { foldingRanges } from '../language/foldingRange';
import type { Feature } from './feature';

export const foldingRange: Feature = {
  capabilities: () => ({ foldingRangeProvider: true }),
  register(context) {
    const limit = context.client.textDocument?.foldingRange?.rangeLimit;
    context.connection.onFoldingRanges(({ textDocument }, token) => context.onModel(textDocument.uri, 'folding', token, (model) => foldingRanges(model, limit)));
  },
};

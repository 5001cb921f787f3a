import { selectionRanges } from '../language/selectionRange';
import type { Feature } from './feature';

export const selectionRange: Feature = {
  capabilities: () => ({ selectionRangeProvider: true }),
  register(context) {
    context.connection.onSelectionRanges(({ textDocument, positions }, token) => context.onModel(textDocument.uri, 'selection ranges', token, (model) => selectionRanges(model, positions)));
  },
};

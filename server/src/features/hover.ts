import { hover as hoverAt } from '../language/hover';
import { dialectHover } from '../language/dialects/hover';
import { modelAt } from '../language/dialects/model';
import type { Feature } from './feature';

export const hover: Feature = {
  capabilities: () => ({ hoverProvider: true }),
  register(context) {
    context.connection.onHover(({ textDocument, position }, token) => context.onModel(textDocument.uri, 'hover', token,
      (model) => hoverAt(model, position), (models) => { const model = modelAt(models, position); return model ? dialectHover(model, position) : null; }));
  },
};

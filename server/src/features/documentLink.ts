import { documentLinks } from '../language/documentLink';
import type { Feature } from './feature';

export const documentLink: Feature = {
  capabilities: () => ({ documentLinkProvider: {} }),
  register(context) {
    const tooltips = Boolean(context.client.textDocument?.documentLink?.tooltipSupport);
    context.connection.onDocumentLinks(({ textDocument }, token) => context.onModel(textDocument.uri, 'links', token, (model) =>
      documentLinks(model, (path) => context.runtime.listFolder(path)).map(({ tooltip, ...link }) => (tooltips && tooltip !== undefined ? { ...link, tooltip } : link))));
  },
};

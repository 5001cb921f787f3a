import { documentSymbols, flatSymbols } from '../language/documentSymbol';
import type { Feature } from './feature';

export const documentSymbol: Feature = {
  capabilities: () => ({ documentSymbolProvider: true }),
  register(context) {
    const tree = Boolean(context.client.textDocument?.documentSymbol?.hierarchicalDocumentSymbolSupport);
    context.connection.onDocumentSymbol(({ textDocument: { uri } }, token) => context.onModel(uri, 'outline', token, (model) => {
      const symbols = documentSymbols(model);
      return tree ? symbols : flatSymbols(symbols, uri);
    }));
  },
};

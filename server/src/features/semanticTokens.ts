import { ResponseError } from 'vscode-languageserver';
import type { SemanticTokens } from 'vscode-languageserver';
import { legend, semanticTokens as tokensOf, tokenEdits } from '../language/semanticTokens';
import type { Feature } from './feature';

/** How many documents' last answers are kept for deltas; of any other, the client gets all. */
const maxKept = 32;

export const semanticTokens: Feature = {
  capabilities: () => ({ semanticTokensProvider: { legend, full: { delta: true }, range: true } }),
  register(context) {
    const { semanticTokens: requests } = context.connection.languages;
    const kept = new Map<string, { resultId: string; data: number[] }>();
    let last = 0;
    const keep = (uri: string, data: number[]): SemanticTokens => {
      const answer = { resultId: String(++last), data };
      kept.delete(uri);
      kept.set(uri, answer);
      if (kept.size > maxKept) {
        kept.delete(kept.keys().next().value ?? '');
      }
      return answer;
    };
    const all = (uri: string, token: Parameters<typeof context.onModel>[2]): ReturnType<typeof context.onModel<number[]>> => context.onModel(uri, 'semantic tokens', token, (model) => tokensOf(model));
    requests.on(async ({ textDocument: { uri } }, token) => {
      const data = await all(uri, token);
      return data instanceof ResponseError ? data : data ? keep(uri, data) : { data: [] };
    });
    requests.onDelta(async ({ textDocument: { uri }, previousResultId }, token) => {
      const before = kept.get(uri);
      const data = await all(uri, token);
      if (data instanceof ResponseError) {
        return data;
      }
      const now = keep(uri, data ?? []);
      return before?.resultId === previousResultId ? { resultId: now.resultId ?? '', edits: tokenEdits(before.data, now.data) } : now;
    });
    requests.onRange(async ({ textDocument, range }, token) => {
      const data = await context.onModel(textDocument.uri, 'semantic tokens', token, (model) => tokensOf(model, range));
      return data instanceof ResponseError ? data : { data: data ?? [] };
    });
  },
};

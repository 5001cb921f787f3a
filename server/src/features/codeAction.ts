import { CodeActionKind, LSPErrorCodes, ResponseError } from 'vscode-languageserver';
import { codeActions, fixAll, fixAllKind } from '../language/codeActions';
import { refactorKinds, refactors, resolveRefactor } from '../language/refactor';
import type { RefactorData } from '../language/refactor';
import type { Feature } from './feature';

export const codeAction: Feature = {
  capabilities: () => ({ codeActionProvider: { codeActionKinds: [CodeActionKind.QuickFix, fixAllKind, ...refactorKinds], resolveProvider: true } }),
  register(context) {
    const { dataSupport, disabledSupport, resolveSupport } = context.client.textDocument?.codeAction ?? {};
    const lazy = Boolean(dataSupport && resolveSupport?.properties.includes('edit'));
    context.connection.onCodeAction(({ textDocument: { uri }, range, context: { diagnostics, only } }, token) => context.safely('code actions', [], token, async () => {
      // The empty kind is the root of all.
      const wanted = (kind: string): boolean => !only || only.some((each) => each === '' || kind === each || kind.startsWith(`${each}.`));
      const model = await context.model(uri);
      // "Fix all" is asked for without diagnostics, as when a file is saved.
      const all = only && wanted(fixAllKind) ? fixAll(uri, model?.problems ?? []) : [];
      const changes = model && refactorKinds.some(wanted) ? refactors(model, range, { wanted, lazy, disabled: Boolean(disabledSupport) }) : [];
      return [...(wanted(CodeActionKind.QuickFix) ? codeActions(uri, diagnostics) : []), ...all, ...changes];
    }));
    context.connection.onCodeActionResolve(async (action, token) => {
      const { uri } = (action.data ?? {}) as Partial<RefactorData>;
      const resolved = uri === undefined ? action : await context.onModel(uri, 'code action', token, (model) => resolveRefactor(model, action) ?? null);
      return resolved ?? new ResponseError(LSPErrorCodes.RequestFailed, `"${action.title}" would change more than it says, or the text has changed. Nothing was done.`);
    });
  },
};

import { CodeActionKind } from 'vscode-languageserver';
import { codeActions, fixAll, fixAllKind } from '../language/codeActions';
import type { Feature } from './feature';

export const codeAction: Feature = {
  capabilities: () => ({ codeActionProvider: { codeActionKinds: [CodeActionKind.QuickFix, fixAllKind] } }),
  register(context) {
    context.connection.onCodeAction(({ textDocument: { uri }, context: { diagnostics, only } }, token) => context.safely('code actions', [], token, async () => {
      const wanted = (kind: string): boolean => !only || only.some((each) => kind === each || kind.startsWith(`${each}.`));
      // "Fix all" is asked for without diagnostics, as when a file is saved.
      const all = only && wanted(fixAllKind) ? fixAll(uri, (await context.model(uri))?.problems ?? []) : [];
      return [...(wanted(CodeActionKind.QuickFix) ? codeActions(uri, diagnostics) : []), ...all];
    }));
  },
};

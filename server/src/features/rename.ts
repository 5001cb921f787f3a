import { LSPErrorCodes, ResponseError } from 'vscode-languageserver';
import type { TextEdit, WorkspaceEdit } from 'vscode-languageserver';
import { RenameError, prepareRename, rename as renameAt } from '../language/rename';
import type { Feature } from './feature';

export const rename: Feature = {
  capabilities: (client) => ({ renameProvider: client.textDocument?.rename?.prepareSupport ? { prepareProvider: true } : true }),
  register(context) {
    const versions = Boolean(context.client.workspace?.workspaceEdit?.documentChanges);
    context.connection.onPrepareRename(({ textDocument, position }, token) => context.onModel(textDocument.uri, 'rename', token, (model) => explained(() => prepareRename(model, position))));
    context.connection.onRenameRequest(({ textDocument: { uri }, position, newName }, token) => context.onModel(uri, 'rename', token, (model): WorkspaceEdit => {
      const edits = explained((): TextEdit[] => renameAt(model, position, newName));
      return versions ? { documentChanges: [{ textDocument: { uri, version: model.document.version }, edits }] } : { changes: { [uri]: edits } };
    }));
  },
};

/** The editor shows why something cannot be renamed. */
function explained<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw error instanceof RenameError ? new ResponseError(LSPErrorCodes.RequestFailed, error.message) : error;
  }
}

/**
 * Which documents beside our configs the client sends: JSON, YAML, plain text, Python and shell scripts, by their content perhaps files of other tools. They are registered apart, each
 * feature for itself, so that what only our configs have (formatting, renaming and so on) does not stand in the way of other extensions there.
 * The listing of a checkpoint, which the server writes itself, only asks where its layers are spoken of.
 */
import {
  BulkRegistration, CodeActionKind, CodeActionRequest, CodeLensRequest, CompletionRequest, DidChangeTextDocumentNotification, DidCloseTextDocumentNotification, DidOpenTextDocumentNotification, DocumentDiagnosticRequest,
  HoverRequest, InlayHintRequest, ReferencesRequest, TextDocumentSyncKind,
} from 'vscode-languageserver';
import type { ClientCapabilities } from 'vscode-languageserver';
import { checkpointScheme } from '../language/checkpointText';
import { completionTriggers } from '../language/completion';

const documentSelector = ['json', 'jsonc', 'yaml', 'plaintext', 'python', 'shellscript'].flatMap((language) => ['file', 'untitled'].map((scheme) => ({ language, scheme })));

/** undefined for clients that register nothing later: what they send is what they were told to. */
export function otherFiles({ textDocument, workspace }: ClientCapabilities): BulkRegistration | undefined {
  if (!textDocument?.synchronization?.dynamicRegistration) {
    return undefined;
  }
  const all = BulkRegistration.create();
  all.add(DidOpenTextDocumentNotification.type, { documentSelector });
  all.add(DidChangeTextDocumentNotification.type, { documentSelector, syncKind: TextDocumentSyncKind.Incremental });
  all.add(DidCloseTextDocumentNotification.type, { documentSelector });
  if (textDocument.diagnostic?.dynamicRegistration) {
    all.add(DocumentDiagnosticRequest.type, { documentSelector, interFileDependencies: true, workspaceDiagnostics: false });
  }
  if (textDocument.completion?.dynamicRegistration) {
    all.add(CompletionRequest.type, { documentSelector, triggerCharacters: completionTriggers });
  }
  if (textDocument.hover?.dynamicRegistration) {
    all.add(HoverRequest.type, { documentSelector });
  }
  if (textDocument.inlayHint?.dynamicRegistration) {
    all.add(InlayHintRequest.type, { documentSelector });
  }
  if (textDocument.codeLens?.dynamicRegistration) {
    all.add(CodeLensRequest.type, { documentSelector });
  }
  if (textDocument.codeAction?.dynamicRegistration) {
    all.add(CodeActionRequest.type, { documentSelector, codeActionKinds: [CodeActionKind.QuickFix] });
  }
  if (textDocument.references?.dynamicRegistration && workspace?.textDocumentContent) {
    all.add(ReferencesRequest.type, { documentSelector: [{ scheme: checkpointScheme }] });
  }
  return all;
}

/** Problems of the configs in the workspace that are not open. A client asks again and again, so a question that has no news waits for some. */
import { createHash } from 'node:crypto';
import { DocumentDiagnosticReportKind } from 'vscode-languageserver';
import type { CancellationToken, Diagnostic, WorkspaceDocumentDiagnosticReport } from 'vscode-languageserver';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { maxTextLength } from '../config/tree';
import { diagnostics } from '../language/diagnostics';
import { buildModel } from '../language/model';
import type { FeatureContext } from './feature';

interface Known { document: TextDocument; /** When it was computed. */ generation: number; resultId: string; items: Diagnostic[] }

export function workspaceDiagnostics(context: FeatureContext): void {
  const known = new Map<string, Known>();
  const waiting = new Set<() => void>();
  /** Counts what happens on the disk: a checkpoint that changes may change what any config says. */
  let generation = 0;
  let events = 0;
  context.onFilesChanged((onDisk) => {
    events++;
    generation += Number(onDisk);
    waiting.forEach((wake) => wake());
  });
  const changeAfter = (event: number, token: CancellationToken): Promise<void> => new Promise((resolve) => {
    if (events !== event || token.isCancellationRequested) {
      return resolve();
    }
    const cancelled = token.onCancellationRequested(() => wake());
    const wake = (): void => {
      waiting.delete(wake);
      cancelled.dispose();
      resolve();
    };
    waiting.add(wake);
  });

  const look = async (token: CancellationToken): Promise<Map<string, Known>> => {
    const found = new Map<string, Known>();
    for (const document of await context.workspace.documents((name) => /\.quant\.ya?ml$/.test(name), 4 * maxTextLength, token)) {
      const before = known.get(document.uri);
      if (token.isCancellationRequested || context.model(document.uri)) {
        continue; // the editor asks for open ones by themselves
      }
      found.set(document.uri, before?.document === document && before.generation === generation ? before : await examine(context, document, generation));
    }
    known.clear();
    found.forEach((each, uri) => known.set(uri, each));
    return found;
  };

  context.connection.languages.diagnostics.onWorkspace(({ previousResultIds }, token) => context.safely('workspace diagnostics', { items: [] }, token, async () => {
    const previous = new Map(previousResultIds.map(({ uri, value }) => [uri, value]));
    for (;;) {
      const event = events;
      const found = await look(token);
      const news = [...found].some(([uri, { resultId }]) => previous.get(uri) !== resultId);
      const gone = [...previous.keys()].filter((uri) => !found.has(uri) && !context.model(uri));
      if (news || gone.length > 0 || token.isCancellationRequested) {
        return {
          items: [
            ...[...found].map(([uri, { resultId, items }]): WorkspaceDocumentDiagnosticReport => (previous.get(uri) === resultId
              ? { kind: DocumentDiagnosticReportKind.Unchanged, uri, version: null, resultId } : { kind: DocumentDiagnosticReportKind.Full, uri, version: null, resultId, items })),
            ...gone.map((uri): WorkspaceDocumentDiagnosticReport => ({ kind: DocumentDiagnosticReportKind.Full, uri, version: null, items: [] })),
          ],
        };
      }
      await changeAfter(event, token);
    }
  }));
}

async function examine({ store, runtime }: FeatureContext, document: TextDocument, generation: number): Promise<Known> {
  const model = await buildModel(TextDocument.create(document.uri, 'quantconfig', document.version, document.getText()), store, new Map());
  const items = diagnostics(model, runtime.problemDocs);
  return { document, generation, items, resultId: createHash('sha256').update(JSON.stringify(items)).digest('hex').slice(0, 16) };
}

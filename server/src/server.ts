/** The language server: wires LSP and the custom messages of protocol.ts to pure features. Never loads native code. */
import { join } from 'node:path';
import {
  CodeActionKind, DiagnosticRefreshRequest, DidChangeWatchedFilesNotification, ErrorCodes, InlayHintRefreshRequest, LSPErrorCodes, ResponseError, TextDocumentSyncKind, TextDocuments,
} from 'vscode-languageserver';
import type { CancellationToken, ClientCapabilities, Connection, InitializeParams, InitializeResult } from 'vscode-languageserver';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { AllocationError } from './analysis/allocate/errors';
import { ReportCache } from './analysis/cache';
import { knownReports } from './analysis/report';
import { CheckpointError, CheckpointStore, isUnchanged } from './checkpoint';
import { EngineError } from './engine/client';
import { ModelError } from './models/builder';
import { SamplerError } from './samplers';
import type { Engine } from './engine/client';
import { checkpointListing, checkpointScheme, listingPath } from './language/checkpointText';
import { codeActions, fixAll, fixAllKind } from './language/codeActions';
import { codeLenses } from './language/codeLens';
import { complete, completionTriggers } from './language/completion';
import { definition } from './language/definition';
import { diagnostics } from './language/diagnostics';
import { hover } from './language/hover';
import { inlayHints } from './language/inlayHints';
import { buildModel } from './language/model';
import { measureLoras } from './lints';
import type { Model } from './language/model';
import type { LayerReport, Notifications, Requests, StatusParams } from './protocol';
import { calibrationNeeds, requestFor, withWorkFolder } from './quantize/recipes';
import { registerRequests } from './requests';
import { baseOf } from './requests/context';
import type { PlannedModel, RequestContext } from './requests/context';
import type { Runtime } from './runtime';

/** What the client may send along; every field is optional and has a default. */
interface InitializationOptions { engine?: { threads?: number }; cacheDirectory?: string }

const pushDelay = 120;

export function startServer(connection: Connection, runtime: Runtime): void {
  new Server(connection, runtime).listen();
}

class Server implements RequestContext {
  private readonly documents = new TextDocuments(TextDocument);
  readonly store = new CheckpointStore();
  /** Of the open documents as they are now; a change forgets the document's own. */
  private readonly models = new Map<string, Promise<Model>>();
  /** Measured since the server started or found in the cache, by config and layer. */
  private readonly reports = new Map<string, { planHash: string; layers: Map<string, LayerReport>; /** Which layers have the statistics they need. */ gathered: ReadonlyMap<string, boolean> }>();
  private readonly pushTimers = new Map<string, NodeJS.Timeout>();
  private client: ClientCapabilities = {};
  cache = new ReportCache(null);
  cacheFolder: string | null = null;
  engine!: Engine;
  private status: StatusParams = { health: 'ok', message: 'Engine not started yet.', engine: 'idle', info: null };
  private jobs = 0;

  constructor(private readonly connection: Connection, private readonly runtime: Runtime) {}

  listen(): void {
    const { connection, documents } = this;
    connection.onInitialize((params) => this.initialize(params));
    connection.onInitialized(() => this.watchFiles());
    connection.onShutdown(() => {
      this.pushTimers.forEach((timer) => clearTimeout(timer));
      return this.engine.dispose();
    });
    documents.onDidChangeContent(({ document }) => {
      this.models.delete(document.uri);
      this.changed(document.uri);
    });
    documents.onDidClose(({ document }) => this.closed(document.uri));
    connection.onDidChangeWatchedFiles(() => this.refreshAll());

    connection.languages.diagnostics.on((params) => this.safely('diagnostics', { kind: 'full', items: [] }, async () => {
      const model = await this.model(params.textDocument.uri);
      return { kind: 'full', items: model ? diagnostics(model, this.runtime.problemDocs) : [] };
    }));
    connection.onCompletion((params) => this.onModel(params.textDocument.uri, 'completion', (model) =>
      complete(model, params.position, {
        snippets: Boolean(this.client.textDocument?.completion?.completionItem?.snippetSupport), listFolder: (path) => this.runtime.listFolder(path),
      })));
    connection.onHover((params) => this.onModel(params.textDocument.uri, 'hover', (model) => hover(model, params.position)));
    connection.onDefinition((params) => this.onModel(params.textDocument.uri, 'definition', (model) =>
      (this.client.workspace?.textDocumentContent ? definition(model, params.position, Boolean(this.client.textDocument?.definition?.linkSupport)) : null)));
    connection.languages.inlayHint.on((params) => this.onModel(params.textDocument.uri, 'inlay hints', (model) => inlayHints(model, params.range)));
    connection.onCodeLens((params) => this.onModel(params.textDocument.uri, 'code lenses', codeLenses));
    connection.onCodeAction(({ textDocument: { uri }, context: { diagnostics: shown, only } }) => this.safely('code actions', [], async () => {
      const wanted = (kind: string): boolean => !only || only.some((each) => kind === each || kind.startsWith(`${each}.`));
      // "Fix all" is asked for without diagnostics, as when a file is saved.
      const all = only && wanted(fixAllKind) ? fixAll(uri, (await this.model(uri))?.problems ?? []) : [];
      return [...(wanted(CodeActionKind.QuickFix) ? codeActions(uri, shown) : []), ...all];
    }));
    connection.onRequest('workspace/textDocumentContent', ({ uri }: { uri: string }) => this.safely('checkpoint listing', { text: '' }, async () => {
      try {
        return { text: checkpointListing(await this.store.get(listingPath(uri))).text };
      } catch (error) {
        if (error instanceof CheckpointError) {
          return { text: `${error.message}\n` };
        }
        throw error;
      }
    }));

    registerRequests(this);

    documents.listen(connection);
    connection.listen();
  }

  private initialize({ capabilities, initializationOptions }: InitializeParams): InitializeResult {
    this.client = capabilities;
    const options = (initializationOptions ?? {}) as InitializationOptions;
    this.cacheFolder = options.cacheDirectory || this.runtime.cacheFolder;
    this.cache = new ReportCache(this.cacheFolder && join(this.cacheFolder, 'reports'));
    this.engine = this.runtime.startEngine({
      threads: options.engine?.threads ?? 0,
      log: (message) => this.connection.console.info(message),
      onState: (engine, message) => this.engineState(engine, message),
    });
    return {
      serverInfo: { name: 'QuantScope' },
      capabilities: {
        textDocumentSync: TextDocumentSyncKind.Incremental,
        diagnosticProvider: { interFileDependencies: true, workspaceDiagnostics: false },
        completionProvider: { triggerCharacters: completionTriggers },
        hoverProvider: true,
        definitionProvider: true,
        inlayHintProvider: true,
        codeLensProvider: {},
        codeActionProvider: { codeActionKinds: [CodeActionKind.QuickFix, fixAllKind] },
        workspace: { workspaceFolders: { supported: true }, textDocumentContent: { schemes: [checkpointScheme] } },
      },
    };
  }

  private watchFiles(): void {
    if (this.client.workspace?.didChangeWatchedFiles?.dynamicRegistration) {
      const watchers = ['**/*.safetensors', '**/*.safetensors.index.json', '**/config.json', '**/model_index.json'].map((globPattern) => ({ globPattern }));
      this.send('file watching', this.connection.client.register(DidChangeWatchedFilesNotification.type, { watchers }));
    }
  }

  // ------------------------------------------------------------------------------------------------------------ documents

  model(uri: string): Promise<Model> | undefined {
    const document = this.documents.get(uri);
    if (!document) {
      return undefined;
    }
    let model = this.models.get(uri);
    if (!model) {
      // The open document changes in place while a model is built or used: a model keeps the text it was built from.
      const { languageId, version } = document;
      const snapshot = TextDocument.create(uri, languageId, version, document.getText());
      const known = this.reports.get(uri);
      model = buildModel(snapshot, this.store, known?.layers ?? new Map<string, LayerReport>(), known?.gathered);
      this.models.set(uri, model);
    }
    return model;
  }

  private changed(uri: string): void {
    clearTimeout(this.pushTimers.get(uri));
    this.pushTimers.set(uri, setTimeout(() => void this.safely('update', undefined, () => this.published(uri)), pushDelay));
  }

  /** After a pause in typing: diagnostics for clients that do not pull, earlier measurements for a new plan, and word to the panels. */
  private async published(uri: string): Promise<void> {
    this.pushTimers.delete(uri);
    const model = await this.model(uri);
    if (!model) {
      return;
    }
    if (!this.client.textDocument?.diagnostic) {
      await this.connection.sendDiagnostics({ uri, version: model.document.version, diagnostics: diagnostics(model, this.runtime.problemDocs) });
    }
    if (model.plan && this.reports.get(uri)?.planHash !== model.plan.hash) {
      const known = await knownReports(requestFor(model, baseOf(uri), { folder: '' }), this.engine, this.cache);
      await this.remember(uri, model, known);
      this.refreshHints();
    }
    if (await measureLoras(model) && this.documents.get(uri)) {
      this.models.delete(uri);
      this.refreshDiagnostics(uri);
    }
    this.notify('quantscope/planChanged', { uri });
  }

  private closed(uri: string): void {
    clearTimeout(this.pushTimers.get(uri));
    this.pushTimers.delete(uri);
    this.models.delete(uri);
    this.reports.delete(uri);
    if (!this.client.textDocument?.diagnostic) {
      this.send('diagnostics', this.connection.sendDiagnostics({ uri, diagnostics: [] }));
    }
  }

  /** A file changed on disk: every open config looks again. */
  private refreshAll(): void {
    this.models.clear();
    this.refreshDiagnostics();
    this.refreshHints();
    this.documents.keys().forEach((uri) => this.changed(uri));
  }

  /** @param pushed to a client that does not pull */
  private refreshDiagnostics(pushed?: string): void {
    if (this.client.workspace?.diagnostics?.refreshSupport) {
      this.send('diagnostics refresh', this.connection.sendRequest(DiagnosticRefreshRequest.type));
    } else if (pushed !== undefined) {
      this.changed(pushed);
    }
  }

  private refreshHints(): void {
    if (this.client.workspace?.inlayHint?.refreshSupport) {
      this.send('hints refresh', this.connection.sendRequest(InlayHintRefreshRequest.type));
    }
  }

  private async remember(uri: string, model: Model, layers: readonly LayerReport[]): Promise<void> {
    // A model that cannot be calibrated has nothing gathered; whoever asks for it is told why.
    const needs = await withWorkFolder(this.cacheFolder, (folder) => calibrationNeeds(requestFor(model, baseOf(uri), { folder }), this.engine)).catch(() => ({ layers: new Map<string, { gathered: boolean }>() }));
    if (!this.documents.get(uri)) {
      return; // closed meanwhile
    }
    this.reports.set(uri, { planHash: model.plan?.hash ?? '', layers: new Map(layers.map((report) => [report.name, report])), gathered: new Map([...needs.layers].map(([name, { gathered }]) => [name, gathered])) });
    this.models.delete(uri);
  }

  // ------------------------------------------------------------------------------------------------------------- analysis

  /** What a job works on: the checkpoint as it is on the disk now, whether or not the editor has seen it change. */
  private async current(uri: string): Promise<Model | undefined> {
    const model = await this.model(uri);
    if (model?.plan && await isUnchanged(model.plan)) {
      return model;
    }
    this.models.delete(uri);
    const now = await this.model(uri);
    if (now?.plan?.revision !== model?.plan?.revision) {
      this.refreshAll();
    }
    return now;
  }

  async planned(uri: string): Promise<PlannedModel> {
    const model = await this.current(uri);
    if (!model) {
      throw new ResponseError(ErrorCodes.InvalidParams, `${uri} is not open in the editor.`);
    }
    if (!model.plan) {
      const problem = model.problems.find((each) => each.severity === 'error');
      throw new ResponseError(ErrorCodes.InvalidParams, problem ? `This config cannot be analyzed yet: ${problem.message}` : 'This config names no checkpoint yet.');
    }
    return { ...model, plan: model.plan };
  }

  async learned(uri: string, model: PlannedModel, reports: readonly LayerReport[]): Promise<void> {
    if (this.documents.get(uri)) {
      const earlier = this.reports.get(uri);
      await this.remember(uri, model, [...(earlier?.planHash === model.plan.hash ? earlier.layers.values() : []), ...reports]);
      this.refreshHints();
    }
  }

  /** Runs a job with work-done progress and a busy status. */
  async working<T>(title: string, token: string | number | undefined, job: (report: (fraction: number, what: string) => void) => Promise<T>): Promise<T> {
    const send = (value: object): void => {
      if (token !== undefined) {
        this.send('progress', this.connection.sendNotification('$/progress', { token, value }));
      }
    };
    // A small model takes a thousand steps a second; nobody sees more than what changes, and a cancel must not queue behind it.
    let shown = '';
    const report = (fraction: number, message: string): void => {
      const percentage = Math.floor(100 * fraction);
      if (`${percentage} ${message}` !== shown) {
        shown = `${percentage} ${message}`;
        send({ kind: 'report', percentage, message });
      }
    };
    send({ kind: 'begin', title, percentage: 0, cancellable: true });
    this.jobs++;
    this.sendStatus({});
    try {
      return await job(report);
    } finally {
      send({ kind: 'end' });
      this.jobs--;
      this.sendStatus({});
    }
  }

  private engineState(engine: StatusParams['engine'], message: string): void {
    this.sendStatus({ engine, message });
    if (engine === 'running') {
      void this.engine.info().then((info) => this.sendStatus({ info }), () => undefined);
    }
  }

  private sendStatus(change: Partial<StatusParams>): void {
    const next = { ...this.status, ...change };
    const health = next.engine === 'failed' ? 'error' : this.jobs > 0 ? 'busy' : 'ok';
    this.status = { ...next, health };
    this.notify('quantscope/status', this.status);
  }

  // ------------------------------------------------------------------------------------------------------------- plumbing

  onRequest<M extends keyof Requests>(method: M, handler: (params: Requests[M]['params'], token: CancellationToken) => Promise<Requests[M]['result']>): void {
    this.connection.onRequest(method, async (params: Requests[M]['params'], token: CancellationToken) => {
      try {
        return await handler(params, token);
      } catch (error) {
        throw this.asResponseError(method, error);
      }
    });
  }

  notify<M extends keyof Notifications>(method: M, params: Notifications[M]): void {
    this.send(method, this.connection.sendNotification(method, params));
  }

  /** A message that the client refuses or that can no longer be written is the client's affair: it goes to the log and never ends the server. */
  private send(what: string, sent: Promise<unknown>): void {
    sent.catch((error: unknown) => {
      try {
        this.connection.console.warn(`${what}: ${error instanceof Error ? error.message : String(error)}`);
      } catch {
        // The connection itself is gone, and with it everyone who could read this.
      }
    });
  }

  private onModel<T>(uri: string, what: string, feature: (model: Model) => T): Promise<T | null> {
    return this.safely<T | null>(what, null, async () => {
      const model = await this.model(uri);
      return model ? feature(model) : null;
    });
  }

  /** A feature that fails is logged and answers with its neutral value: nothing raw reaches the wire. */
  private async safely<T>(what: string, fallback: T, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.connection.console.error(`${what}: ${error instanceof Error ? error.stack ?? error.message : String(error)}`);
      return fallback;
    }
  }

  /** What the user asked for gets its reason; what nobody foresaw goes to the log with its stack. */
  private asResponseError(method: string, error: unknown): ResponseError<unknown> {
    if (error instanceof ResponseError) {
      return error as ResponseError<unknown>;
    }
    if (error instanceof EngineError) {
      return new ResponseError(error.code === 'CANCELLED' ? LSPErrorCodes.RequestCancelled : LSPErrorCodes.RequestFailed, error.message, { code: error.code });
    }
    if ([ModelError, SamplerError, AllocationError].some((kind) => error instanceof kind)) {
      return new ResponseError(LSPErrorCodes.RequestFailed, (error as Error).message);
    }
    if (error instanceof CheckpointError) {
      return new ResponseError(LSPErrorCodes.RequestFailed, error.message, { problem: error.problem });
    }
    this.connection.console.error(`${method}: ${error instanceof Error ? error.stack ?? error.message : String(error)}`);
    return new ResponseError(LSPErrorCodes.RequestFailed, `${method.replace('quantscope/', '')} failed: ${error instanceof Error ? error.message : String(error)}`);
  }
}

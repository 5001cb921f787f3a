/** The open documents and what is known of each: its model, what was measured, and when the client hears of a change. */
import { CodeLensRefreshRequest, DiagnosticRefreshRequest, InlayHintRefreshRequest, SemanticTokensRefreshRequest, TextDocuments } from 'vscode-languageserver';
import type { ClientCapabilities, Connection } from 'vscode-languageserver';
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { ReportCache } from './analysis/cache';
import { knownReports } from './analysis/report';
import { CheckpointStore, isUnchanged } from './checkpoint';
import { safely, send } from './connectionErrors';
import type { PieceMemory } from './config/pieces';
import { DialectDocuments } from './dialectDocuments';
import type { Engine } from './engine/client';
import type { DialectModel } from './language/dialects/model';
import { diagnostics } from './language/diagnostics';
import { buildModel } from './language/model';
import type { Model } from './language/model';
import { measureLoras } from './lints';
import type { LayerReport } from './protocol';
import { calibrationNeeds, requestFor, withWorkFolder } from './quantize/recipes';
import { baseOf } from './requests/context';
import type { PlannedModel } from './requests/context';

const pushDelay = 120;

/** What the documents need of the server; known from `initialize` on. */
export interface Services { client: ClientCapabilities; engine: Engine; cache: ReportCache; cacheFolder: string | null; problemDocs: string | undefined }

/** Measured since the server started or found in the cache. `gathered`: which layers have the statistics they need. */
interface Known { planHash: string; layers: Map<string, LayerReport>; gathered: ReadonlyMap<string, boolean> }

export class Documents {
  readonly store = new CheckpointStore();
  private readonly open = new TextDocuments(TextDocument);
  /** Of the documents as they are now; a change forgets the document's own. */
  private readonly models = new Map<string, Promise<Model>>();
  private readonly pieces = new Map<string, PieceMemory>();
  private readonly known = new Map<string, Known>();
  private readonly pushTimers = new Map<string, NodeJS.Timeout>();
  private readonly others: DialectDocuments;
  /** Files of other tools that have pushed diagnostics. */
  private readonly marked = new Set<string>();
  private readonly settled: ((uri: string) => void)[] = [];
  private readonly filesChanged: ((onDisk: boolean) => void)[] = [];

  /** @param chosen absolute path of the checkpoint that the user chose for a file of another tool */
  constructor(private readonly connection: Connection, private readonly services: () => Services, chosen: (uri: string) => Promise<string | undefined>) {
    this.others = new DialectDocuments(this.store, chosen);
  }

  listen(): void {
    this.open.onDidChangeContent(({ document: { uri } }) => {
      this.models.delete(uri);
      this.others.forget(uri);
      this.changed(uri);
    });
    this.open.onDidOpen(() => this.filesChanged.forEach((listener) => listener(false)));
    this.open.onDidClose(({ document }) => {
      this.closed(document);
      this.filesChanged.forEach((listener) => listener(false));
    });
    this.connection.onDidChangeWatchedFiles(({ changes }) => {
      // An open config is what the editor says; another one is nobody's checkpoint.
      if (changes.length === 0 || changes.some(({ uri }) => !/\.quant\.ya?ml$/.test(uri))) {
        this.refreshAll();
      }
      this.filesChanged.forEach((listener) => listener(true));
    });
    this.open.listen(this.connection);
  }

  /** Called with the config after a pause in typing, and when a file behind it has changed. */
  onSettled(listener: (uri: string) => void): void {
    this.settled.push(listener);
  }

  /** Called when a file has changed on the disk, and when a document is opened or closed. */
  onFilesChanged(listener: (onDisk: boolean) => void): void {
    this.filesChanged.push(listener);
  }

  dispose(): void {
    this.pushTimers.forEach((timer) => clearTimeout(timer));
  }

  /** Of any language, and changing in place. */
  opened(): readonly TextDocument[] { return this.open.all(); }

  model(uri: string): Promise<Model> | undefined {
    const document = this.open.get(uri);
    if (!document || !isConfig(document)) {
      return undefined;
    }
    let model = this.models.get(uri);
    if (!model) {
      // The open document changes in place while a model is built or used: a model keeps the text it was built from.
      const { languageId, version } = document;
      const snapshot = TextDocument.create(uri, languageId, version, document.getText());
      const known = this.known.get(uri);
      model = buildModel(snapshot, this.store, known?.layers ?? new Map<string, LayerReport>(), known?.gathered, this.memoryOf(uri));
      this.models.set(uri, model);
    }
    return model;
  }

  private memoryOf(uri: string): PieceMemory {
    const memory = this.pieces.get(uri) ?? { kept: [] };
    this.pieces.set(uri, memory);
    return memory;
  }

  /** What an open file of other tools holds; undefined for a config. */
  dialects(uri: string): Promise<DialectModel[]> | undefined {
    const document = this.open.get(uri);
    return document && !isConfig(document) ? this.others.modelsOf(document) : undefined;
  }

  /** The same of a text that need not be open. */
  dialectsOf(document: TextDocument): Promise<DialectModel[]> {
    return this.dialects(document.uri) ?? this.others.read(document);
  }

  /** What a job works on: the checkpoint as it is on the disk now, whether or not the editor has seen it change. */
  async current(uri: string): Promise<Model | undefined> {
    const model = await this.model(uri);
    if (model?.plan && await isUnchanged(model.plan)) {
      return model;
    }
    this.store.lookAgain();
    this.models.delete(uri);
    const now = await this.model(uri);
    if (now?.plan?.revision !== model?.plan?.revision) {
      this.refreshAll();
    }
    return now;
  }

  /** Adds to what is known of the layers of a plan, where the document is still open. */
  async learned(uri: string, model: PlannedModel, reports: readonly LayerReport[]): Promise<void> {
    if (this.open.get(uri)) {
      const earlier = this.known.get(uri);
      await this.remember(uri, model, [...(earlier?.planHash === model.plan.hash ? earlier.layers.values() : []), ...reports]);
      this.refreshHints();
    }
  }

  private changed(uri: string): void {
    clearTimeout(this.pushTimers.get(uri));
    this.pushTimers.set(uri, setTimeout(() => void safely(this.connection, 'update', undefined, () => this.published(uri)), pushDelay));
  }

  /** After a pause in typing: diagnostics for clients that do not pull, earlier measurements for a new plan, and word to the panels. */
  private async published(uri: string): Promise<void> {
    this.pushTimers.delete(uri);
    const model = await this.model(uri);
    if (!model) {
      return this.publishDialect(uri);
    }
    const { client, engine, cache, problemDocs } = this.services();
    if (!client.textDocument?.diagnostic) {
      await this.connection.sendDiagnostics({ uri, version: model.document.version, diagnostics: diagnostics(model, problemDocs) });
    }
    if (model.plan && this.known.get(uri)?.planHash !== model.plan.hash) {
      await this.remember(uri, model, await knownReports(requestFor(model, baseOf(uri), { folder: '' }), engine, cache));
      this.refreshHints();
    }
    if (await measureLoras(model) && this.open.get(uri)) {
      this.models.delete(uri);
      this.refreshDiagnostics(uri);
    }
    this.settled.forEach((listener) => listener(uri));
    send(this.connection, 'quantscope/planChanged', this.connection.sendNotification('quantscope/planChanged', { uri }));
  }

  /** A document that is none, and was none, is left alone. */
  private async publishDialect(uri: string): Promise<void> {
    const { client, problemDocs } = this.services();
    const models = client.textDocument?.diagnostic ? [] : await this.dialects(uri) ?? [];
    const [first] = models;
    if (first || this.marked.has(uri)) {
      this.marked[first ? 'add' : 'delete'](uri);
      await this.connection.sendDiagnostics({ uri, ...(first ? { version: first.document.version } : {}), diagnostics: models.flatMap((model) => diagnostics(model, problemDocs)) });
    }
  }

  private closed(document: TextDocument): void {
    const { uri } = document;
    clearTimeout(this.pushTimers.get(uri));
    this.pushTimers.delete(uri);
    this.models.delete(uri);
    this.pieces.delete(uri);
    this.known.delete(uri);
    this.others.close(uri);
    const shown = this.marked.delete(uri) || isConfig(document);
    if (shown && !this.services().client.textDocument?.diagnostic) {
      send(this.connection, 'diagnostics', this.connection.sendDiagnostics({ uri, diagnostics: [] }));
    }
  }

  /** A file changed on disk: every open document looks again. */
  private refreshAll(): void {
    this.store.lookAgain();
    this.models.clear();
    this.refreshDialects();
    this.open.all().filter(isConfig).forEach(({ uri }) => this.changed(uri));
  }

  /** A setting changed: files of other tools look again. */
  refreshDialects(): void {
    this.others.clear();
    this.refreshDiagnostics();
    this.refreshHints();
    this.refreshColours();
    this.open.all().filter((document) => !isConfig(document)).forEach(({ uri }) => this.changed(uri));
  }

  /** @param pushed to a client that does not pull */
  private refreshDiagnostics(pushed?: string): void {
    if (this.services().client.workspace?.diagnostics?.refreshSupport) {
      send(this.connection, 'diagnostics refresh', this.connection.sendRequest(DiagnosticRefreshRequest.type));
    } else if (pushed !== undefined) {
      this.changed(pushed);
    }
  }

  private refreshHints(): void {
    if (this.services().client.workspace?.inlayHint?.refreshSupport) {
      send(this.connection, 'hints refresh', this.connection.sendRequest(InlayHintRefreshRequest.type));
    }
  }

  /** What else depends on the checkpoint: which patterns take something, and what all amounts to. */
  private refreshColours(): void {
    const { semanticTokens, codeLens } = this.services().client.workspace ?? {};
    if (semanticTokens?.refreshSupport) {
      send(this.connection, 'colours refresh', this.connection.sendRequest(SemanticTokensRefreshRequest.type));
    }
    if (codeLens?.refreshSupport) {
      send(this.connection, 'lenses refresh', this.connection.sendRequest(CodeLensRefreshRequest.type));
    }
  }

  private async remember(uri: string, model: Model, layers: readonly LayerReport[]): Promise<void> {
    const { engine, cacheFolder } = this.services();
    // A model that cannot be calibrated has nothing gathered; whoever asks for it is told why.
    const needs = await withWorkFolder(cacheFolder, (folder) => calibrationNeeds(requestFor(model, baseOf(uri), { folder }), engine)).catch(() => ({ layers: new Map<string, { gathered: boolean }>() }));
    if (!this.open.get(uri)) {
      return; // closed meanwhile
    }
    this.known.set(uri, { planHash: model.plan?.hash ?? '', layers: new Map(layers.map((report) => [report.name, report])), gathered: new Map([...needs.layers].map(([name, { gathered }]) => [name, gathered])) });
    this.models.delete(uri);
  }
}

/** Not every client gives our language its id: for some a config is YAML with a long name. */
export function isConfig({ languageId, uri }: TextDocument): boolean {
  return languageId === 'quantconfig' || /\.quant\.ya?ml$/.test(uri);
}

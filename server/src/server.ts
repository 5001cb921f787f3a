/** The language server: life cycle, jobs and their progress. Documents are in documents.ts, language features in features/, custom requests in requests/. Never loads native code. */
import { join } from 'node:path';
import { DidChangeConfigurationNotification, DidChangeWatchedFilesNotification, ErrorCodes, ResponseError, TextDocumentSyncKind } from 'vscode-languageserver';
import type { CancellationToken, ClientCapabilities, Connection, InitializeParams, InitializeResult } from 'vscode-languageserver';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import { ReportCache } from './analysis/cache';
import type { CheckpointStore } from './checkpoint';
import { CheckpointSetting } from './checkpointSetting';
import { packageGlobs } from './python/packages/files';
import { asResponseError, safely, send } from './connectionErrors';
import { Documents } from './documents';
import type { Engine } from './engine/client';
import { isEngineDevice } from './engine/cuda';
import { featureCapabilities, registerFeatures } from './features';
import type { FeatureContext } from './features/feature';
import { otherFiles } from './features/otherFiles';
import type { DialectModel } from './language/dialects/model';
import type { Model } from './language/model';
import type { EngineDevice, LayerReport, Notifications, Requests, StatusParams } from './protocol';
import { registerRequests } from './requests';
import type { PlannedModel, RequestContext } from './requests/context';
import type { Runtime } from './runtime';
import { Workspace } from './workspace';

/** What the client may send along; every field is optional and has a default. */
interface InitializationOptions { engine?: { threads?: number }; device?: unknown; cacheDirectory?: string }

/** What tools leave beside their configs or are told there (a folder of samples is no reason to look again), and where versions of packages stand. */
const watched = ['**/*.safetensors', '**/*.safetensors.index.json', '**/config.json', '**/model_index.json', '**/*.quant.{yaml,yml}', '**/*.bin', '**/modelopt_state.pth', '**/{model,scale,smooth,branch,wgts}.pt', '**/configs/**/*.{yaml,yml}', ...packageGlobs];

export function startServer(connection: Connection, runtime: Runtime): void {
  new Server(connection, runtime).listen();
}

class Server implements RequestContext, FeatureContext {
  private readonly documents: Documents;
  private readonly checkpointSetting: CheckpointSetting;
  readonly store: CheckpointStore;
  readonly workspace: Workspace;
  client: ClientCapabilities = {};
  cache = new ReportCache(null);
  cacheFolder: string | null = null;
  engine!: Engine;
  private status: StatusParams = { health: 'ok', message: 'Engine not started yet.', engine: 'idle', info: null };
  private jobs = 0;

  constructor(readonly connection: Connection, readonly runtime: Runtime) {
    this.checkpointSetting = new CheckpointSetting(connection, () => this.client, () => this.workspace.roots);
    this.documents = new Documents(connection, () => ({ client: this.client, engine: this.engine, cache: this.cache, cacheFolder: this.cacheFolder, problemDocs: runtime.problemDocs }), (uri) => this.checkpointSetting.of(uri));
    this.store = this.documents.store;
    this.workspace = new Workspace(connection, runtime, () => this.documents.opened());
  }

  listen(): void {
    const { connection } = this;
    connection.onInitialize((params) => this.initialize(params));
    connection.onInitialized(() => this.initialized());
    connection.onDidChangeConfiguration(({ settings }) => {
      this.checkpointSetting.changed(settings);
      this.documents.refreshDialects();
    });
    connection.onShutdown(() => {
      this.documents.dispose();
      return this.engine.dispose();
    });
    registerRequests(this);
    this.documents.listen();
    connection.listen();
  }

  private initialize(params: InitializeParams): InitializeResult {
    const { capabilities, initializationOptions } = params;
    this.client = capabilities;
    this.workspace.initialize(params);
    this.checkpointSetting.initialize(params);
    const options = (initializationOptions ?? {}) as InitializationOptions;
    this.cacheFolder = options.cacheDirectory || this.runtime.cacheFolder;
    this.cache = new ReportCache(this.cacheFolder && join(this.cacheFolder, 'reports'));
    this.engine = this.runtime.startEngine({
      threads: options.engine?.threads ?? 0,
      device: this.deviceOf(options),
      log: (message) => this.connection.console.info(message),
      onState: (engine, message) => this.engineState(engine, message),
    });
    registerFeatures(this);
    const features = featureCapabilities(capabilities);
    return {
      serverInfo: { name: 'QuantScope' },
      capabilities: { ...features, textDocumentSync: TextDocumentSyncKind.Incremental, workspace: { ...features.workspace, workspaceFolders: { supported: true, changeNotifications: true } } },
    };
  }

  private deviceOf({ device = 'auto' }: InitializationOptions): EngineDevice {
    if (isEngineDevice(device)) {
      return device;
    }
    this.connection.console.error(`The setting quantscope.device must be "auto", "cpu" or "cuda", not ${JSON.stringify(device)}; "auto" is taken.`);
    return 'auto';
  }

  /** What is registered later, where the client can: watched files, the setting, files of other tools. */
  private initialized(): void {
    const { connection, client } = this;
    if (client.workspace?.didChangeWatchedFiles?.dynamicRegistration) {
      send(connection, 'file watching', connection.client.register(DidChangeWatchedFilesNotification.type, { watchers: watched.map((globPattern) => ({ globPattern })) }));
    }
    if (client.workspace?.didChangeConfiguration?.dynamicRegistration) {
      send(connection, 'settings', connection.client.register(DidChangeConfigurationNotification.type, { section: 'quantscope.checkpoint' }));
    }
    if (client.workspace?.workspaceFolders) {
      this.workspace.followFolders();
    }
    const others = otherFiles(client);
    if (others) {
      send(connection, 'files of other tools', connection.client.register(others));
    }
  }

  // ------------------------------------------------------------------------------------------------------------ documents

  model(uri: string): Promise<Model> | undefined {
    return this.documents.model(uri);
  }

  dialects(uri: string): Promise<DialectModel[]> | undefined {
    return this.documents.dialects(uri);
  }

  dialectsOf(document: TextDocument): Promise<DialectModel[]> {
    return this.documents.dialectsOf(document);
  }

  onSettled(listener: (uri: string) => void): void {
    this.documents.onSettled(listener);
  }

  onFilesChanged(listener: (onDisk: boolean) => void): void {
    this.documents.onFilesChanged(listener);
  }

  async planned(uri: string): Promise<PlannedModel> {
    const model = await this.documents.current(uri);
    if (!model) {
      throw new ResponseError(ErrorCodes.InvalidParams, `${uri} is not open in the editor.`);
    }
    if (!model.plan) {
      const problem = model.problems.find((each) => each.severity === 'error');
      throw new ResponseError(ErrorCodes.InvalidParams, problem ? `This config cannot be analyzed yet: ${problem.message}` : 'This config names no checkpoint yet.');
    }
    return { ...model, plan: model.plan };
  }

  learned(uri: string, model: PlannedModel, reports: readonly LayerReport[]): Promise<void> {
    return this.documents.learned(uri, model, reports);
  }

  // ----------------------------------------------------------------------------------------------------------------- jobs

  /** Runs a job with work-done progress and a busy status. */
  async working<T>(title: string, token: string | number | undefined, job: (report: (fraction: number, what: string) => void) => Promise<T>): Promise<T> {
    const tell = (value: object): void => {
      if (token !== undefined) {
        send(this.connection, 'progress', this.connection.sendNotification('$/progress', { token, value }));
      }
    };
    // A small model takes a thousand steps a second; nobody sees more than what changes, and a cancel must not queue behind it.
    let shown = '';
    const report = (fraction: number, message: string): void => {
      const percentage = Math.floor(100 * fraction);
      if (`${percentage} ${message}` !== shown) {
        shown = `${percentage} ${message}`;
        tell({ kind: 'report', percentage, message });
      }
    };
    tell({ kind: 'begin', title, percentage: 0, cancellable: true });
    this.jobs++;
    this.sendStatus({});
    try {
      return await job(report);
    } finally {
      tell({ kind: 'end' });
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
        throw asResponseError(this.connection, method, error);
      }
    });
  }

  notify<M extends keyof Notifications>(method: M, params: Notifications[M]): void {
    send(this.connection, method, this.connection.sendNotification(method, params));
  }

  onModel<T>(
    uri: string, what: string, token: CancellationToken, feature: (model: Model) => T | Promise<T>, ofDialects?: (models: readonly DialectModel[]) => T | Promise<T>,
  ): Promise<T | null | ResponseError<never>> {
    return this.safely<T | null>(what, null, token, async () => {
      const model = await this.model(uri);
      const others = model || !ofDialects ? [] : await this.dialects(uri) ?? [];
      return model ? feature(model) : others.length > 0 && ofDialects ? ofDialects(others) : null;
    });
  }

  safely<T>(what: string, fallback: T, token: CancellationToken, work: () => Promise<T>): Promise<T | ResponseError<never>> {
    return safely(this.connection, what, fallback, work, token);
  }
}

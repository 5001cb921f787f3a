// One object that every feature gets: the language server's lifecycle, typed messages, health, and commands that never throw raw errors.
import * as vscode from 'vscode';
import { LanguageClient, State, TransportKind, WorkDoneProgress } from 'vscode-languageclient/node';
import type { WorkDoneProgressBegin, WorkDoneProgressEnd, WorkDoneProgressReport } from 'vscode-languageclient/node';
import type { AnalyzeResult, Notifications, Requests, StatusParams } from '../../server/src/protocol';
import { Diagnoses } from './diagnosis';
import { inlayHintsEnabled, serverSettings } from './settings';

/** Characters. The server would read nothing of a longer file of another tool; a config that long is told so. */
const longestOther = 1024 * 1024;

/** What happens to an analysis the user started; the sensitivity panel follows it. */
export type AnalysisEvent =
  | { uri: string; state: 'running' }
  | { uri: string; state: 'finished'; result: AnalyzeResult }
  | { uri: string; state: 'cancelled' }
  | { uri: string; state: 'failed'; message: string };

export class QuantScopeContext implements vscode.Disposable {
  readonly log = vscode.window.createOutputChannel('QuantScope', { log: true });
  /** The client keeps one handler for each method, features want many listeners. */
  private readonly notifications: { [M in keyof Notifications]: vscode.EventEmitter<Notifications[M]> } = {
    'quantscope/reports': new vscode.EventEmitter(),
    'quantscope/planChanged': new vscode.EventEmitter(),
    'quantscope/previewFrame': new vscode.EventEmitter(),
    'quantscope/ranking': new vscode.EventEmitter(),
    'quantscope/status': new vscode.EventEmitter(),
  };
  readonly analysis = new vscode.EventEmitter<AnalysisEvent>();
  readonly diagnoses = new Diagnoses(this);
  private health: StatusParams = { health: 'busy', message: '', engine: 'idle', info: null };
  private readonly client: LanguageClient;
  private started: Promise<void> = Promise.resolve();
  private settings: string;

  constructor(readonly extension: vscode.ExtensionContext) {
    const module = extension.asAbsolutePath('dist/server.js');
    this.settings = JSON.stringify(this.readSettings());
    this.client = new LanguageClient('quantscope', 'QuantScope', {
      run: { module, transport: TransportKind.ipc },
      debug: { module, transport: TransportKind.ipc, options: { execArgv: ['--nolazy', '--inspect=6009'] } },
    }, {
      // What may be a file of another tool (JSON, YAML, plain text) the server registers itself, with fewer features.
      documentSelector: [{ language: 'quantconfig', scheme: 'file' }, { language: 'quantconfig', scheme: 'untitled' }],
      outputChannel: this.log,
      initializationOptions: () => this.readSettings(),
      // The health item already tells that the server does not start; a popup on opening a file would be in the way.
      initializationFailedHandler: (error: unknown) => {
        this.log.error(String(error));
        return false;
      },
      middleware: {
        didOpen: async (document, next) => (document.languageId !== 'quantconfig' && lengthOf(document) > longestOther ? undefined : next(document)),
        provideInlayHints: (document, range, token, next) => (inlayHintsEnabled(document) ? next(document, range, token) : []),
      },
    });
    this.relay('quantscope/reports');
    this.relay('quantscope/planChanged');
    this.relay('quantscope/previewFrame');
    this.relay('quantscope/ranking');
    this.relay('quantscope/status');
    extension.subscriptions.push(
      this,
      this.client.onDidChangeState(({ newState }) => this.stateChanged(newState)),
      this.onNotification('quantscope/status', (status) => {
        this.health = status;
      }),
      vscode.workspace.onDidChangeConfiguration((event) => {
        if (event.affectsConfiguration('quantscope')) {
          void this.restartIfSettingsDiffer();
        }
      }),
    );
  }

  get status(): StatusParams {
    return this.health;
  }

  start(): Promise<void> {
    return this.enqueue(() => this.client.start());
  }

  restart(): Promise<void> {
    return this.enqueue(() => (this.client.needsStart() ? this.client.start() : this.client.restart()));
  }

  /**
   * Sends a request of protocol.ts and waits for its result, starting the server first when it does not run.
   * Throws vscode.CancellationError when the token was cancelled, otherwise an Error whose message is meant for the user.
   */
  async request<M extends keyof Requests>(
    method: M, params: Requests[M]['params'], token: vscode.CancellationToken = new vscode.CancellationTokenSource().token,
  ): Promise<Requests[M]['result']> {
    await this.started;
    if (this.client.needsStart()) {
      await this.start();
    }
    try {
      return await this.client.sendRequest<Requests[M]['result']>(method, params, token);
    } catch (error) {
      if (token.isCancellationRequested) {
        throw new vscode.CancellationError();
      }
      throw error;
    }
  }

  onNotification<M extends keyof Notifications>(method: M, handler: (params: Notifications[M]) => void): vscode.Disposable {
    return this.notifications[method].event(handler);
  }

  /** Follows a request that was sent with this workDoneToken. */
  onProgress(token: string, handler: (value: WorkDoneProgressBegin | WorkDoneProgressReport | WorkDoneProgressEnd) => void): vscode.Disposable {
    return this.client.onProgress(WorkDoneProgress.type, token, handler);
  }

  /** Registers a command: cancelling it is silent, a failure is one toast with the log behind a button. */
  command(id: string, run: (...args: never[]) => unknown): void {
    this.extension.subscriptions.push(vscode.commands.registerCommand(id, async (...args: never[]) => {
      try {
        return await run(...args);
      } catch (error) {
        if (!(error instanceof vscode.CancellationError)) {
          this.reportFailure(error);
        }
        return undefined;
      }
    }));
  }

  reportFailure(error: unknown): void {
    this.log.error(error instanceof Error ? (error.stack ?? error.message) : String(error));
    const showLog = vscode.l10n.t('Show Log');
    void vscode.window.showErrorMessage(errorMessage(error), showLog).then((answer) => {
      if (answer === showLog) {
        this.log.show();
      }
    });
  }

  dispose(): void {
    for (const emitter of [...Object.values(this.notifications), this.analysis, this.diagnoses]) {
      emitter.dispose();
    }
    this.log.dispose();
  }

  /** Called by deactivate, which may wait for the server's clean shutdown. */
  stop(): Promise<void> {
    return this.enqueue(() => (this.client.needsStop() ? this.client.stop() : Promise.resolve()));
  }

  private readSettings(): ReturnType<typeof serverSettings> {
    return serverSettings(this.extension.globalStorageUri);
  }

  /** Start, restart and stop happen one after the other; a failed one is logged and does not block the next. */
  private enqueue(step: () => Promise<void>): Promise<void> {
    this.started = this.started.then(step).catch((error: unknown) => this.log.error(String(error)));
    return this.started;
  }

  private async restartIfSettingsDiffer(): Promise<void> {
    const settings = JSON.stringify(this.readSettings());
    if (settings !== this.settings) {
      this.settings = settings;
      this.log.info('A setting changed: the language server restarts.');
      await this.restart();
    }
  }

  private stateChanged(state: State): void {
    switch (state) {
      case State.Starting:
        return this.setStatus({ health: 'busy', message: vscode.l10n.t('The language server is starting.'), engine: 'idle', info: null });
      case State.Running:
        return this.setStatus({ health: 'ok', message: vscode.l10n.t('Ready.'), engine: 'idle', info: null });
      default:
        return this.setStatus({ health: 'error', message: vscode.l10n.t('The language server is not running.'), engine: 'stopped', info: null });
    }
  }

  private relay<M extends keyof Notifications>(method: M): void {
    this.client.onNotification(method, (params: Notifications[M]) => this.notifications[method].fire(params));
  }

  private setStatus(status: StatusParams): void {
    this.notifications['quantscope/status'].fire(status);
  }
}

/** Without putting the text together. */
function lengthOf(document: vscode.TextDocument): number {
  return document.offsetAt(document.lineAt(document.lineCount - 1).range.end);
}

export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

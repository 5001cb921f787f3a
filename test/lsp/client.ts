/**
 * A language client for tests: the server in this process over two streams, or a child process over its standard input and output.
 * Strict: whatever the server sends must be awaited by the test, nothing may be logged as a warning or error, and the end must be a clean shutdown.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { PassThrough } from 'node:stream';
import type { ClientCapabilities, InitializeResult, MessageConnection, ProtocolConnection } from 'vscode-languageserver/node';
import {
  ProposedFeatures, ResponseError, StreamMessageReader, StreamMessageWriter, createProtocolConnection,
} from 'vscode-languageserver/node';
import { createConnection } from 'vscode-languageserver';
import { URI } from 'vscode-uri';
import type { Notifications, Requests } from '../../server/src/protocol';
import type { Engine } from '../../server/src/engine/client';
import type { Runtime } from '../../server/src/runtime';
import { startServer } from '../../server/src/server';
import { findFiles, readText } from '../../server/src/workspaceFiles';
import { FakeEngine } from '../fixtures/fakeEngine';

export const cli = resolve(__dirname, '../../dist/cli.js');

/** What VS Code can, as far as this server asks. */
export const vscodeCapabilities: ClientCapabilities = {
  textDocument: {
    diagnostic: { dynamicRegistration: true },
    completion: { completionItem: { snippetSupport: true } },
    definition: { linkSupport: true },
    documentSymbol: { hierarchicalDocumentSymbolSupport: true },
    foldingRange: { rangeLimit: 5000, lineFoldingOnly: true },
    documentLink: { tooltipSupport: true },
    rename: { prepareSupport: true },
  },
  workspace: {
    textDocumentContent: {}, inlayHint: { refreshSupport: true }, diagnostics: { refreshSupport: true }, didChangeWatchedFiles: { dynamicRegistration: true },
    workspaceFolders: true, workspaceEdit: { documentChanges: true },
  },
};

export interface Message { method: string; params: unknown }

export class TestClient {
  /** Sent by the server and not yet awaited. */
  readonly unread: Message[] = [];
  /** Methods whose requests this client refuses. */
  readonly refused = new Set<string>();
  private readonly arrivals = new EventEmitter();
  private versions = new Map<string, number>();
  private ended = false;

  constructor(readonly connection: MessageConnection, private readonly exited: Promise<number | null>) {
    connection.onNotification((method, params) => this.arrived(method, Array.isArray(params) && params.length === 1 ? params[0] : params));
    connection.onUnhandledProgress((params) => this.arrived('$/progress', params));
    connection.onRequest((method, params) => {
      this.arrived(method, params);
      if (this.refused.has(method)) {
        throw new ResponseError(-32601, `${method} is not supported`);
      }
      return null;
    });
    connection.listen();
  }

  /** The server in this process. */
  static start({ engine = new FakeEngine(), ...runtime }: Partial<Omit<Runtime, 'startEngine'>> & { engine?: Engine } = {}): TestClient {
    const toServer = new PassThrough();
    const toClient = new PassThrough();
    let exit: (code: number) => void = () => undefined;
    const exited = new Promise<number>((done) => { exit = done; });
    const serverConnection = createConnection(
      (logger): ProtocolConnection => createProtocolConnection(new StreamMessageReader(toServer), new StreamMessageWriter(toClient), logger),
      { shutdownReceived: false, initialize: () => undefined, exit },
      ProposedFeatures.all,
    );
    startServer(serverConnection, { startEngine: () => engine, cacheFolder: null, problemDocs: 'file:///docs/problems.md', methodDocs: 'file:///docs/methods', listFolder: () => [], findFiles, readText, ...runtime });
    return new TestClient(createProtocolConnection(new StreamMessageReader(toClient), new StreamMessageWriter(toServer)) as MessageConnection, exited);
  }

  /** The built command line tool as a language server. */
  static spawn(): { client: TestClient; child: ChildProcessWithoutNullStreams } {
    const child = spawn(process.execPath, [cli, 'lsp', '--stdio'], { stdio: 'pipe' });
    const exited = once(child, 'exit').then(([code]) => code as number | null);
    return { client: new TestClient(createProtocolConnection(child.stdout, child.stdin) as MessageConnection, exited), child };
  }

  async initialize(capabilities: ClientCapabilities = vscodeCapabilities, more: object = {}): Promise<InitializeResult> {
    const result = await this.connection.sendRequest<InitializeResult>('initialize', { processId: null, rootUri: null, capabilities, ...more });
    await this.connection.sendNotification('initialized', {});
    if (capabilities.workspace?.didChangeWatchedFiles?.dynamicRegistration) {
      await this.next('client/registerCapability');
    }
    return result;
  }

  request<M extends keyof Requests>(method: M, params: Requests[M]['params']): Promise<Requests[M]['result']> {
    return this.connection.sendRequest(method, params);
  }

  ask<T>(method: string, params: object): Promise<T> {
    return this.connection.sendRequest<T>(method, params);
  }

  tell(method: string, params: object): Promise<void> {
    return this.connection.sendNotification(method, params);
  }

  /** The next message of this method, waited for when it has not come yet. */
  async next<T = unknown>(method: string): Promise<T> {
    for (;;) {
      const index = this.unread.findIndex((message) => message.method === method);
      if (index >= 0) {
        return this.unread.splice(index, 1)[0]?.params as T;
      }
      await once(this.arrivals, 'message');
    }
  }

  nextOf<M extends keyof Notifications>(method: M): Promise<Notifications[M]> {
    return this.next<Notifications[M]>(method);
  }

  /** Removes what has come of this method. */
  drop(method: string): unknown[] {
    const dropped = this.unread.filter((message) => message.method === method);
    this.unread.splice(0, this.unread.length, ...this.unread.filter((message) => message.method !== method));
    return dropped.map((message) => message.params);
  }

  /** Opens a document and waits until the server is done with it. */
  async open(text: string, path = '/project/model.quant.yaml'): Promise<string> {
    const uri = URI.file(path).toString();
    this.versions.set(uri, 1);
    await this.tell('textDocument/didOpen', { textDocument: { uri, languageId: 'quantconfig', version: 1, text } });
    await this.settled(uri);
    return uri;
  }

  /** Replaces the whole text, or what the changes say. */
  async change(uri: string, changes: string | object[], version = (this.versions.get(uri) ?? 0) + 1): Promise<void> {
    this.versions.set(uri, version);
    await this.tell('textDocument/didChange', { textDocument: { uri, version }, contentChanges: typeof changes === 'string' ? [{ text: changes }] : changes });
  }

  /** After a pause in typing the server says that the plan may have changed; refreshes it asks for come before. */
  async settled(uri: string): Promise<void> {
    assert.deepEqual(await this.next('quantscope/planChanged'), { uri });
    this.drop('workspace/inlayHint/refresh');
  }

  /** Clean end. @throws when something was left unread, or the server did not end with 0. */
  async end(): Promise<void> {
    this.ended = true;
    assert.equal(await this.connection.sendRequest('shutdown'), null);
    await this.connection.sendNotification('exit');
    assert.equal(await this.exited, 0);
    this.connection.dispose();
    assert.deepEqual(this.unread, [], 'the server sent what no one awaited');
  }

  /** For tests that end the server in another way. */
  async exitCode(): Promise<number | null> {
    this.ended = true;
    const code = await this.exited;
    this.connection.dispose();
    return code;
  }

  /** For afterEach: a test that forgets to end its client fails, unless it has failed already. */
  close(failed: boolean): void {
    assert.ok(this.ended || failed, 'the test did not end its client');
    this.connection.dispose();
  }

  private arrived(method: string, params: unknown): void {
    const { type } = (params ?? {}) as { type?: number };
    // Information in the log is for people; warnings and errors have to be expected by the test.
    if (method !== 'window/logMessage' || type === undefined || type <= 2) {
      this.unread.push({ method, params });
      this.arrivals.emit('message');
    }
  }
}

/** Call in a `describe`: starts clients, and fails tests that do not end theirs. */
export function clients(): (options?: Parameters<typeof TestClient.start>[0]) => TestClient {
  const started: TestClient[] = [];
  afterEach(function () {
    started.splice(0).forEach((client) => client.close(this.currentTest?.state === 'failed'));
  });
  return (options) => {
    const client = TestClient.start(options);
    started.push(client);
    return client;
  };
}

export const example = join(__dirname, '../../examples/glyph-dit.quant.yaml');

/** For a suite: the built server with its real engine and a config that is open. Ends both behind the suite, which must leave nothing running. */
export function withEngine(text: string): () => { client: TestClient; uri: string } {
  let open: { client: TestClient; uri: string } | undefined;
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-test-'));
  before(async () => {
    const { client } = TestClient.spawn();
    await client.initialize({}, { initializationOptions: { cacheDirectory: join(folder, 'cache'), engine: { threads: 2 } } });
    open = { client, uri: await client.open(text, join(folder, 'a.quant.yaml')) };
    client.drop('textDocument/publishDiagnostics');
  });
  after(async () => {
    const { client } = open as { client: TestClient };
    client.unread.splice(0);
    await client.ask('shutdown', {});
    await client.tell('exit', {});
    assert.equal(await client.exitCode(), 0);
    rmSync(folder, { recursive: true, force: true });
  });
  return () => open as { client: TestClient; uri: string };
}

/** A language feature as the server wires it: what it tells the client at the start, and its handlers. What it answers is computed in language/. */
import type { CancellationToken, ClientCapabilities, Connection, ResponseError, ServerCapabilities } from 'vscode-languageserver';
import type { CheckpointStore } from '../checkpoint';
import type { DialectModel } from '../language/dialects/model';
import type { Model } from '../language/model';
import type { Runtime } from '../runtime';
import type { Workspace } from '../workspace';

export interface FeatureContext {
  readonly connection: Connection;
  readonly runtime: Runtime;
  readonly store: CheckpointStore;
  readonly workspace: Workspace;
  /** What the client said it can. */
  readonly client: ClientCapabilities;
  /** Of an open config, as its text is now; undefined for any other document. */
  model(uri: string): Promise<Model> | undefined;
  /** What an open file of other tools holds, several configs where it is Python; undefined for any other document. */
  dialects(uri: string): Promise<DialectModel[]> | undefined;
  /** Listens for configs whose text or files have changed, once there is a pause. */
  onSettled(listener: (uri: string) => void): void;
  /** Listens for files that change on the disk, and for documents that are opened or closed. */
  onFilesChanged(listener: (onDisk: boolean) => void): void;
  /** Answers for an open config, with `ofDialects` also for a file of another tool, null for any other document. What fails is logged and answers null; a ResponseError is for the user. */
  onModel<T>(uri: string, what: string, token: CancellationToken, feature: (model: Model) => T | Promise<T>, ofDialects?: (models: readonly DialectModel[]) => T | Promise<T>): Promise<T | null | ResponseError<never>>;
  /** The same for what looks at no config, or at several. */
  safely<T>(what: string, fallback: T, token: CancellationToken, work: () => Promise<T>): Promise<T | ResponseError<never>>;
}

export interface Feature {
  /** Merged with those of all others; `workspace` member by member. */
  capabilities(client: ClientCapabilities): ServerCapabilities;
  /** Called once, when the client is known. */
  register(context: FeatureContext): void;
}

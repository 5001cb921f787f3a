/** What request handlers see of the server. */
import { dirname } from 'node:path';
import type { CancellationToken } from 'vscode-languageserver';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import type { ReportCache } from '../analysis/cache';
import type { CheckpointStore } from '../checkpoint';
import type { Engine } from '../engine/client';
import type { DialectModel } from '../language/dialects/model';
import type { Model } from '../language/model';
import type { Workspace } from '../workspace';
import type { LayerReport, Notifications, Plan, Requests } from '../protocol';

export type PlannedModel = Model & { plan: Plan };

export interface RequestContext {
  readonly store: CheckpointStore;
  readonly workspace: Workspace;
  readonly engine: Engine;
  /** Of layer reports. */
  readonly cache: ReportCache;
  /** Where trajectories, statistics and fitted layers are kept; null for nowhere. */
  readonly cacheFolder: string | null;
  /** Of an open document, as its text is now. */
  model(uri: string): Promise<Model> | undefined;
  /** What an open file of other tools holds, several configs where it is Python; undefined for any other document. */
  dialects(uri: string): Promise<DialectModel[]> | undefined;
  /** Of a text that may be a file of another tool, with the checkpoint that is beside it or that the user chose. */
  dialectsOf(document: TextDocument): Promise<DialectModel[]>;
  /** What a job works on: an open config that has a plan, with its checkpoint as it is on the disk now. @throws ResponseError that says what is missing */
  planned(uri: string): Promise<PlannedModel>;
  /** Adds to what is known of the layers of a plan, for hovers, hints and the next `quantscope/plan`. */
  learned(uri: string, model: PlannedModel, reports: readonly LayerReport[]): Promise<void>;
  /** Runs a job with work-done progress and a busy status. */
  working<T>(title: string, token: string | number | undefined, job: (report: (fraction: number, what: string) => void) => Promise<T>): Promise<T>;
  onRequest<M extends keyof Requests>(method: M, handler: (params: Requests[M]['params'], token: CancellationToken) => Promise<Requests[M]['result']>): void;
  notify<M extends keyof Notifications>(method: M, params: Notifications[M]): void;
}

/** Where prompts and other files that a config names are looked up. */
export function baseOf(uri: string): string { return dirname(URI.parse(uri).fsPath); }

// What was asked about whole models, by config: the jobs that run, their results, and word of every change for the panels.
import * as vscode from 'vscode';
import type { Diagnosis, SensitivityEvent } from '../../webview/src/messages';
import { baseName } from './configs';
import { errorMessage } from './context';
import type { QuantScopeContext } from './context';
import { withJobProgress } from './jobs';

type Key = keyof Diagnosis;
type State<K extends Key> = NonNullable<Diagnosis[K]>;
export type DiagnosisEvent = Extract<SensitivityEvent, { type: 'diagnosis' | 'progress' | 'scores' }>;

export interface Question<K extends Key> {
  job: K;
  config: vscode.Uri;
  /** Of the notification. */
  title: string;
  /** What is known before anything has run. */
  start: Omit<State<K>, 'phase' | 'message' | 'percent' | 'result'>;
  ask: (workDoneToken: string, token: vscode.CancellationToken) => Promise<NonNullable<State<K>['result']>>;
}

const running = { phase: 'running', message: '', percent: 0 } as const;

export class Diagnoses implements vscode.Disposable {
  private readonly known = new Map<string, Diagnosis>();
  private readonly sources = new Map<string, vscode.CancellationTokenSource>();
  private readonly changes = new vscode.EventEmitter<{ uri: string; event: DiagnosisEvent }>();
  readonly onChange = this.changes.event;
  private readonly rankings: vscode.Disposable;

  constructor(private readonly context: QuantScopeContext) {
    this.rankings = context.onNotification('quantscope/ranking', ({ uri, by, planHash, scores, measured, total }) => {
      const { ranking } = this.of(uri);
      if (ranking?.phase === 'running' && ranking.by === by) {
        const names = new Set(scores.map(({ name }) => name));
        Object.assign(ranking, { planHash, measured, total, scores: [...ranking.scores.filter(({ name }) => !names.has(name)), ...scores] });
        this.changes.fire({ uri, event: { type: 'scores', scores, measured, total } });
      }
    });
  }

  of(uri: string): Diagnosis {
    let diagnosis = this.known.get(uri);
    if (diagnosis === undefined) {
      diagnosis = { ranking: null, firstBad: null, allocation: null };
      this.known.set(uri, diagnosis);
    }
    return diagnosis;
  }

  /** What a view kept over a reload of the window. What ran then runs no more. */
  restore(uri: string, saved: Partial<Diagnosis>): void {
    const diagnosis = this.of(uri);
    const stopped = <S extends { phase: string }>(state: S | null | undefined): S | null => (state?.phase === 'running' ? { ...state, phase: 'cancelled', message: '' } : (state ?? null));
    diagnosis.ranking ??= stopped(saved.ranking);
    diagnosis.firstBad ??= stopped(saved.firstBad);
    diagnosis.allocation ??= stopped(saved.allocation);
  }

  /** A job of the same kind for the same config gives way. Throws CancellationError when cancelled. */
  async run<K extends Key>({ job, config, title, start, ask }: Question<K>): Promise<NonNullable<State<K>['result']>> {
    const uri = config.toString();
    const key = `${job} ${uri}`;
    this.sources.get(key)?.cancel();
    const source = new vscode.CancellationTokenSource();
    this.sources.set(key, source);
    const current = (): boolean => this.sources.get(key) === source;
    this.set(uri, job, { ...start, ...running, result: null } as State<K>);
    try {
      const result = await withJobProgress(this.context, {
        title: `${title} · ${baseName(config)}`, source, request: (workDoneToken) => ask(workDoneToken, source.token),
        onProgress: (message, percent) => {
          const state = this.of(uri)[job];
          if (current() && state !== null) {
            Object.assign(state, { message, percent });
            this.changes.fire({ uri, event: { type: 'progress', job, message, percent } });
          }
        },
      });
      this.end(uri, job, current, { phase: 'finished', message: '', percent: 100, result });
      return result;
    } catch (error) {
      const cancelled = error instanceof vscode.CancellationError;
      this.end(uri, job, current, { phase: cancelled ? 'cancelled' : 'failed', message: cancelled ? '' : errorMessage(error) });
      throw error;
    } finally {
      source.dispose();
      if (current()) {
        this.sources.delete(key);
      }
    }
  }

  dispose(): void {
    this.rankings.dispose();
    this.changes.dispose();
  }

  /** One that gave way to another has nothing to say. */
  private end(uri: string, job: Key, current: () => boolean, change: object): void {
    const state = this.of(uri)[job];
    if (current() && state !== null) {
      this.set(uri, job, { ...state, ...change });
    }
  }

  private set<K extends Key>(uri: string, job: K, state: Diagnosis[K]): void {
    this.of(uri)[job] = state;
    this.changes.fire({ uri, event: { type: 'diagnosis', change: { [job]: state } } });
  }
}

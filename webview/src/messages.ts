/** Every message between a view and the extension, both directions. Types only: the extension imports them too. */
import type { AnalyzeResult, Checkpoint, LayerReport, Plan, TensorStats } from '../../server/src/protocol';

/** Each view: the requests it sends, and the events it is sent. */
export interface Views {
  checkpoint: {
    requests: {
      load: { params: null; result: CheckpointState };
      tensorStats: { params: { tensor: string }; result: TensorStats };
      newConfig: { params: null; result: null };
    };
    /** The file changed on disk: what is shown is out of date. */
    event: { type: 'changed' };
  };
  sensitivity: {
    requests: {
      load: { params: null; result: SensitivityState };
      analyze: { params: null; result: null };
      /** Shows the rule that decided a layer in the config's editor. */
      reveal: { params: { layer: string }; result: null };
    };
    event: SensitivityEvent;
  };
}

export interface CheckpointState { checkpoint: Checkpoint; fileName: string; /** Size of the file on disk, bytes. */ fileBytes: number }

export interface SensitivityState {
  /** The config's URI; the serializer reopens the panel with it. */
  uri: string;
  config: string;
  running: boolean;
  /** null while the config has no plan; `error` says why. */
  plan: Plan | null;
  reports: LayerReport[];
  failures: AnalyzeResult['failures'];
  error: string | null;
}

export type SensitivityEvent =
  | { type: 'state'; state: SensitivityState }
  | { type: 'running' }
  | { type: 'reports'; layers: LayerReport[]; done: number; total: number }
  | { type: 'ended'; reason: 'finished' | 'cancelled' | 'failed'; message: string | null };

export type ViewName = keyof Views;
export type Requests<V extends ViewName> = Views[V]['requests'];
export type Params<V extends ViewName, M extends keyof Requests<V>> = Requests<V>[M] extends { params: infer P } ? P : never;
export type Result<V extends ViewName, M extends keyof Requests<V>> = Requests<V>[M] extends { result: infer R } ? R : never;

export type FromView<V extends ViewName> =
  | { kind: 'request'; id: number; method: keyof Requests<V>; params: unknown }
  | { kind: 'cancel'; id: number };

export type ToView<V extends ViewName> =
  | { kind: 'response'; id: number; result: unknown }
  | { kind: 'failure'; id: number; message: string }
  | { kind: 'event'; event: Views[V]['event'] };

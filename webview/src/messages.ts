/** Every message between a view and the extension, both directions. Types only: the extension imports them too. */
import type {
  AllocateParams, AllocateResult, AnalyzeResult, BudgetText, CaptureCell, CaptureResult, Checkpoint, FirstBadResult, Half, LayerReport, Plan, PreviewFrame, PreviewResult, Score, SensitivityResult, SensitivityUnit, TensorStats,
} from '../../server/src/protocol';

/** Each view: the requests it sends, and the events it is sent. */
export interface Views {
  checkpoint: {
    requests: {
      load: { params: null; result: CheckpointState };
      tensorStats: { params: { tensor: string }; result: TensorStats };
      newConfig: { params: null; result: null };
      /** What every quantization file of the workspace does to this layer. */
      explain: { params: { layer: string }; result: null };
    };
    /** The file changed on disk: what is shown is out of date. */
    event: { type: 'changed' };
  };
  sensitivity: {
    requests: {
      load: { params: null; result: SensitivityState };
      analyze: { params: null; result: null };
      preview: { params: null; result: null };
      /** These three answer at once; events tell what becomes of them. */
      rank: { params: { by: SensitivityUnit }; result: null };
      findBad: { params: null; result: null };
      allocate: { params: { loss: AllocateParams['loss']; budget: BudgetText | null; verify: boolean }; result: null };
      /** Makes the edits of the last allocation in the config, without saving it. */
      apply: { params: null; result: null };
      /** Shows the rule that decided a layer in the config's editor. */
      reveal: { params: { layer: string }; result: null };
      explain: { params: { layer: string }; result: null };
    };
    event: SensitivityEvent;
  };
  capture: {
    requests: {
      /** The URIs of the file and of the config whose thresholds count are what the serializer reopens the panel with; '' for those of the capture. */
      load: { params: null; result: { uri: string; config: string; capture: CaptureResult } };
      cell: { params: { layer: string; half: Half; step: number }; result: CaptureCell };
    };
    /** The file was written anew; the config was edited, and its thresholds may be others. */
    event: { type: 'changed' | 'edited' };
  };
  preview: {
    requests: {
      load: { params: null; result: PreviewState };
      /** The same candidates once more. Answers at once; events tell what becomes of it. */
      run: { params: null; result: null };
      /** Shows the configs as deployed beside fake quantization, or no longer. Runs again where that was not run; answers at once. */
      deploy: { params: { on: boolean }; result: null };
      cancel: { params: null; result: null };
      /** Asks which picture when there are several, and where to. The answer is the file's name, null when the user changed their mind. */
      save: { params: { pictures: PictureFile[] }; result: string | null };
      copy: { params: { markdown: string }; result: null };
      /** Shows a candidate's config, and its rule where only one was applied. */
      goToConfig: { params: { candidate: number }; result: null };
    };
    event: PreviewEvent;
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
  /** Of the config; null without one, and while it has no plan. */
  budgetBytes: number | null;
  diagnosis: Diagnosis;
  /** The tab that a command asked for and that was not shown yet. */
  tab: SensitivityTab | null;
}

export type SensitivityTab = 'effect' | 'weights' | 'allocation';

/** What was asked about the whole model, and how far the answers are; null for what was never asked. */
export interface Diagnosis { ranking: RankingState | null; firstBad: FirstBadState | null; allocation: AllocationState | null }

export interface JobState {
  phase: 'running' | 'finished' | 'cancelled' | 'failed';
  /** What it is at, or why it failed. */
  message: string;
  /** 0..100 */
  percent: number;
}
export interface RankingState extends JobState { by: SensitivityUnit; /** Of the plan that is measured; empty until anything is known. */ planHash: string; /** As known so far, in no order. */ scores: Score[]; measured: number; total: number; result: SensitivityResult | null }
export interface FirstBadState extends JobState { result: FirstBadResult | null }
export interface AllocationState extends JobState { loss: AllocateParams['loss']; budget: BudgetText | null; /** Whether the best plans are run end to end. */ verify: boolean; result: AllocateResult | null }

export type SensitivityEvent =
  | { type: 'state'; state: SensitivityState }
  | { type: 'running' }
  | { type: 'show'; tab: SensitivityTab }
  | { type: 'diagnosis'; change: Partial<Diagnosis> }
  | { type: 'progress'; job: keyof Diagnosis; message: string; percent: number }
  | { type: 'scores'; scores: Score[]; measured: number; total: number }
  | { type: 'reports'; layers: LayerReport[]; done: number; total: number }
  | { type: 'ended'; reason: 'finished' | 'cancelled' | 'failed'; message: string | null };

/** What a preview is of. `label` stands until the server names the candidate. */
export interface PreviewSource { uri: string; rule?: number; label: string }
/** A finished run without its pictures: what is kept over a reload of the window. */
export type PreviewSummary = Omit<PreviewResult, 'frames'>;
/** What a run is at, and how far: 0..100, null where nobody knows. */
export interface PreviewActivity { message: string; percent: number | null }
export type PreviewPhase = 'idle' | 'running' | 'finished' | 'cancelled' | 'failed';

export interface PreviewState {
  /** The first one names the panel; the serializer reopens the panel with them. */
  candidates: PreviewSource[];
  /** Configs are shown as deployed too, and every run includes that. The serializer keeps it. */
  asDeployed: boolean;
  /** Of the run that pictures and numbers are of: in these, every candidate is followed by itself as deployed. */
  withDeployed: boolean;
  phase: PreviewPhase;
  /** Why it failed; null otherwise. */
  message: string | null;
  activity: PreviewActivity;
  items: string[];
  frames: PreviewFrame[];
  /** null until a run has finished. */
  result: PreviewSummary | null;
  /** A config was edited after the run began. */
  outdated: boolean;
}

export type PreviewEvent =
  | { type: 'state'; state: PreviewState }
  | { type: 'progress'; activity: PreviewActivity }
  | { type: 'frame'; frame: PreviewFrame; items: string[] }
  | { type: 'ended'; phase: Exclude<PreviewPhase, 'running'>; message: string | null; result: PreviewSummary | null }
  | { type: 'outdated' };

/** `png` is base64. */
export interface PictureFile { title: string; fileName: string; png: string }

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

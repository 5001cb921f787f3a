/** Custom messages: what they take and answer. */
import type { Allocation, BudgetText, LossKind, PlanChange, TextChange } from './allocation';
import type { CaptureCell, CaptureResult, Half } from './capture';
import type { Checkpoint } from './checkpoint';
import type { ExportConfigParams, ExportConfigResult, ExportTarget, ImportConfigParams, ImportConfigResult } from './conversion';
import type { ExplainLayerParams, LayerExplanation, LayersAt, LayersAtParams } from './explain';
import type { FirstBad } from './firstBad';
import type { Plan } from './plan';
import type { PreviewEstimate, PreviewFrame, PreviewResult } from './preview';
import type { EngineInfo, LayerReport, TensorStats } from './reports';
import type { Score, Sensitivity, SensitivityUnit } from './sensitivity';

export interface AnalyzeParams {
  /** The config. Its text in the editor counts, saved or not. */
  uri: string;
  /** Pattern list that narrows the layers. */
  layers?: string[];
  /** Measure at most this many rows of every layer. */
  sampleRows?: number;
  workDoneToken?: string | number;
}
export interface AnalyzeResult { plan: Plan; layers: LayerReport[]; failures: { name: string; message: string }[]; cached: number; milliseconds: number }
/** Sent as layers become known, so that charts fill while the job runs. */
export interface ReportsParams { uri: string; layers: LayerReport[]; done: number; total: number }

export interface PlanParams { uri: string }
export interface PlanResult { plan: Plan; reports: LayerReport[]; /** What the config's budget comes to for the whole checkpoint; null without one. */ budgetBytes: number | null }

export interface CheckpointParams { path: string }
export interface TensorStatsParams { path: string; tensor: string }
/** A method that a new config can start from; `schemes` are those of its paper, the usual one first. */
export interface OfferedMethod { name: string; title: string; /** Markdown: what it does and when it wins. */ summary: string; schemes: readonly string[] }
export interface NewConfigParams { checkpoint: string; method: string; scheme: string; /** Folder the config will live in. */ folder: string }
export interface NewConfigResult { text: string; fileName: string }
export interface WriteReportParams {
  uri: string;
  /** False leaves out what needs runs of the model: pictures and sensitivities. */
  modelRuns?: boolean;
  workDoneToken?: string | number;
}
/** Paths of the files written. `images`: pictures of their own, where those were asked for. */
export interface WriteReportResult { html: string; markdown: string; json: string; images?: string[] }
/** What the model runs of a report take, seconds; 0 when the model cannot run. Sensitivities are part of `seconds`. */
export interface ReportEstimate { seconds: number; sensitivitySeconds: number }

export interface PreviewParams {
  /** Compared with the same reference, side by side. All must name the same checkpoint and settings; those of the first count. */
  candidates: { uri: string; /** Apply only this rule (index), everything else in full precision. */ rule?: number }[];
  /** Every candidate is followed by itself with its layers on integers, as a deployed model runs them and as far as they can: pictures and results hold twice as many. */
  asDeployed?: boolean;
  /** Sent back with every picture. */
  session: number;
  workDoneToken?: string | number;
}
/** One estimate for all candidates of a preview; the reference they share counts once. */
export interface PreviewEstimateParams { uris: string[]; asDeployed?: boolean }
/** Pictures as they become known. */
export interface PreviewFrameParams { session: number; frame: PreviewFrame; items: string[] }

export interface CaptureParams {
  uri: string;
  /** Safetensors file to write. What is there is replaced. */
  path: string;
  workDoneToken?: string | number;
}
export interface OpenCaptureParams { path: string; /** Open config whose thresholds count; without it those of the capture do. */ uri?: string }
export interface CaptureCellParams { path: string; layer: string; half: Half; step: number }

export interface SensitivityParams {
  uri: string;
  by: SensitivityUnit;
  /** Time steps to compare; as in the config's preview when absent. */
  steps?: number;
  /** Stop after the first ranking. */
  estimateOnly?: boolean;
  workDoneToken?: string | number;
}
/** planHash: of the plan that was measured. */
export interface SensitivityResult { planHash: string; sensitivity: Sensitivity }
/** Scores as they become known: at first an estimate of every one, then measured ones, each in the place of its estimate. */
export interface RankingParams { uri: string; by: SensitivityUnit; planHash: string; scores: Score[]; /** How many are measured so far, of how many. */ measured: number; total: number }

export interface FirstBadParams { uri: string; steps?: number; workDoneToken?: string | number }
export interface FirstBadResult { planHash: string; firstBad: FirstBad }

export interface AllocateParams {
  uri: string;
  /** That of the config when absent. */
  budget?: BudgetText;
  /** `W4A4`, `rtn:W4A16`, `keep`; the usual ones when absent. */
  options?: string[];
  /** Patterns of the layers to choose for; those that `defaults` decides when absent. */
  layers?: string[];
  loss: Exclude<LossKind, 'given'>;
  /** Run the best plans end to end and recommend the best of them; at most so many plans (usually 10), from so many seeds (2). */
  verify?: { finalists?: number; seeds?: number };
  workDoneToken?: string | number;
}
export interface AllocateResult {
  allocation: Allocation;
  changes: PlanChange[];
  /** What to change in the config, from top to bottom; nothing has been changed yet. */
  edits: TextChange[];
  /** Hashes of the plan before and after, and SHA-256 of the text that the edits belong to. */
  planHash: string;
  newPlanHash: string;
  textHash: string;
}

/** Health of the server and its engine, for the status item. */
export interface StatusParams {
  health: 'ok' | 'busy' | 'warning' | 'error';
  message: string;
  engine: 'idle' | 'starting' | 'running' | 'stopped' | 'failed';
  info: EngineInfo | null;
}

/** Method names, requests first, then notifications. The value type names parameter and result. */
export interface Requests {
  'quantscope/analyze': { params: AnalyzeParams; result: AnalyzeResult };
  'quantscope/plan': { params: PlanParams; result: PlanResult };
  'quantscope/checkpoint': { params: CheckpointParams; result: Checkpoint };
  'quantscope/tensorStats': { params: TensorStatsParams; result: TensorStats };
  'quantscope/methods': { params: null; result: OfferedMethod[] };
  'quantscope/newConfig': { params: NewConfigParams; result: NewConfigResult };
  'quantscope/importConfig': { params: ImportConfigParams; result: ImportConfigResult };
  'quantscope/exportTargets': { params: null; result: ExportTarget[] };
  'quantscope/exportConfig': { params: ExportConfigParams; result: ExportConfigResult };
  'quantscope/writeReport': { params: WriteReportParams; result: WriteReportResult };
  'quantscope/reportEstimate': { params: PlanParams; result: ReportEstimate };
  'quantscope/preview': { params: PreviewParams; result: PreviewResult };
  'quantscope/previewEstimate': { params: PreviewEstimateParams; result: PreviewEstimate };
  'quantscope/capture': { params: CaptureParams; result: CaptureResult };
  'quantscope/openCapture': { params: OpenCaptureParams; result: CaptureResult };
  'quantscope/captureCell': { params: CaptureCellParams; result: CaptureCell };
  'quantscope/sensitivity': { params: SensitivityParams; result: SensitivityResult };
  'quantscope/firstBad': { params: FirstBadParams; result: FirstBadResult };
  'quantscope/allocate': { params: AllocateParams; result: AllocateResult };
  'quantscope/layersAt': { params: LayersAtParams; result: LayersAt };
  'quantscope/explainLayer': { params: ExplainLayerParams; result: LayerExplanation };
  'quantscope/restartEngine': { params: null; result: EngineInfo };
}
export interface Notifications {
  'quantscope/reports': ReportsParams;
  'quantscope/planChanged': { uri: string };
  'quantscope/previewFrame': PreviewFrameParams;
  'quantscope/ranking': RankingParams;
  'quantscope/status': StatusParams;
}

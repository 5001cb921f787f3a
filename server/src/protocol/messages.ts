/** Custom messages: what they take and answer. */
import type { CaptureCell, CaptureResult, Half } from './capture';
import type { Checkpoint } from './checkpoint';
import type { Plan } from './plan';
import type { PreviewEstimate, PreviewFrame, PreviewResult } from './preview';
import type { EngineInfo, LayerReport, TensorStats } from './reports';

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
export interface PlanResult { plan: Plan; reports: LayerReport[] }

export interface CheckpointParams { path: string }
export interface TensorStatsParams { path: string; tensor: string }
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
  /** Sent back with every picture. */
  session: number;
  workDoneToken?: string | number;
}
/** One estimate for all candidates of a preview; the reference they share counts once. */
export interface PreviewEstimateParams { uris: string[] }
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
  'quantscope/newConfig': { params: NewConfigParams; result: NewConfigResult };
  'quantscope/writeReport': { params: WriteReportParams; result: WriteReportResult };
  'quantscope/reportEstimate': { params: PlanParams; result: ReportEstimate };
  'quantscope/preview': { params: PreviewParams; result: PreviewResult };
  'quantscope/previewEstimate': { params: PreviewEstimateParams; result: PreviewEstimate };
  'quantscope/capture': { params: CaptureParams; result: CaptureResult };
  'quantscope/openCapture': { params: OpenCaptureParams; result: CaptureResult };
  'quantscope/captureCell': { params: CaptureCellParams; result: CaptureCell };
  'quantscope/restartEngine': { params: null; result: EngineInfo };
}
export interface Notifications {
  'quantscope/reports': ReportsParams;
  'quantscope/planChanged': { uri: string };
  'quantscope/previewFrame': PreviewFrameParams;
  'quantscope/status': StatusParams;
}

/** Messages between the engine's client and its host process. Both ends are built together, so they carry no version. The channel clones structures, so typed arrays travel as they are. */
import { ProgressType, RequestType, RequestType0 } from 'vscode-jsonrpc';
import type { EngineInfo } from '../protocol';
import type { BasisFit, BasisRequest, ColumnRange, DequantizeLayerRequest, DequantizedLayer, LayerFit, Measurement, MeasureRequest, OutlierRotationFit, OutlierRotationRequest, QuantizeLayerRequest, ReconstructBlockRequest, ReconstructedBlock, SecondMomentsFile, StatsRequest, StatsResult, TensorRef, TransformRequest, TransformedSample } from './addon';
import type { Program, RunRequest, RunResult } from './graph';

/** `token` names the progress stream of this job. */
export interface JobParams<T> { request: T; token: number }
/** What a failed job carries in the error's `data`. NOT_OPEN: this process has no graph under that key, or no longer. */
export interface JobErrorData { code: 'CANCELLED' | 'IO' | 'ARGUMENT' | 'MEMORY' | 'DEVICE' | 'INTERNAL' | 'NOT_OPEN' }

/** Graphs the host keeps open. Beyond that, the one that has not run for longest is closed. */
export const openGraphs = 2;

export const InfoRequest = new RequestType0<EngineInfo, JobErrorData>('info');
export const MeasureJob = new RequestType<JobParams<MeasureRequest>, Measurement, JobErrorData>('measure');
export const StatsJob = new RequestType<JobParams<StatsRequest>, StatsResult, JobErrorData>('stats');
export const ColumnRangeJob = new RequestType<JobParams<{ tensor: TensorRef }>, ColumnRange, JobErrorData>('columnRange');
export const OutlierRotationJob = new RequestType<JobParams<OutlierRotationRequest>, OutlierRotationFit, JobErrorData>('fitOutlierRotation');
export const BasisJob = new RequestType<JobParams<BasisRequest>, BasisFit, JobErrorData>('fitBasis');
export const TransformJob = new RequestType<JobParams<TransformRequest>, TransformedSample, JobErrorData>('applyTransforms');
export const QuantizeLayerJob = new RequestType<JobParams<QuantizeLayerRequest>, LayerFit, JobErrorData>('quantizeLayer');
export const DequantizeLayerJob = new RequestType<JobParams<DequantizeLayerRequest>, DequantizedLayer, JobErrorData>('dequantizeLayer');
export const ReconstructBlockJob = new RequestType<JobParams<ReconstructBlockRequest>, ReconstructedBlock, JobErrorData>('reconstructBlock');
/** `key` names the graph from then on. */
export const OpenGraphRequest = new RequestType<{ key: string; program: Program }, null, JobErrorData>('openGraph');
export const CloseGraphRequest = new RequestType<{ key: string }, null, JobErrorData>('closeGraph');
export const RunJob = new RequestType<JobParams<{ key: string; run: RunRequest }>, RunResult, JobErrorData>('run');
export const TakeSecondMomentsJob = new RequestType<JobParams<{ key: string; folder: string }>, SecondMomentsFile[], JobErrorData>('takeSecondMoments');
export const JobProgress = new ProgressType<number>();

/** Messages between the engine's client and its host process. Both ends are built together, so they carry no version. */
import { ProgressType, RequestType, RequestType0 } from 'vscode-jsonrpc';
import type { EngineInfo } from '../protocol';
import type { Measurement, MeasureRequest, StatsRequest, StatsResult } from './addon';

/** `token` names the progress stream of this job. */
export interface JobParams<T> { request: T; token: number }
/** What a failed job carries in the error's `data`. */
export interface JobErrorData { code: 'CANCELLED' | 'IO' | 'ARGUMENT' | 'MEMORY' | 'INTERNAL' }

export const InfoRequest = new RequestType0<EngineInfo, JobErrorData>('info');
export const MeasureJob = new RequestType<JobParams<MeasureRequest>, Measurement, JobErrorData>('measure');
export const StatsJob = new RequestType<JobParams<StatsRequest>, StatsResult, JobErrorData>('stats');
export const JobProgress = new ProgressType<number>();

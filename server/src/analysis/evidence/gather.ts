/** Everything a report is made of, for the command line and the editor alike. What cannot be found is not left out but says why. */
import { dirname, sep } from 'node:path';
import type { CancellationToken } from 'vscode-jsonrpc';
import { URI } from 'vscode-uri';
import { CheckpointError } from '../../checkpoint';
import type { LoadedConfig } from '../../config/load';
import { thresholdsOf } from '../../config/thresholds';
import { EngineError } from '../../engine/client';
import type { Engine } from '../../engine/client';
import { ModelError } from '../../models/builder';
import type { PreviewConfig } from '../../preview/service';
import type { Capture, LayerReport, Plan, PreviewSettings, SensitivityUnit } from '../../protocol';
import { requestFor, withWorkFolder } from '../../quantize/recipes';
import { SamplerError } from '../../samplers';
import type { ReportCache } from '../cache';
import { analyze } from '../report';
import type { SensitivityRequest } from '../sensitivity';
import { buildEvidence } from '.';
import type { Evidence, Section } from '.';
import { compareSeeds } from './comparison';
import type { Gate } from './gates';
import { checkpointIdentity, configIdentity } from './identity';
import { rank } from './ranking';
import type { RankingMode } from './ranking';

/** Two tell of a spread, and a third says whether it is one. */
export const defaultSeeds = 3;

export interface EvidenceRequest {
  loaded: LoadedConfig & { plan: Plan };
  /** Of the config file. */
  path: string;
  /** Of the config, as it was loaded. */
  text: string;
  /** null keeps nothing. */
  cacheFolder: string | null;
  /** Patterns that narrow which layers are measured; pictures are of the whole plan. */
  layers?: readonly string[] | undefined;
  sampleRows?: number | undefined;
  /** null leaves pictures out. */
  preview: { seeds: number; mode?: PreviewSettings['mode'] | undefined } | null;
  sensitivity: RankingMode | 'none';
  /** What is ranked when it is not known yet. */
  by: SensitivityUnit;
  /** Hash weights however large they are. */
  hash: boolean;
  gates: readonly Gate[];
  capture: Capture | null;
  cancellation?: CancellationToken | undefined;
  onReport?(report: LayerReport, done: number, total: number): void;
  onProgress?(fraction: number, what: string): void;
}

/** @throws EngineError, CheckpointError when files change meanwhile */
export async function gatherEvidence(request: EvidenceRequest, engine: Engine, cache: ReportCache): Promise<Evidence> {
  const { loaded, path, text, layers, sampleRows, preview, sensitivity, cancellation, gates, capture } = request;
  const { checkpoint, plan, problems } = loaded;
  if (!checkpoint) {
    throw new ModelError('This config has no plan: see its problems.');
  }
  return withWorkFolder(request.cacheFolder, async (folder) => {
    const phase = phases(request, [['weights', 1], ['hash', 0.2], ['preview', preview ? 4 : 0], ['ranking', sensitivity === 'none' ? 0 : 4]]);
    const folders = [dirname(checkpoint.path), dirname(path)];
    const onReport = request.onReport?.bind(request);
    const analysis = await analyze(requestFor(loaded, dirname(path), { folder }), engine, cache, { layers, sampleRows, cancellation, onProgress: phase('weights'), ...(onReport ? { onReport } : {}) });
    const identity = await checkpointIdentity(checkpoint, { whatever: request.hash, cancellation, onProgress: phase('hash') });
    const comparison = preview === null ? { missing: 'Left out: this report was made without a preview.' }
      : await section(folders, () => compareSeeds(previewConfig(request), { ...preview, cacheFolder: folder, cancellation, onProgress: phase('preview') }, engine));
    const ranking = sensitivity === 'none' ? { missing: 'Left out: this report was made without sensitivities.' }
      : await section(folders, () => rank(rankingRequest({ ...request, onProgress: phase('ranking') }, folder), sensitivity, engine));
    return buildEvidence({ config: await configIdentity(path, text), identity, plan, analysis, comparison, ranking, gates, problems, capture, thresholds: thresholdsOf(loaded.parsed.config.findings?.value), engine: await engine.info(), date: new Date() });
  });
}

export function previewConfig({ path, loaded }: Pick<EvidenceRequest, 'path' | 'loaded'>): PreviewConfig {
  return { uri: URI.file(path).toString(), loaded };
}

export function rankingRequest({ loaded, path, by, cancellation, onProgress }: EvidenceRequest, cacheFolder: string | null): SensitivityRequest {
  return { loaded, base: dirname(path), by, cacheFolder, cancellation, ...(onProgress ? { onProgress } : {}) };
}

/** What a model or its files make impossible is said in the report; a crash, a cancel or files that change end it. @param folders are nobody's business who reads it elsewhere */
async function section<T>(folders: readonly string[], find: () => Promise<T>): Promise<Section<T>> {
  try {
    return { found: await find() };
  } catch (error) {
    if (isOfSection(error)) {
      return { missing: folders.reduce((message, folder) => message.replaceAll(folder + sep, ''), error.message) };
    }
    throw error;
  }
}

export function isOfSection(error: unknown): error is Error {
  return error instanceof ModelError || error instanceof SamplerError || (error instanceof CheckpointError && error.problem.code !== 'checkpoint/changed')
    || (error instanceof EngineError && ['IO', 'ARGUMENT', 'MEMORY'].includes(error.code));
}

/** One bar over phases of about these weights. */
function phases({ onProgress }: EvidenceRequest, weights: readonly (readonly [string, number])[]): (name: string) => (fraction: number, what: string) => void {
  const total = weights.reduce((sum, [, weight]) => sum + weight, 0);
  return (name) => {
    const index = weights.findIndex(([each]) => each === name);
    const [from, weight] = [weights.slice(0, index).reduce((sum, [, each]) => sum + each, 0), weights[index]?.[1] ?? 0];
    return (fraction, what) => onProgress?.((from + weight * Math.min(1, fraction)) / total, what);
  };
}

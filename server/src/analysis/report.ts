/** Plan → LayerReport per layer: asks the engine for what the cache does not know, and prepares what recipes have to know first. */
import type { CancellationToken } from 'vscode-jsonrpc';
import { requireUnchanged } from '../checkpoint';
import { compileGlob } from '../config/glob';
import { EngineError } from '../engine/client';
import type { Engine, JobOptions } from '../engine/client';
import type { MeasureRequest } from '../engine/addon';
import { ModelError } from '../models/builder';
import type { LayerPlan, LayerReport, Plan } from '../protocol';
import { fitIdentities } from '../quantize/recipes';
import type { PlanRequest } from '../quantize/recipes';
import { reportKey } from './cache';
import type { ReportCache } from './cache';
import { measureFitted, prepareFor } from './fitted';
import type { FittedMeasurement } from './fitted';

export const histogramBins = 96;
/** Rotation of the `after` marginal where the recipe has none: would rotating help? */
const diagnosticSeed = 0;

export interface AnalyzeOptions {
  /** Patterns that narrow the layers; all when absent. */
  layers?: readonly string[] | undefined;
  sampleRows?: number | undefined;
  cancellation?: CancellationToken | undefined;
  onReport?(report: LayerReport, done: number, total: number): void;
  /** 0..1 over all parameters to measure, and the layer in work. */
  onProgress?(fraction: number, layer: string): void;
}

export interface Analysis { layers: LayerReport[]; failures: { name: string; message: string }[]; cached: number }

/** Share of the bar for calibration and solvers, where layers need them. */
const preparingShare = 0.8;

/** One layer's failure (a damaged tensor) is reported and the rest goes on; a dead engine, a cancel or a checkpoint that changes ends the run. @throws EngineError, CheckpointError, ModelError */
export async function analyze(request: PlanRequest, engine: Engine, cache: ReportCache, options: AnalyzeOptions = {}): Promise<Analysis> {
  const { plan } = request;
  const { layers: patterns, sampleRows = 0, cancellation, onProgress } = options;
  const selected = selectLayers(plan, patterns);
  const identities = await fitIdentities(request, engine);
  const known = new Map<string, LayerReport>();
  for (const layer of selected) {
    const report = await knownReport(layer, keysOf(layer, identities, plan, engine, sampleRows), cache);
    if (report) {
      known.set(layer.name, report);
    }
  }
  const fitted = new Set(selected.filter(({ name }) => identities.has(name) && !known.has(name)).map(({ name }) => name));
  const start = fitted.size > 0 ? preparingShare : 0;
  const preparedOf = fitted.size > 0 ? await prepareFor({ ...request, cancellation, onProgress: (fraction, what) => onProgress?.(start * fraction, what) }, fitted, engine) : undefined;

  const result: Analysis = { layers: [], failures: [], cached: 0 };
  const total = selected.reduce((sum, layer) => sum + layer.params, 0) || 1;
  let done = 0;
  const progress = (params: number, name: string): void => onProgress?.(start + ((1 - start) * (done + params)) / total, name);
  for (const layer of selected) {
    if (cancellation?.isCancellationRequested) {
      throw new EngineError('CANCELLED', 'Cancelled.');
    }
    let report = known.get(layer.name);
    if (report) {
      result.cached++;
    } else {
      try {
        const job: JobOptions = { cancellation, progress: (fraction) => progress(fraction * layer.params, layer.name) };
        const measured = preparedOf && fitted.has(layer.name) ? await measureFitted(layer, preparedOf(layer), request, measureRequest(layer, 0), engine, job)
          : { ...await engine.measure(measureRequest(layer, sampleRows), job), rotated: layer.recipe.rotate !== null };
        await requireUnchanged(plan);
        report = toReport(layer, measured, keysOf(layer, identities, plan, engine, sampleRows)[0] ?? '');
        await cache.put(report);
      } catch (error) {
        if (error instanceof ModelError || (error instanceof EngineError && ['IO', 'ARGUMENT', 'MEMORY'].includes(error.code))) {
          result.failures.push({ name: layer.name, message: error.message });
        } else {
          throw error;
        }
      }
    }
    done += layer.params;
    progress(0, layer.name);
    if (report) {
      result.layers.push(report);
      options.onReport?.(report, result.layers.length + result.failures.length, selected.length);
    }
  }
  return result;
}

/** What earlier runs have measured, without starting the engine. @throws as fitIdentities */
export async function knownReports(request: Omit<PlanRequest, 'folder'>, engine: Engine, cache: ReportCache): Promise<LayerReport[]> {
  const { plan } = request;
  const identities = await fitIdentities(request, engine);
  const reports = await Promise.all(plan.layers.map((layer) => knownReport(layer, keysOf(layer, identities, plan, engine, 0), cache)));
  return reports.filter((report) => report !== undefined);
}

async function knownReport({ name }: LayerPlan, keys: readonly string[], cache: ReportCache): Promise<LayerReport | undefined> {
  for (const key of keys) {
    const report = await cache.get(key);
    if (report) {
      return { ...report, name }; // the same bytes may stand under another name
    }
  }
  return undefined;
}

/** A report's keys, one for each device that may measure; it is kept under the first. A fitted or packed layer is measured whole, whatever share of the rows is asked for. */
function keysOf(layer: LayerPlan, identities: ReadonlyMap<string, unknown>, { revision }: Plan, engine: Engine, sampleRows: number): string[] {
  const fitted = identities.get(layer.name);
  const request = measureRequest(layer, fitted === undefined ? sampleRows : 0);
  return engine.devices('weight diagnostics').map((device) => reportKey(request, revision, `${engine.identity()}${device}`, fitted));
}

export function selectLayers(plan: Plan, patterns: readonly string[] | undefined): LayerPlan[] {
  const globs = patterns?.map((pattern) => compileGlob(pattern));
  return globs ? plan.layers.filter((layer) => globs.some((glob) => glob.test(layer.name))) : plan.layers;
}

export function measureRequest(layer: LayerPlan, sampleRows: number): MeasureRequest {
  const { file, offset, dtype, shape } = layer.tensor;
  const { rotate } = layer.recipe;
  return { tensor: { file, offset, dtype, shape }, rotate: rotate?.kind === 'rpbh' ? rotate : null, diagnosticSeed, weights: layer.recipe.weights, histogramBins, sampleRows };
}

function toReport(layer: LayerPlan, measured: FittedMeasurement, key: string): LayerReport {
  const { before, after, rho, rotated, relativeMse, expectedRelativeMse } = measured;
  return {
    name: layer.name,
    weight: { relativeMse, sqnrDb: relativeMse > 0 ? -10 * Math.log10(relativeMse) : null, expectedRelativeMse },
    marginal: { ...(rotated ? after : before), rho, rotated, before, after },
    rows: measured.rows, sampledRows: measured.sampledRows, zeroRows: measured.zeroRows, nonFinite: measured.nonFinite, key,
  };
}

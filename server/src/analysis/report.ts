/** Plan → LayerReport per layer: asks the engine for what the cache does not know. */
import type { CancellationToken } from 'vscode-jsonrpc';
import { requireUnchanged } from '../checkpoint';
import { compileGlob } from '../config/glob';
import { EngineError } from '../engine/client';
import type { Engine } from '../engine/client';
import type { Measurement, MeasureRequest } from '../engine/addon';
import type { LayerPlan, LayerReport, Plan, Recipe } from '../protocol';
import { reportKey } from './cache';
import type { ReportCache } from './cache';

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

/** One layer's failure (a damaged tensor) is reported and the rest goes on; a dead engine, a cancel or a checkpoint that changes ends the run. @throws EngineError, CheckpointError */
export async function analyze(plan: Plan, engine: Engine, cache: ReportCache, options: AnalyzeOptions = {}): Promise<Analysis> {
  const build = engine.identity();
  const selected = selectLayers(plan, options.layers);
  const result: Analysis = { layers: [], failures: [], cached: 0 };
  const total = selected.reduce((sum, layer) => sum + layer.params, 0) || 1;
  let done = 0;
  for (const layer of selected) {
    if (options.cancellation?.isCancellationRequested) {
      throw new EngineError('CANCELLED', 'Cancelled.');
    }
    const request = measureRequest(layer, options.sampleRows ?? 0);
    const key = reportKey(request, plan.revision, build);
    const beyond = beyondRounding(layer.recipe);
    let report = beyond ? undefined : await cache.get(key);
    if (beyond) {
      result.failures.push({ name: layer.name, message: `The weight report rounds weights as they are, or behind "rotate: { kind: rpbh }"; this recipe also has ${beyond}. A preview shows what it does.` });
    } else if (report) {
      // The same bytes may stand under another name.
      report = { ...report, name: layer.name };
      result.cached++;
    } else {
      try {
        const measured = await engine.measure(request, {
          cancellation: options.cancellation,
          progress: (fraction) => options.onProgress?.((done + fraction * layer.params) / total, layer.name),
        });
        await requireUnchanged(plan);
        report = toReport(layer, measured, key);
        await cache.put(report);
      } catch (error) {
        if (error instanceof EngineError && ['IO', 'ARGUMENT', 'MEMORY'].includes(error.code)) {
          result.failures.push({ name: layer.name, message: error.message });
        } else {
          throw error;
        }
      }
    }
    done += layer.params;
    options.onProgress?.(done / total, layer.name);
    if (report) {
      result.layers.push(report);
      options.onReport?.(report, result.layers.length + result.failures.length, selected.length);
    }
  }
  return result;
}

/** What earlier runs have measured, without starting the engine. */
export async function knownReports(plan: Plan, engine: Engine, cache: ReportCache): Promise<LayerReport[]> {
  const build = engine.identity();
  const reports = await Promise.all(plan.layers.map((layer) => (beyondRounding(layer.recipe) ? undefined : cache.get(reportKey(measureRequest(layer, 0), plan.revision, build)))));
  return reports.flatMap((report, index) => (report ? [{ ...report, name: plan.layers[index]?.name ?? report.name }] : []));
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

/** Parts of a recipe that change weights before they are rounded, or how: the weight report knows none of them but RPBH. Kept weights are not rounded at all. */
function beyondRounding({ smooth, permute, rotate, tail, lowRank, solver, weights }: Recipe): string | undefined {
  const parts = [
    ...Object.entries({ smooth, permute, tail, lowRank }).flatMap(([name, part]) => (part ? [`"${name}"`] : [])),
    ...(rotate && rotate.kind !== 'rpbh' ? [`the rotation "${rotate.kind}"`] : []), ...(solver.kind === 'rtn' ? [] : [`the solver "${solver.kind}"`]),
  ];
  return weights.kind !== 'keep' && parts.length > 0 ? parts.join(', ') : undefined;
}

function toReport(layer: LayerPlan, measured: Measurement, key: string): LayerReport {
  const rotated = layer.recipe.rotate !== null;
  const { before, after, rho, relativeMse, expectedRelativeMse } = measured;
  return {
    name: layer.name,
    weight: { relativeMse, sqnrDb: relativeMse > 0 ? -10 * Math.log10(relativeMse) : null, expectedRelativeMse },
    marginal: { ...(rotated ? after : before), rho, rotated, before, after },
    rows: measured.rows, sampledRows: measured.sampledRows, zeroRows: measured.zeroRows, nonFinite: measured.nonFinite, key,
  };
}

/** The quantized model beside full precision from the same noise, over several seeds: numbers with their spread, and the pictures of the first seed. */
import type { Engine } from '../../engine/client';
import { preview } from '../../preview/service';
import type { PreviewConfig, PreviewHooks } from '../../preview/service';
import { calibrationDefaults } from '../../quantize/recipes';
import type { CalibrationSettings, PreviewAgreement, PreviewDevice, PreviewResult, PreviewSettings, PreviewStep } from '../../protocol';
import { agreementMetrics, spreadOf, stepMetrics } from './metrics';
import type { MetricId, Spread, StepMetricId } from './metrics';
import { choosePictures } from './pictures';
import type { PictureRow } from './pictures';

/** One item from one seed. */
export interface ItemNumbers { item: number; metrics: PreviewAgreement; perStep: PreviewStep[] }
export interface SeedRun { seed: number; reference: { finite: boolean; uniform: boolean }; items: ItemNumbers[] }

/** Of one metric over the seeds; a seed's value is the mean over its items. `worst` is the worst of every seed and item. */
export interface MetricSpread extends Spread { worst: { seed: number; item: number; /** Null when nothing differs, and when `finite` is false. */ value: number | null; finite: boolean } | null }

export interface ComparedStep { step: number; timestep: number; metrics: Record<StepMetricId, Spread> }

export interface Comparison {
  settings: PreviewSettings;
  seeds: number[];
  items: string[];
  /** Where the model ran; null for the processor. */
  device: PreviewDevice | null;
  /** Why nothing is compared: the reference of these seeds is not finite, or of one colour. Then there are no numbers at all. */
  refused: string | null;
  runs: SeedRun[];
  metrics: Record<MetricId, MetricSpread> | null;
  perStep: ComparedStep[];
  pictures: PictureRow[];
}

export interface ComparisonOptions extends Omit<PreviewHooks, 'onFrame' | 'onItem'> { seeds: number; mode?: PreviewSettings['mode'] | undefined }

/** @throws ModelError, SamplerError, CheckpointError when the model cannot be previewed; EngineError */
export async function compareSeeds(config: PreviewConfig, { seeds: count, mode, onProgress, ...hooks }: ComparisonOptions, engine: Engine): Promise<Comparison> {
  const runs: SeedRun[] = [];
  let first: PreviewResult | undefined;
  const { config: { preview: written, calibration } } = config.loaded.parsed;
  const seeds = seedsFrom(written?.value.seed ?? 0, count, calibration?.value ?? {});
  for (const [index, seed] of seeds.entries()) {
    const items: ItemNumbers[] = [];
    const result = await preview([config], {
      ...hooks, onProgress: (fraction, what) => onProgress?.((index + fraction) / count, `seed ${seed}: ${what}`),
      onItem: (_, item, metrics, perStep) => items.push({ item, metrics, perStep }),
    }, engine, { seed, ...(mode ? { mode } : {}) });
    runs.push({ seed, reference: { finite: result.reference.finite, uniform: result.reference.uniform }, items });
    first ??= result;
  }
  return summarize(first as PreviewResult, runs);
}

/** The config's own and those after it, without any that calibration runs start from: a plan must not be judged by what it was fitted to. */
export function seedsFrom(first: number, count: number, calibration: Partial<CalibrationSettings>): number[] {
  const { seed, trajectories } = { ...calibrationDefaults, ...calibration };
  const seeds = [first];
  for (let next = first + 1; seeds.length < count; next++) {
    if (next < seed || next >= seed + trajectories) {
      seeds.push(next);
    }
  }
  return seeds;
}

/** @param first run with its pictures */
export function summarize(first: PreviewResult, runs: readonly SeedRun[]): Comparison {
  const { settings, items, frames, device } = first;
  const common = { settings, seeds: runs.map(({ seed }) => seed), items, device };
  const refused = refusal(runs);
  if (refused !== null) {
    // Numbers against a broken reference mean nothing, so none may be quoted.
    return { ...common, refused, runs: runs.map((run) => ({ ...run, items: [] })), metrics: null, perStep: [], pictures: [] };
  }
  return {
    ...common, refused, runs: [...runs], metrics: Object.fromEntries(agreementMetrics.map(({ id }) => [id, metricSpread(runs, id)])) as Record<MetricId, MetricSpread>,
    perStep: stepSpreads(runs), pictures: choosePictures(frames, runs[0]?.items ?? [], items, settings),
  };
}

function refusal(runs: readonly SeedRun[]): string | null {
  const bad = (reason: (run: SeedRun) => boolean): string => runs.filter(reason).map(({ seed }) => seed).join(', ');
  const [broken, flat] = [bad(({ reference }) => !reference.finite), bad(({ reference }) => reference.uniform)];
  return broken !== '' ? `The full-precision reference holds NaN or infinite values (seed ${broken}), so nothing is compared with it. Check the checkpoint with "quantscope stats", then steps and guidance.`
    : flat !== '' ? `The full-precision reference is one flat value (seed ${flat}), so agreement with it would mean nothing and is not shown. Check class or prompt, steps and guidance.` : null;
}

function metricSpread(runs: readonly SeedRun[], id: MetricId): MetricSpread {
  const all = runs.flatMap(({ seed, items }) => items.map(({ item, metrics }) => ({ seed, item, value: metrics[id] })));
  const badness = ({ value }: { value: number | null }): number => (value === null ? -Infinity : Number.isFinite(value) ? -value : Infinity);
  const [worst] = all.sort((a, b) => badness(b) - badness(a));
  const finite = worst?.value === null || Number.isFinite(worst?.value);
  return { ...spreadOf(runs.map(({ items }) => meanOver(items.map(({ metrics }) => metrics[id])))), worst: worst ? { ...worst, value: finite ? worst.value : null, finite } : null };
}

/** As averages of previews: equal ones are left out; null when all are equal, NaN when one is not finite. */
function meanOver(values: readonly (number | null)[]): number | null {
  const different = values.filter((value): value is number => value !== null);
  return different.length === 0 ? null : different.reduce((sum, value) => sum + value, 0) / different.length;
}

function stepSpreads(runs: readonly SeedRun[]): ComparedStep[] {
  return (runs[0]?.items[0]?.perStep ?? []).map(({ step, timestep }, index) => {
    const ofSeed = ({ items }: SeedRun, id: StepMetricId): number | null => meanOver(items.flatMap(({ perStep }) => (perStep[index] ? [perStep[index][id]] : [])));
    return { step, timestep, metrics: Object.fromEntries(stepMetrics.map(({ id }) => [id, spreadOf(runs.map((run) => ofSeed(run, id)))])) as Record<StepMetricId, Spread> };
  });
}

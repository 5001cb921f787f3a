/**
 * What methods have to know of a layer's inputs, from sampling runs of the full-precision model: ranges per channel and time step, sample rows, second moments. Gathered when first
 * needed, for layers that do not have them yet, and kept in files. Layers that read one input share its statistics.
 */
import { createHash, randomUUID } from 'node:crypto';
import { appendFile, mkdir, readFile, readdir, rm, utimes } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { readValues, writeSafetensors } from '../checkpoint/values';
import { inBatches } from './batches';
import type { TensorRef } from '../engine/addon';
import type { Engine, JobOptions } from '../engine/client';
import type { CapturedLayer } from '../engine/graph';
import type { Statistic } from '../methods/statistics';
import { ModelError } from '../models/builder';
import type { Prepared } from '../models/forward';
import { identitiesOn, JobDevice } from '../preview/device';
import type { Pipeline } from '../preview/pipelines';
import { computeTrajectory } from '../preview/trajectory';
import type { CalibrationSettings, Half } from '../protocol';
import { refOf, tensorIn, valuesIn, writeRecord, writeTensor } from '../quantize/files';

export interface LayerStatistics {
  /** Changes when any of the numbers may have. */
  key: string;
  /** Largest |x| per channel, [width], for every captured step and half of guidance. */
  absMax: Float32Array[];
  /** √ of the mean of x² over everything, and the largest |x| over that: LRQ-DiT's J and a signal that does not depend on scale. */
  rms: number;
  peakToRms: number;
  /** Rows of the input, F32 [rows, width]. */
  sample: TensorRef | null;
  /** Mean of x xᵀ, F32 [width, width]. */
  secondMoments: TensorRef | null;
}

export interface Request {
  /** One per trajectory: the same model and sizes with other seeds, classes or prompts. */
  pipelines: readonly Pipeline[];
  settings: CalibrationSettings;
  /** By layer. */
  needs: ReadonlyMap<string, ReadonlySet<Statistic>>;
  folder: string;
  job: JobOptions & { onProgress?(fraction: number, what: string): void };
}

/** Second moments of one run take at most this, on a device a quarter of its memory; more layers take more runs. */
const maxMomentBytes = 2 ** 30;
function mostMomentBytes(engine: Engine): number { return Math.max(maxMomentBytes, (engine.deviceMemory('forward passes') ?? 0) / 4); }

/** What all numbers of a calibration depend on. @param device see identityOn */
export function statisticsKey(pipelines: readonly Pipeline[], settings: CalibrationSettings, engine: Engine, device = ''): string {
  const identity = pipelines.map((pipeline) => [pipeline.checkpoint.path, pipeline.checkpoint.revision, pipeline.items.map((_, item) => pipeline.identity(item))]);
  return createHash('sha256').update(JSON.stringify([2, `${engine.identity()}${device}`, settings, identity])).digest('hex');
}

/** Where statistics may be: what is gathered now goes into the first, which is that of the device once the engine runs. Starts no engine. */
function homesOf({ pipelines, settings, folder }: Pick<Request, 'pipelines' | 'settings' | 'folder'>, engine: Engine): string[] {
  return identitiesOn(engine).map((identity) => join(folder, statisticsKey(pipelines, settings, engine, identity)));
}

/** @returns by layer. @throws ModelError, EngineError */
export async function gatherStatistics(request: Request, engine: Engine): Promise<ReadonlyMap<string, LayerStatistics>> {
  const { pipelines: [pipeline], pipelines, settings, needs, job } = request;
  if (!pipeline || needs.size === 0) {
    return new Map();
  }
  let { home, known, runs } = placeFor(await lookUp(request, pipeline, engine));
  if (runs.length > 0) {
    const device = await JobDevice.of(engine); // started, it knows its devices
    ({ home, known, runs } = placeFor(await lookUp(request, pipeline, engine)));
    for (const batch of runs) {
      await new Gathering(pipelines, settings, join(home, randomUUID()), job, device, engine).run(batch);
    }
  }
  if (known.size > 0) {
    await utimes(home, new Date(), new Date()); // in use: the cache clears what was not
  }
  const found = runs.length > 0 ? await readParts(home) : known;
  const inputs = pipeline.inputs();
  return new Map([...needs.keys()].flatMap((layer) => {
    const statistics = found.get(inputs.get(layer)?.[0] ?? '');
    return statistics ? [[layer, statistics] as const] : [];
  }));
}

/** What earlier runs have gathered, by layer. Starts no engine. */
export async function knownStatistics(request: Pick<Request, 'pipelines' | 'settings' | 'folder'>, engine: Engine): Promise<ReadonlyMap<string, LayerStatistics>> {
  const known = new Map<string, LayerStatistics>();
  for (const home of homesOf(request, engine).reverse()) {
    (await readParts(home)).forEach((statistics, input) => known.set(input, statistics));
  }
  return new Map([...(request.pipelines[0]?.inputs() ?? [])].flatMap(([layer, [input = '']]) => {
    const statistics = known.get(input);
    return statistics ? [[layer, statistics] as const] : [];
  }));
}

/** What is still to be gathered: layers, and how often all trajectories have to be run for them. @throws ModelError */
export async function missingStatistics(request: Omit<Request, 'job'>, engine: Engine): Promise<{ layers: ReadonlySet<string>; runs: number }> {
  const { pipelines: [pipeline], needs } = request;
  if (!pipeline || needs.size === 0) {
    return { layers: new Set(), runs: 0 };
  }
  // Before the engine runs nobody knows whether the device is there: what is known at all counts.
  const [runs = []] = (await lookUp(request, pipeline, engine)).map((place) => place.runs).sort((a, b) => a.flat().length - b.flat().length);
  const inputs = pipeline.inputs();
  const missing = new Set(runs.flat().map(([input]) => input));
  return { layers: new Set([...needs.keys()].filter((layer) => missing.has(inputs.get(layer)?.[0] ?? ''))), runs: runs.length };
}

interface Found { home: string; known: Map<string, LayerStatistics>; /** One batch of inputs per run of all trajectories. */ runs: Wanted[] }

/** The first one that has everything, or the one to gather the rest for. */
function placeFor(places: readonly Found[]): Found { return places.find(({ runs }) => runs.length === 0) ?? places[0] ?? { home: '', known: new Map(), runs: [] }; }

/** In every place where statistics may be. */
async function lookUp(request: Omit<Request, 'job'>, pipeline: Pipeline, engine: Engine): Promise<Found[]> {
  const { needs } = request;
  const { checkpoint } = pipeline;
  const inputs = pipeline.inputs();
  // One layer stands for all that read the same input.
  const wanted = new Map<string, Set<Statistic>>();
  for (const [layer, statistics] of needs) {
    const input = inputs.get(layer)?.[0];
    if (input === undefined) {
      throw new ModelError(`${layer} takes no part in the forward pass of ${checkpoint.architecture}, so it cannot be calibrated. Keep it, or choose a method that needs no data.`);
    }
    statistics.forEach((statistic) => wanted.set(input, (wanted.get(input) ?? new Set()).add(statistic)));
  }
  const widths = new Map(checkpoint.layers.map((layer) => [layer.name, layer.inFeatures]));
  return Promise.all(homesOf(request, engine).map(async (home) => {
    const known = await readParts(home);
    const missing = [...wanted].filter(([input, statistics]) => !known.has(input) || (statistics.has('activation-second-moments') && !known.get(input)?.secondMoments));
    // All in one run when none needs second moments; otherwise as many as their sums (float64) allow.
    const momentBytes = missing.some(needsMoments) ? ([input]: Wanted[number]): number => 8 * (widths.get(input) ?? 0) ** 2 : (): number => 0;
    return { home, known, runs: [...inBatches(missing, momentBytes, mostMomentBytes(engine))] };
  }));
}

type Wanted = [input: string, statistics: ReadonlySet<Statistic>][];

function needsMoments([, statistics]: Wanted[number]): boolean { return statistics.has('activation-second-moments'); }

/** What one part's index.json says of an input. Files are in the same folder. */
interface PartEntry { input: string; steps: number; rms: number; peakToRms: number; width: number; rows: number; sample: string; moments: string | null }

const indexName = 'index.json';

/** A part without an index was left behind by a process that ended early. */
async function readParts(home: string): Promise<Map<string, LayerStatistics>> {
  const found = new Map<string, LayerStatistics>();
  for (const part of (await readdir(home).catch(() => [])).sort()) {
    const entries = await readFile(join(home, part, indexName), 'utf8').then((text) => JSON.parse(text) as PartEntry[], () => []);
    for (const entry of entries) {
      const statistics = await toStatistics(join(home, part), entry);
      if (statistics.secondMoments || !found.has(entry.input)) {
        found.set(entry.input, statistics);
      }
    }
  }
  return found;
}

async function toStatistics(folder: string, { input, steps, width, rows, rms, peakToRms, sample, moments }: PartEntry): Promise<LayerStatistics> {
  const { data } = await readValues(await tensorIn(join(folder, 'absmax.safetensors'), input));
  return {
    key: `${folder} ${input}`,
    absMax: Array.from({ length: steps }, (_, step) => data.subarray(step * width, (step + 1) * width)),
    rms, peakToRms,
    sample: { file: join(folder, sample), offset: 0, dtype: 'F32', shape: [rows, width] },
    secondMoments: moments === null ? null : refOf(await tensorIn(join(folder, moments), momentsTensor)),
  };
}

interface Moments { file: string; rows: number }

function relativeTo(folder: string, file: string | undefined): string | null { return file === undefined ? null : relative(folder, file); }

/** The mean over the rows of both, written over the first. */
async function addMoments(a: Moments, b: Moments): Promise<string> {
  const [mine, other] = [await valuesIn(a.file, momentsTensor), await valuesIn(b.file, momentsTensor)];
  const share = b.rows / Math.max(1, a.rows + b.rows);
  const width = Math.sqrt(mine.length);
  await writeTensor(dirname(a.file), basename(a.file, '.safetensors'), 'F32', [width, width], mine.map((value, i) => value + share * ((other[i] ?? 0) - value)), momentsTensor);
  await rm(b.file);
  return a.file;
}

const momentsTensor = 'second_moments';

interface Sums { width: number; rows: number; sampled: number; square: number; counted: number; peak: number; /** By step and half. */ absMax: Map<string, Float32Array>; file: string }

class Gathering {
  private readonly sums = new Map<string, Sums>();
  private readonly moments = new Map<string, Moments>();

  constructor(
    private readonly pipelines: readonly Pipeline[], private readonly settings: CalibrationSettings, private readonly folder: string,
    private readonly job: Request['job'], private readonly device: JobDevice, private readonly engine: Engine,
  ) {}

  async run(wanted: Wanted): Promise<void> {
    await mkdir(this.folder, { recursive: true });
    const moments = wanted.some(needsMoments);
    const [first] = this.pipelines;
    const runs = this.pipelines.flatMap((pipeline) => pipeline.items.map((name, item) => ({ pipeline, item, name })));
    const perCall = Math.ceil(this.settings.rows / (runs.length * this.settings.steps * (first?.calls ?? 1)));
    const request = { layers: wanted.map(([input]) => input), seed: 0, histogramBins: 16, sampleRows: perCall, secondMoments: moments ? { maxBytes: 2 * mostMomentBytes(this.engine) } : null };
    for (const [index, { pipeline, item, name }] of runs.entries()) {
      // Rows are written in the order they come: one after the other, so that a sample is the same every time.
      let writes = Promise.resolve();
      await computeTrajectory(pipeline, item, {}, this.engine, (step) => ({
        ...this.device.options,
        cancellation: this.job.cancellation,
        progress: (fraction) => this.job.onProgress?.((index + (step + fraction) / this.settings.steps) / runs.length, `calibration, ${name}`),
        capture: { request, received: (half, layers) => { writes = writes.then(() => this.add(half, step, layers)); } },
      }));
      await writes;
      // Sums belong to an opened program, and every run may open others: they are taken before that.
      if (moments) {
        await this.takeMoments(pipeline.programs(item));
      }
    }
    await this.finish();
  }

  private async add(half: Half, step: number, layers: readonly CapturedLayer[]): Promise<void> {
    for (const { name, width, rows, absMax, meanSquare, sample } of layers) {
      const sums = this.sums.get(name) ?? { width, rows: 0, sampled: 0, square: 0, counted: 0, peak: 0, absMax: new Map<string, Float32Array>(), file: `sample-${this.sums.size}.f32` };
      this.sums.set(name, sums);
      sums.rows += rows;
      sums.sampled += sample.length / width;
      sums.counted += rows * width;
      sums.square += rows * meanSquare.reduce((sum, value) => sum + value, 0);
      sums.peak = absMax.reduce((most, value) => Math.max(most, value), sums.peak);
      const known = sums.absMax.get(`${step} ${half}`);
      sums.absMax.set(`${step} ${half}`, known ? known.map((value, j) => Math.max(value, absMax[j] ?? 0)) : absMax);
      await appendFile(join(this.folder, sums.file), new Uint8Array(sample.buffer, sample.byteOffset, sample.byteLength));
    }
  }

  private async takeMoments(programs: readonly Prepared[]): Promise<void> {
    for (const { key, program } of programs) {
      const folder = join(this.folder, `moments-${randomUUID()}`);
      await mkdir(folder);
      for (const { layer, file, rows } of await (await this.engine.openGraph(key, program)).takeSecondMoments(folder, { cancellation: this.job.cancellation })) {
        const known = this.moments.get(layer);
        const path = join(folder, basename(file));
        this.moments.set(layer, known ? { file: await addMoments(known, { file: path, rows }), rows: known.rows + rows } : { file: path, rows });
      }
    }
  }

  /** The index is written last. */
  private async finish(): Promise<void> {
    await writeSafetensors(join(this.folder, 'absmax.safetensors'), Object.fromEntries([...this.sums].map(([input, { width, absMax }]) => {
      const data = new Float32Array(width * absMax.size);
      [...absMax.values()].forEach((values, step) => data.set(values, step * width));
      return [input, { shape: [absMax.size, width], data }];
    })));
    const entries = [...this.sums].map(([input, { width, sampled, square, counted, peak, absMax, file }]): PartEntry => {
      const rms = Math.sqrt(square / Math.max(1, counted));
      return { input, steps: absMax.size, width, rows: sampled, rms, peakToRms: rms > 0 ? peak / rms : 0, sample: file, moments: relativeTo(this.folder, this.moments.get(input)?.file) };
    });
    await writeRecord(join(this.folder, indexName), entries);
  }
}

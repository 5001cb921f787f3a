/** Captures as safetensors files: per-channel values and samples as tensors, the numbers as JSON text in the metadata. */
import { CheckpointError, openCheckpoint } from '../checkpoint';
import { readValues, writeSafetensors } from '../checkpoint/values';
import type { TensorValues } from '../checkpoint/values';
import { thresholdKeys } from '../config/thresholds';
import type { Capture, CaptureCell, CapturedChannel, CapturedWeight, CaptureNumbers, Half, Marginal, PreviewDevice, TailMass, TensorInfo, Thresholds } from '../protocol';
import { largestChannels, marginalShape } from './activationNumbers';
import { captureNumbers, weightNumbers } from './capture';
import type { Activations } from './capture';

const format = 'quantscope-capture-2';

/**
 * Tensors `<layer>/<half>/step<k>/absmax`, `…/mean_square` [width], `…/sample` [rows, width], and counts of the normalised coordinates before and after rotation, `…/histogram_before` and `…/histogram_after`
 * [bins + 2] (below −6, even bins to 6, above); `<layer>/weight_absmax` [width]. Metadata `format`, `about`, `layers` and `weights`.
 */
export async function writeCapture(path: string, { layers, weights, ...about }: Activations, thresholds: Thresholds): Promise<Capture> {
  const tensors: Record<string, TensorValues> = {};
  for (const { layer, half, step, absMax, meanSquare, sample, histograms } of layers) {
    const at = placeOf(layer, half, step);
    const width = absMax.length;
    tensors[`${at}/absmax`] = { shape: [width], data: absMax };
    tensors[`${at}/mean_square`] = { shape: [width], data: meanSquare };
    tensors[`${at}/histogram_before`] = { shape: [histograms.before.length], data: histograms.before };
    tensors[`${at}/histogram_after`] = { shape: [histograms.after.length], data: histograms.after };
    tensors[`${at}/sample`] = { shape: [sample.length / width, width], data: sample };
  }
  for (const [layer, data] of weights) {
    tensors[`${layer}/weight_absmax`] = { shape: [data.length], data };
  }
  const numbers = layers.map((layer) => captureNumbers(layer, weights.get(layer.layer)));
  const ofWeights = [...weights].map(([layer, absMax]) => weightNumbers(layer, absMax));
  await writeSafetensors(path, tensors, { format, about: JSON.stringify({ ...about, thresholds }), layers: JSON.stringify(numbers), weights: JSON.stringify(ofWeights) });
  return { ...about, layers: numbers, weights: ofWeights, thresholds };
}

/** Reads the header only. @throws CheckpointError when the file is something else, or its numbers are damaged. */
export async function readCapture(path: string): Promise<Capture> {
  const { metadata } = await openFile(path);
  const part = (key: string): unknown => {
    try {
      return JSON.parse(metadata[key] ?? '');
    } catch {
      throw damaged(path, `"${key}" is no JSON text`);
    }
  };
  const list = <T>(key: string, read: (entry: Entry) => T): T[] => {
    const found = part(key);
    if (!Array.isArray(found)) {
      throw damaged(path, `"${key}" is no list`);
    }
    return found.map((entry, i) => read(new Entry(entry, `"${key}" entry ${i + 1}`, path)));
  };
  const about = part('about');
  if (!isRecord(about) || typeof about['architecture'] !== 'string' || !isCount(about['steps']) || !Array.isArray(about['items']) || !about['items'].every((item) => typeof item === 'string')) {
    throw damaged(path, '"about" needs architecture, items and steps');
  }
  const limits = new Entry(about['thresholds'], '"about" thresholds', path);
  return {
    architecture: about['architecture'], items: about['items'], steps: about['steps'], device: about['device'] ? deviceOf(new Entry(about['device'], '"about" device', path)) : null, layers: list('layers', numbersOf), weights: list('weights', weightOf),
    thresholds: Object.fromEntries(thresholdKeys.map((key) => [key, limits.number(key)])) as unknown as Thresholds,
  };
}

/** Sampled rows of all steps and halves that are finite, [rows, width], by layer. @throws CheckpointError */
export async function readSamples(path: string, layers: ReadonlySet<string>): Promise<ReadonlyMap<string, Float32Array>> {
  const { tensors } = await openFile(path);
  const parts = new Map<string, Float32Array[]>();
  for (const tensor of tensors) {
    const layer = /^(.*)\/(?:un)?conditional\/step\d+\/sample$/.exec(tensor.name)?.[1];
    if (layer !== undefined && layers.has(layer)) {
      const { data, shape: [, width = 1] } = await readValues(tensor);
      const rows = Array.from({ length: data.length / width }, (_, i) => data.subarray(i * width, (i + 1) * width));
      parts.set(layer, [...(parts.get(layer) ?? []), ...rows.filter((row) => row.every(Number.isFinite))]);
    }
  }
  return new Map([...parts].map(([layer, rows]) => [layer, joined(rows)]));
}

function joined(rows: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(rows.reduce((sum, row) => sum + row.length, 0));
  rows.reduce((at, row) => {
    all.set(row, at);
    return at + row.length;
  }, 0);
  return all;
}

/** What one layer saw at one step. @throws CheckpointError when the file is something else, or holds no such cell */
export async function readCell(path: string, layer: string, half: Half, step: number): Promise<CaptureCell> {
  const { tensors } = await openFile(path);
  const at = placeOf(layer, half, step);
  const named = (name: string): TensorInfo | undefined => tensors.find((tensor) => tensor.name === name);
  const values = async (name: string): Promise<Float32Array> => {
    const tensor = named(`${at}/${name}`);
    if (!tensor) {
      throw damaged(path, `it holds no "${name}" of ${layer}, ${half}, step ${step}`);
    }
    return (await readValues(tensor)).data;
  };
  const [absMax, meanSquare, before, after] = [await values('absmax'), await values('mean_square'), await values('histogram_before'), await values('histogram_after')];
  if (before.length < 3 || after.length !== before.length || meanSquare.length !== absMax.length || absMax.length < 2) {
    throw damaged(path, `the shapes of ${layer}, ${half}, step ${step} do not fit together`);
  }
  const weightTensor = named(`${layer}/weight_absmax`);
  const weight = weightTensor && (await readValues(weightTensor)).data;
  return {
    width: absMax.length, before: marginalShape(before, absMax.length), after: marginalShape(after, absMax.length),
    channels: largestChannels(absMax, meanSquare).map((each) => ({ ...each, weight: weight?.[each.channel] ?? null })),
  };
}

function placeOf(layer: string, half: Half, step: number): string { return `${layer}/${half}/step${step}`; }

async function openFile(path: string): Promise<{ metadata: Readonly<Record<string, string>>; tensors: readonly TensorInfo[] }> {
  const file = await openCheckpoint(path);
  const found = file.metadata['format'] ?? '';
  if (found !== format) {
    throw new CheckpointError('checkpoint/json', path, found.startsWith('quantscope-capture-') ? `This capture has the form ${found}; this version reads ${format}. Capture again.`
      : 'This is no capture of activations. Open a file that "QuantScope: Capture Activations" or "quantscope capture" wrote.');
  }
  return file;
}

/** One record of the metadata; what it lacks is an error that names the place. */
class Entry {
  private readonly record: Record<string, unknown>;

  constructor(value: unknown, private readonly where: string, private readonly path: string) { this.record = isRecord(value) ? value : {}; }

  wrong(key: string): CheckpointError { return damaged(this.path, `${this.where} has no usable "${key}"`); }
  number(key: string): number { return this.checked(key, (value) => typeof value === 'number'); }
  optional(key: string): number | null { return this.record[key] === null ? null : this.number(key); }
  count(key: string): number { return this.checked(key, isCount); }
  text(key: string): string { return this.checked(key, (value) => typeof value === 'string'); }
  inner(key: string): Entry { return new Entry(this.checked(key, isRecord), this.where, this.path); }
  each<T>(key: string, read: (entry: Entry) => T): T[] { return this.checked<unknown[]>(key, Array.isArray).map((value) => read(new Entry(value, `${this.where} "${key}"`, this.path))); }

  private checked<T>(key: string, accepts: (value: unknown) => boolean): T {
    const value = this.record[key];
    if (!accepts(value)) {
      throw this.wrong(key);
    }
    return value as T;
  }
}

function numbersOf(entry: Entry): CaptureNumbers {
  const marginal = (key: 'before' | 'after'): Omit<Marginal, 'histogram'> => {
    const shape = entry.inner(key);
    return { ks: shape.number('ks'), wasserstein1: shape.number('wasserstein1'), excessKurtosis: shape.number('excessKurtosis'), maxAbs: shape.number('maxAbs') };
  };
  const tails = (key: 'before' | 'after' | 'expected'): TailMass => {
    const tail = entry.inner('tails').inner(key);
    return { beyond3: tail.number('beyond3'), beyond4: tail.number('beyond4') };
  };
  const channel = (each: Entry): CapturedChannel => ({ channel: each.count('channel'), absMax: each.number('absMax'), ratio: each.optional('ratio'), energy: each.number('energy') });
  const [layer, half] = [entry.text('layer'), entry.text('half')];
  if (half !== 'conditional' && half !== 'unconditional') {
    throw entry.wrong('half');
  }
  return {
    layer, half, step: entry.count('step'), timestep: entry.number('timestep'), width: entry.count('width'), rows: entry.count('rows'), nonFinite: entry.count('nonFinite'), absMax: entry.number('absMax'),
    channelRange: entry.optional('channelRange'), before: marginal('before'), after: marginal('after'), rho: entry.number('rho'), effectiveRows: entry.number('effectiveRows'),
    tails: { before: tails('before'), after: tails('after'), expected: tails('expected') }, channels: entry.each('channels', channel),
    topEnergy: { channel: entry.inner('topEnergy').count('channel'), share: entry.inner('topEnergy').number('share') }, salienceCorrelation: entry.optional('salienceCorrelation'),
  };
}

function deviceOf(entry: Entry): PreviewDevice { return { name: entry.text('name'), processor: entry.each('processor', (each) => ({ name: each.text('name'), reason: each.text('reason') })) }; }

function weightOf(entry: Entry): CapturedWeight { return { layer: entry.text('layer'), absMax: entry.optional('absMax'), nonFinite: entry.count('nonFinite') }; }

function damaged(path: string, what: string): CheckpointError {
  return new CheckpointError('checkpoint/json', path, `This capture is damaged: ${what}. Capture again.`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Captures as safetensors files: per-channel values and samples as tensors, the numbers as JSON text in the metadata. */
import { CheckpointError, openCheckpoint } from '../checkpoint';
import { writeSafetensors } from '../checkpoint/values';
import type { TensorValues } from '../checkpoint/values';
import type { Capture, CaptureNumbers, Marginal } from '../protocol';
import { captureNumbers } from './capture';
import type { Activations } from './capture';

const format = 'quantscope-capture-1';

/** Tensors `<layer>/<half>/step<k>/absmax`, `…/mean_square` [width], `…/sample` [rows, width], and counts of the normalised coordinates before and after rotation, `…/histogram_before` and `…/histogram_after` [bins + 2] (below −6, even bins to 6, above); metadata `format`, `about` and `layers`. */
export async function writeCapture(path: string, { layers, ...about }: Activations): Promise<Capture> {
  const tensors: Record<string, TensorValues> = {};
  for (const { layer, half, step, absMax, meanSquare, sample, histograms } of layers) {
    const at = `${layer}/${half}/step${step}`;
    const width = absMax.length;
    tensors[`${at}/absmax`] = { shape: [width], data: absMax };
    tensors[`${at}/mean_square`] = { shape: [width], data: meanSquare };
    tensors[`${at}/histogram_before`] = { shape: [histograms.before.length], data: histograms.before };
    tensors[`${at}/histogram_after`] = { shape: [histograms.after.length], data: histograms.after };
    tensors[`${at}/sample`] = { shape: [sample.length / width, width], data: sample };
  }
  const numbers = layers.map(captureNumbers);
  await writeSafetensors(path, tensors, { format, about: JSON.stringify(about), layers: JSON.stringify(numbers) });
  return { ...about, layers: numbers };
}

/** Reads the header only. @throws CheckpointError when the file is something else, or its numbers are damaged. */
export async function readCapture(path: string): Promise<Capture> {
  const { metadata } = await openCheckpoint(path);
  if (metadata['format'] !== format) {
    throw new CheckpointError('checkpoint/json', path, 'This is no capture of activations. Open a file that "QuantScope: Capture Activations" or "quantscope capture" wrote.');
  }
  const part = (key: string): unknown => {
    try {
      return JSON.parse(metadata[key] ?? '');
    } catch {
      throw damaged(path, `"${key}" is no JSON text`);
    }
  };
  const [about, layers] = [part('about'), part('layers')];
  if (!isRecord(about) || typeof about['architecture'] !== 'string' || !isCount(about['steps']) || !Array.isArray(about['items']) || !about['items'].every((item) => typeof item === 'string')) {
    throw damaged(path, '"about" needs architecture, items and steps');
  }
  if (!Array.isArray(layers)) {
    throw damaged(path, '"layers" is no list');
  }
  return { architecture: about['architecture'], items: about['items'], steps: about['steps'], layers: layers.map((entry, i) => numbersOf(entry, `"layers" entry ${i + 1}`, path)) };
}

function numbersOf(value: unknown, where: string, path: string): CaptureNumbers {
  const wrong = (key: string): CheckpointError => damaged(path, `${where} has no usable "${key}"`);
  const entry = isRecord(value) ? value : {};
  const number = (of: Record<string, unknown>, key: string): number => {
    const found = of[key];
    if (typeof found !== 'number') {
      throw wrong(key);
    }
    return found;
  };
  const marginal = (key: 'before' | 'after'): Omit<Marginal, 'histogram'> => {
    const shape = entry[key];
    if (!isRecord(shape)) {
      throw wrong(key);
    }
    return { ks: number(shape, 'ks'), wasserstein1: number(shape, 'wasserstein1'), excessKurtosis: number(shape, 'excessKurtosis'), maxAbs: number(shape, 'maxAbs') };
  };
  const { layer, half, step, rows, nonFinite } = entry;
  if (typeof layer !== 'string') {
    throw wrong('layer');
  }
  if (half !== 'conditional' && half !== 'unconditional') {
    throw wrong('half');
  }
  if (!isCount(step) || !isCount(rows) || !isCount(nonFinite)) {
    throw wrong('step", "rows" or "nonFinite');
  }
  return {
    layer, half, step, rows, nonFinite, timestep: number(entry, 'timestep'), absMax: number(entry, 'absMax'), channelRange: entry['channelRange'] === null ? null : number(entry, 'channelRange'),
    before: marginal('before'), after: marginal('after'), rho: number(entry, 'rho'),
  };
}

function damaged(path: string, what: string): CheckpointError {
  return new CheckpointError('checkpoint/json', path, `The metadata of this capture is damaged: ${what}. Capture again.`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

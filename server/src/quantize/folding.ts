/**
 * Folds the smoothing of a plan into what comes before: finds the factors, rescales the tensors that take them (in their stored type), and hands back the request with these in place.
 * Codes are still found with the smoothing in the recipe; whoever writes them leaves it out for layers whose input arrives smoothed.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { packedLayers } from '../checkpoint/packed';
import { dtypeBits } from '../checkpoint/safetensors';
import { decoders, encoders, readValues } from '../checkpoint/values';
import { writeCheckpoint } from '../checkpoint/writer';
import type { OutputTensor } from '../checkpoint/writer';
import type { Engine } from '../engine/client';
import { ModelError } from '../models/builder';
import { openPipeline } from '../preview/pipelines';
import type { Checkpoint, Dtype, TensorInfo } from '../protocol';
import { tensorsIn, valuesIn } from './files';
import { findFolds } from './fold';
import type { Edit, Fold, Online } from './fold';
import { prepareSmoothing } from './recipes';
import type { PlanRequest } from './recipes';

/** `rounding`: ‖T − stored T‖² / ‖T‖² of the rescaled tensor that its type rounds most; 0 in F32. */
export interface WrittenFold { layers: string[]; into: string[]; rounding: number }

export interface Folding {
  /** With the factors that were found, and layers that stand at rescaled weights. */
  request: PlanRequest;
  /** Layers whose input arrives smoothed. */
  layers: ReadonlySet<string>;
  /** Rescaled tensors and biases that are new, by name. */
  tensors: ReadonlyMap<string, TensorInfo>;
  folded: WrittenFold[];
  online: Online[];
}

/** @throws ModelError when the checkpoint is packed, or a type cannot hold a rescaled value; CheckpointError, EngineError */
export async function foldSmoothing(request: PlanRequest, engine: Engine): Promise<Folding> {
  const { plan, checkpoint, preview, base, folder } = request;
  if (packedLayers(checkpoint).size > 0) {
    throw new ModelError(`${checkpoint.path} is packed already, and codes cannot be rescaled. Fold when the original is quantized.`);
  }
  const smoothing = await prepareSmoothing(request, engine);
  const smoothed = new Map<string, Float32Array>();
  for (const { name, recipe } of plan.layers) {
    const factors = smoothing.get(name);
    if (factors && recipe.weights.kind !== 'keep') {
      smoothed.set(name, await valuesIn(factors.file, 'smooth'));
    }
  }
  const [prepared] = smoothed.size > 0 ? (await openPipeline(checkpoint, preview, base)).programs(0) : [];
  const names = new Map(checkpoint.tensors.map(({ file, offset, name }) => [`${file}:${offset}`, name]));
  const { folded, online } = prepared ? findFolds(prepared.program, smoothed, ({ file, offset }) => names.get(`${file}:${offset}`) ?? '') : { folded: [], online: [] };
  const { tensors, rounding } = await writeRescaled(checkpoint, folded, join(folder, 'folded'));
  return {
    request: { ...request, smoothing, plan: { ...plan, layers: plan.layers.map((layer) => ({ ...layer, tensor: tensors.get(layer.tensor.name) ?? layer.tensor })) } },
    layers: new Set(folded.flatMap(({ layers }) => layers)), tensors, online,
    folded: folded.map(({ layers, edits }) => {
      const into = [...new Set(edits.map(({ tensor }) => tensor))];
      return { layers, into, rounding: Math.max(...into.map((name) => rounding.get(name) ?? 0)) };
    }),
  };
}

interface Rounded { error: number; size: number }

/** One file with every tensor that a fold changes. A bias that is missing starts from zeros and has the type of its weight. */
export async function writeRescaled(checkpoint: Checkpoint, folds: readonly Fold[], folder: string): Promise<{ tensors: ReadonlyMap<string, TensorInfo>; rounding: ReadonlyMap<string, number> }> {
  const edits = new Map<string, Edit[]>();
  folds.flatMap((fold) => fold.edits).forEach((edit) => edits.set(edit.tensor, [...(edits.get(edit.tensor) ?? []), edit]));
  if (edits.size === 0) {
    return { tensors: new Map(), rounding: new Map() };
  }
  const known = new Map(checkpoint.tensors.map((tensor) => [tensor.name, tensor]));
  const hash = createHash('sha256').update(checkpoint.revision);
  const sums = new Map<string, Rounded>();
  const outputs = [...edits].map(([name, changes]): OutputTensor => {
    changes.forEach(({ start, values, offset }) => hash.update(JSON.stringify([name, start, offset])).update(values));
    const sum = { error: 0, size: 0 };
    sums.set(name, sum);
    const tensor = known.get(name);
    if (tensor) {
      return { ...tensor, source: { chunks: () => rescaledChunks(name, tensor.dtype, partsOf(tensor), changes, sum) } };
    }
    const { dtype = 'F32', shape: [rows = 0] = [] } = known.get(name.replace(/\.bias$/, '.weight')) ?? {};
    return { name, dtype, shape: [rows], bytes: (rows * dtypeBits[dtype]) / 8, source: { chunks: () => rescaledChunks(name, dtype, [{ first: 0, width: 1, read: () => Promise.resolve(new Float32Array(rows)) }], changes, sum) } };
  });
  const { files: [file = ''] } = await writeCheckpoint(folder, hash.digest('hex'), outputs, { maxShardBytes: Infinity });
  return { tensors: await tensorsIn(file), rounding: new Map([...sums].map(([name, { error, size }]) => [name, size > 0 ? error / size : 0])) };
}

/** Values of a tensor from the element `first`, `width` of them per row. */
interface Part { first: number; width: number; read(): Promise<Float32Array> }

const partElements = 1 << 20;

function partsOf(tensor: TensorInfo): Part[] {
  const size = dtypeBits[tensor.dtype] / 8;
  const elements = tensor.bytes / size;
  return Array.from({ length: Math.ceil(elements / partElements) }, (_, i): Part => {
    const first = i * partElements;
    const bytes = Math.min(partElements, elements - first) * size;
    return { first, width: elements / (tensor.shape[0] ?? 1), read: async () => (await readValues({ ...tensor, offset: tensor.offset + first * size, bytes })).data };
  });
}

async function* rescaledChunks(name: string, dtype: Dtype, parts: readonly Part[], edits: readonly Edit[], sum: Rounded): AsyncIterable<Uint8Array> {
  const [encode, decode] = [encoders[dtype], decoders[dtype]];
  if (!encode || !decode) {
    throw new ModelError(`"${name}" is stored as ${dtype}, which cannot be rescaled. Quantize without --fold.`);
  }
  for (const { first, width, read } of parts) {
    const values = await read();
    edits.forEach((edit) => rescale(values, first, width, edit));
    const bytes = encode(values);
    decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)).forEach((stored, i) => {
      const value = values[i] ?? 0;
      if (Number.isFinite(value) && !Number.isFinite(stored)) {
        throw new ModelError(`"${name}" would hold ${value} after folding, more than ${dtype} can. Quantize without --fold, or from a BF16 or F32 checkpoint.`);
      }
      sum.error += (stored - value) ** 2;
      sum.size += value ** 2;
    });
    yield bytes;
  }
}

function rescale(values: Float32Array, first: number, width: number, { start, values: factors, offset }: Edit): void {
  const [low, high] = [Math.max(first, start * width), Math.min(first + values.length, (start + factors.length) * width)];
  for (let i = low; i < high; i++) {
    const factor = factors[Math.floor(i / width) - start] ?? 1;
    values[i - first] = factor * (values[i - first] ?? 0) + offset * (factor - 1);
  }
}

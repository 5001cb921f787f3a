/**
 * Folds the smoothing of a plan into what comes before: finds the factors, rescales the tensors on both sides, and hands back the request for the model that these make. It computes what
 * the original computes; statistics, solvers and writers work on it as on any other.
 */
import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
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

/** `rounding`: ‖T − stored T‖² / ‖T‖² of the rescaled tensor that its type rounds most. */
export interface WrittenFold { layers: string[]; into: string[]; rounding: number }

export interface Folding {
  /** For the folded model: layers whose input arrives smoothed smooth no more, all others keep the factors that were found. */
  request: PlanRequest;
  folded: WrittenFold[];
  online: Online[];
  /** Removes the rescaled tensors. */
  dispose(): Promise<void>;
}

/** @throws ModelError when the checkpoint is packed, or a type cannot hold a rescaled value; CheckpointError, EngineError */
export async function foldSmoothing(request: PlanRequest, engine: Engine): Promise<Folding> {
  const { plan, checkpoint, preview, base, folder } = request;
  if (packedLayers(checkpoint).size > 0) {
    throw new ModelError(`${checkpoint.path} is packed already, and codes cannot be rescaled. Fold when the original is quantized.`);
  }
  const smoothing = await prepareSmoothing(request, engine);
  const smoothed = new Map<string, Float32Array>();
  const shifted: string[] = [];
  for (const { name, recipe } of plan.layers) {
    const factors = smoothing.get(name);
    if (factors && recipe.activations.kind === 'int' && recipe.activations.shift !== undefined) {
      shifted.push(name);
    } else if (factors && recipe.weights.kind !== 'keep') {
      smoothed.set(name, await valuesIn(factors.file, 'smooth'));
    }
  }
  const [prepared] = smoothed.size > 0 ? (await openPipeline(checkpoint, preview, base)).programs(0) : [];
  const names = new Map(checkpoint.tensors.map(({ file, offset, name }) => [`${file}:${offset}`, name]));
  const { folded, online } = prepared ? findFolds(prepared.program, smoothed, ({ file, offset }) => names.get(`${file}:${offset}`) ?? '') : { folded: [], online: [] };
  const hash = createHash('sha256').update(checkpoint.revision);
  folded.forEach(({ layers, values }) => hash.update(layers.join()).update(values));
  // The same folds lie in the same place: layers that were solved on them are known again.
  const home = join(folder, 'folded', hash.digest('hex'));
  const { tensors, rounding } = await writeRescaled(checkpoint, folded, home);
  const moved = new Set(folded.flatMap(({ layers }) => layers));
  return {
    request: {
      ...request, smoothing,
      checkpoint: foldedCheckpoint(checkpoint, tensors, home),
      plan: { ...plan, layers: plan.layers.map((layer) => ({ ...layer, tensor: tensors.get(layer.tensor.name) ?? layer.tensor, recipe: moved.has(layer.name) ? { ...layer.recipe, smooth: null } : layer.recipe })) },
    },
    online: [...online, ...(shifted.length > 0 ? [{ layers: shifted, reason: 'its shift is added to the inputs before they are smoothed' }] : [])],
    folded: folded.map(({ layers, edits }) => {
      const into = [...new Set(edits.map(({ tensor }) => tensor))];
      return { layers, into, rounding: Math.max(...[...into, ...layers.map(weightOf)].map((name) => rounding.get(name) ?? 0)) };
    }),
    dispose: () => rm(home, { recursive: true, force: true }),
  };
}

/**
 * One file with every tensor that folds change. Matrices keep their type; vectors become F32: B − 1 near −1 in BF16 leaves few bits of B, and all vectors together are kilobytes.
 * A bias that is missing starts from zeros.
 */
export async function writeRescaled(checkpoint: Checkpoint, folds: readonly Fold[], folder: string): Promise<{ tensors: ReadonlyMap<string, TensorInfo>; rounding: ReadonlyMap<string, number> }> {
  const changes = new Map<string, Change>();
  const changeOf = (name: string): Change => {
    const change = changes.get(name) ?? { rows: [], columns: null, error: 0, size: 0 };
    changes.set(name, change);
    return change;
  };
  for (const { layers, values, edits } of folds) {
    edits.forEach((edit) => changeOf(edit.tensor).rows.push(edit));
    layers.forEach((layer) => { changeOf(weightOf(layer)).columns = values; });
  }
  if (changes.size === 0) {
    return { tensors: new Map(), rounding: new Map() };
  }
  const known = new Map(checkpoint.tensors.map((tensor) => [tensor.name, tensor]));
  const outputs = [...changes].map(([name, change]): OutputTensor => {
    const tensor = known.get(name);
    const shape = tensor?.shape ?? known.get(name.replace(/\.bias$/, '.weight'))?.shape.slice(0, 1) ?? [];
    const dtype: Dtype = tensor && shape.length > 1 ? tensor.dtype : 'F32';
    const elements = shape.reduce((product, size) => product * size, 1);
    const parts = tensor ? partsOf(tensor) : [{ first: 0, width: 1, read: () => Promise.resolve(new Float32Array(elements)) }];
    return { name, dtype, shape, bytes: (elements * dtypeBits[dtype]) / 8, source: { chunks: () => rescaledChunks(name, dtype, parts, change) } };
  });
  const { files: [file = ''] } = await writeCheckpoint(folder, 'rescaled', outputs, { maxShardBytes: Infinity });
  return { tensors: await tensorsIn(file), rounding: new Map([...changes].map(([name, { error, size }]) => [name, size > 0 ? error / size : 0])) };
}

/** What happens to a tensor, and the squares of what its type rounds off. */
interface Change { rows: Edit[]; columns: Float32Array | null; error: number; size: number }

/** Its path tells it from the original, whose revision it has. Rescaled tensors come last: where the pipeline lies is told by the first one. */
function foldedCheckpoint(checkpoint: Checkpoint, rescaled: ReadonlyMap<string, TensorInfo>, home: string): Checkpoint {
  return {
    ...checkpoint, path: join(home, basename(checkpoint.path)), tensors: [...checkpoint.tensors.filter(({ name }) => !rescaled.has(name)), ...rescaled.values()],
    layers: checkpoint.layers.map((layer) => ({ ...layer, tensor: rescaled.get(layer.tensor.name) ?? layer.tensor })),
  };
}

function weightOf(layer: string): string { return `${layer}.weight`; }

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

async function* rescaledChunks(name: string, dtype: Dtype, parts: readonly Part[], change: Change): AsyncIterable<Uint8Array> {
  const [encode, decode] = [encoders[dtype], decoders[dtype]];
  if (!encode || !decode) {
    throw new ModelError(`"${name}" is stored as ${dtype}, which cannot be rescaled. Quantize without --fold.`);
  }
  for (const { first, width, read } of parts) {
    const values = await read();
    rescale(values, first, width, change);
    const bytes = encode(values);
    decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)).forEach((stored, i) => {
      const value = values[i] ?? 0;
      if (Number.isFinite(value) && !Number.isFinite(stored)) {
        throw new ModelError(`"${name}" would hold ${value} after folding, more than ${dtype} can. Quantize without --fold, or from a BF16 or F32 checkpoint.`);
      }
      change.error += (stored - value) ** 2;
      change.size += value ** 2;
    });
    yield bytes;
  }
}

function rescale(values: Float32Array, first: number, width: number, { rows, columns }: Change): void {
  for (const { start, values: factors, offset } of rows) {
    const [low, high] = [Math.max(first, start * width), Math.min(first + values.length, (start + factors.length) * width)];
    for (let i = low; i < high; i++) {
      const factor = factors[Math.floor(i / width) - start] ?? 1;
      values[i - first] = factor * (values[i - first] ?? 0) + offset * (factor - 1);
    }
  }
  if (columns) {
    values.forEach((value, i) => { values[i] = value / (columns[(first + i) % width] ?? 1); });
  }
}

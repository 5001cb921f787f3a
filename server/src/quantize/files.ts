/** Files that hold what was fitted for a layer: the engine is given tensors by place. */
import { randomUUID } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';
import { openCheckpoint } from '../checkpoint';
import { readValues } from '../checkpoint/values';
import { writeCheckpoint } from '../checkpoint/writer';
import type { TensorRef } from '../engine/addon';
import { EngineError } from '../engine/client';
import type { LinearRecipe, PackedWeight } from '../engine/graph';
import type { Dtype, TensorInfo } from '../protocol';

/** Tensors of a file that this program or the engine wrote. */
export async function tensorsIn(path: string): Promise<ReadonlyMap<string, TensorInfo>> {
  const { tensors } = await openCheckpoint(path);
  return new Map(tensors.map((tensor) => [tensor.name, tensor]));
}

export async function tensorIn(path: string, name: string): Promise<TensorInfo> {
  return required(await tensorsIn(path), name, path);
}

export async function valuesIn(path: string, name: string): Promise<Float32Array> {
  return (await readValues(await tensorIn(path, name))).data;
}

/** One tensor in `<folder>/<name>.safetensors`. */
export async function writeTensor(folder: string, name: string, dtype: Dtype, shape: number[], data: Float32Array | Uint32Array, tensor = name): Promise<TensorRef> {
  const chunks = async function* (): AsyncIterable<Uint8Array> { yield await Promise.resolve(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)); };
  const { files: [file = ''] } = await writeCheckpoint(folder, name, [{ name: tensor, dtype, shape, bytes: data.byteLength, source: { chunks } }]);
  return refOf(await tensorIn(file, tensor));
}

export function refOf({ file, offset, dtype, shape }: TensorRef): TensorRef { return { file, offset, dtype, shape }; }

/** The recipe with the codes, tail and branch of a file that `quantizeLayer` wrote. */
export async function withFit(recipe: LinearRecipe, path: string): Promise<LinearRecipe> {
  const tensors = await tensorsIn(path);
  const optional = (name: string): TensorRef | null => (tensors.has(name) ? refOf(required(tensors, name, path)) : null);
  const sides = [...tensors].filter(([name]) => name !== 'codes' && name !== 'tail' && !name.startsWith('low_rank.')).map(([name, tensor]) => [name, refOf(tensor)]);
  const [down, up] = [optional('low_rank.down'), optional('low_rank.up')];
  const packed: PackedWeight = { codes: refOf(required(tensors, 'codes', path)), sides: Object.fromEntries(sides) as PackedWeight['sides'], tail: optional('tail') };
  return { ...recipe, packed, lowRank: down && up ? { down, up } : null };
}

export async function writeRecord(path: string, value: unknown): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  await writeFile(temporary, JSON.stringify(value));
  await rename(temporary, path);
}

function required(tensors: ReadonlyMap<string, TensorInfo>, name: string, path: string): TensorInfo {
  const tensor = tensors.get(name);
  if (!tensor) {
    throw new EngineError('IO', `${path} holds no tensor "${name}". Delete the file; it is made again.`);
  }
  return tensor;
}

/** Files that hold what was fitted for a layer: the engine is given tensors by place. */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
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

/** Written last: a folder without it was left behind by a process that ended early, and is filled anew. */
const recordName = 'layer.json';

/** What `make` found before for this identity, with its files, or finds now, in a folder of its own within `home`. A folder in use is young: the cache clears the oldest first. */
export async function once<T>(home: string, identity: unknown, make: (folder: string) => Promise<T>): Promise<T> {
  const folder = folderOf(home, identity);
  const known = await foundBefore<T>(home, identity);
  if (known !== undefined) {
    return known;
  }
  await mkdir(folder, { recursive: true });
  const made = await make(folder);
  await writeRecord(join(folder, recordName), made);
  return made;
}

export async function foundBefore<T>(home: string, identity: unknown): Promise<T | undefined> {
  const folder = folderOf(home, identity);
  const known = await readRecord<T>(join(folder, recordName));
  if (known !== undefined) {
    await utimes(folder, new Date(), new Date());
  }
  return known;
}

function folderOf(home: string, identity: unknown): string { return join(home, createHash('sha256').update(JSON.stringify(identity)).digest('hex')); }

/** Undefined when absent or damaged. */
export async function readRecord<T>(path: string): Promise<T | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || error instanceof SyntaxError) {
      return undefined;
    }
    throw error;
  }
}

/** A weight of zeros for as long as `use` runs: what the engine asks to be named where codes alone tell what a layer computes. Takes no space on the disk. */
export async function withZeros<T>(folder: string, shape: [number, number], use: (zeros: TensorRef) => Promise<T>): Promise<T> {
  const path = join(folder, `zeros-${randomUUID()}.tmp`);
  const file = await open(path, 'wx');
  try {
    await file.truncate(2 * shape[0] * shape[1]);
    return await use({ file: path, offset: 0, dtype: 'BF16', shape });
  } finally {
    await file.close();
    await rm(path, { force: true });
  }
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

/** Writes safetensors files from tensors that lie in other files or in memory, in bounded memory: one file, or shards with their index. Nothing is visible under its name before it is whole. */
import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Dtype } from '../protocol';
import { CheckpointError } from './errors';

export interface OutputTensor {
  name: string;
  dtype: Dtype;
  shape: readonly number[];
  bytes: number;
  /** Where the bytes come from: a place in a file, or chunks made on the way. */
  source: { file: string; offset: number } | { chunks(): AsyncIterable<Uint8Array> };
}

export interface WriteOptions {
  /** Bytes of tensor data in one file. */
  maxShardBytes?: number;
  /** Metadata of the file that holds these tensors. */
  metadata?(names: readonly string[]): Record<string, string>;
  /** Asked between chunks. @throws to stop: what was written so far is removed. */
  check?(): void;
  onProgress?(fraction: number): void;
}

export interface Written { files: string[]; bytes: number }

const chunkBytes = 8 << 20;

/**
 * `<base>.safetensors`, or `<base>-00001-of-0000n.safetensors` with `<base>.safetensors.index.json` as diffusers names them.
 * @throws CheckpointError when a source ends early
 */
export async function writeCheckpoint(folder: string, base: string, tensors: readonly OutputTensor[], { maxShardBytes = 5e9, metadata = () => ({}), check, onProgress }: WriteOptions = {}): Promise<Written> {
  await mkdir(folder, { recursive: true });
  const shards = shardsOf(tensors, maxShardBytes);
  const total = sum(tensors) || 1;
  const names = shards.map((_, i) => (shards.length === 1 ? `${base}.safetensors` : `${base}-${count(i + 1)}-of-${count(shards.length)}.safetensors`));
  const temporary = names.map((name) => join(folder, `${name}.${randomUUID()}.tmp`));
  let [done, bytes] = [0, 0];
  try {
    for (const [i, shard] of shards.entries()) {
      bytes += await writeShard(temporary[i] ?? '', shard, metadata(shard.map((tensor) => tensor.name)), (written) => {
        done += written;
        check?.();
        onProgress?.(done / total);
      });
    }
    for (const [i, name] of names.entries()) {
      await rename(temporary[i] ?? '', join(folder, name));
    }
  } catch (error) {
    await Promise.all(temporary.map((path) => rm(path, { force: true })));
    throw error;
  }
  if (shards.length > 1) {
    const index = { metadata: { total_size: sum(tensors) }, weight_map: Object.fromEntries(shards.flatMap((shard, i) => shard.map((tensor) => [tensor.name, names[i]]))) };
    const path = join(folder, `${base}.safetensors.index.json`);
    await writeFile(`${path}.tmp`, JSON.stringify(index, null, 2));
    await rename(`${path}.tmp`, path);
  }
  return { files: names.map((name) => join(folder, name)), bytes };
}

/** Length and JSON of a file with these tensors one after the other, padded so that the data is aligned, as the safetensors library writes it. */
export function safetensorsHeader(tensors: readonly Pick<OutputTensor, 'name' | 'dtype' | 'shape' | 'bytes'>[], metadata: Readonly<Record<string, string>>): Buffer {
  let end = 0;
  const entries = tensors.map(({ name, dtype, shape, bytes }) => {
    const at = end;
    end += bytes;
    return [name, { dtype, shape, data_offsets: [at, end] }];
  });
  const text = JSON.stringify(Object.fromEntries([...(Object.keys(metadata).length > 0 ? [['__metadata__', metadata]] : []), ...entries]));
  const json = Buffer.from(text + ' '.repeat((8 - (Buffer.byteLength(text) % 8)) % 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json]);
}

/** @returns the size of the file. */
async function writeShard(path: string, tensors: readonly OutputTensor[], metadata: Record<string, string>, wrote: (bytes: number) => void): Promise<number> {
  const header = safetensorsHeader(tensors, metadata);
  const file = await open(path, 'wx');
  try {
    await file.writeFile(header);
    for (const tensor of tensors) {
      let written = 0;
      for await (const chunk of 'file' in tensor.source ? fileChunks(tensor, tensor.source) : tensor.source.chunks()) {
        await file.writeFile(chunk);
        written += chunk.length;
        wrote(chunk.length);
      }
      if (written !== tensor.bytes) {
        throw new CheckpointError('checkpoint/size-mismatch', path, `"${tensor.name}" should hold ${tensor.bytes} bytes, but ${written} came. The file was not written.`);
      }
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return header.length + sum(tensors);
}

async function* fileChunks({ name, bytes }: OutputTensor, { file, offset }: { file: string; offset: number }): AsyncIterable<Uint8Array> {
  const source: FileHandle = await open(file, 'r');
  try {
    const buffer = Buffer.alloc(Math.min(chunkBytes, bytes));
    for (let done = 0; done < bytes;) {
      const { bytesRead } = await source.read(buffer, 0, Math.min(buffer.length, bytes - done), offset + done);
      if (bytesRead === 0) {
        throw new CheckpointError('checkpoint/truncated', file, `"${name}" ends ${bytes - done} bytes too early. The file changed while it was read; write it again.`);
      }
      done += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await source.close();
  }
}

/** In order; a tensor larger than a shard gets one for itself. */
function shardsOf(tensors: readonly OutputTensor[], most: number): OutputTensor[][] {
  const shards: OutputTensor[][] = [[]];
  let size = 0;
  for (const tensor of tensors) {
    if (size > 0 && size + tensor.bytes > most) {
      shards.push([]);
      size = 0;
    }
    shards.at(-1)?.push(tensor);
    size += tensor.bytes;
  }
  return shards;
}

function count(number: number): string { return String(number).padStart(5, '0'); }
function sum(tensors: readonly Pick<OutputTensor, 'bytes'>[]): number { return tensors.reduce((total, tensor) => total + tensor.bytes, 0); }

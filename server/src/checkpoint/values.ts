/** Values of small tensors (inputs, embeddings, results) as float32, and files that hold them. Weights are never read here: that is the engine's work. */
import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { TensorInfo } from '../protocol';
import { CheckpointError } from './errors';
import { safetensorsHeader } from './writer';

export interface TensorValues { shape: number[]; data: Float32Array }

/** Inputs of a forward pass are megabytes; more than this is a weight. */
const maxBytes = 1 << 30;

/** @throws CheckpointError when the tensor is too large, its type holds no numbers, or the file ends early. */
export async function readValues(tensor: TensorInfo): Promise<TensorValues> {
  const decode = decoders[tensor.dtype];
  if (!decode) {
    throw new CheckpointError('checkpoint/dtype', tensor.file, `"${tensor.name}" has the type ${tensor.dtype}; inputs may be ${Object.keys(decoders).join(', ')}.`);
  }
  if (tensor.bytes > maxBytes) {
    throw new CheckpointError('checkpoint/size-mismatch', tensor.file, `"${tensor.name}" holds ${tensor.bytes} bytes; an input may hold ${maxBytes}.`);
  }
  const bytes = Buffer.alloc(tensor.bytes);
  const file = await open(tensor.file, 'r');
  try {
    const { bytesRead } = await file.read(bytes, 0, bytes.length, tensor.offset);
    if (bytesRead < bytes.length) {
      throw new CheckpointError('checkpoint/truncated', tensor.file, `"${tensor.name}" ends ${bytes.length - bytesRead} bytes too early. The file changed while it was read; write it again.`);
    }
  } finally {
    await file.close();
  }
  return { shape: tensor.shape, data: decode(bytes) };
}

const view = (bytes: Buffer): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
const each = (width: number, at: (data: DataView, offset: number) => number) => (bytes: Buffer): Float32Array => {
  const data = view(bytes);
  return Float32Array.from({ length: bytes.length / width }, (_, i) => at(data, i * width));
};

const scratch = new DataView(new ArrayBuffer(4));

const decoders: Partial<Record<TensorInfo['dtype'], (bytes: Buffer) => Float32Array>> = {
  F32: each(4, (data, at) => data.getFloat32(at, true)),
  F64: each(8, (data, at) => data.getFloat64(at, true)),
  BF16: each(2, (data, at) => {
    scratch.setUint32(0, data.getUint16(at, true) << 16);
    return scratch.getFloat32(0);
  }),
  F16: each(2, (data, at) => halfToFloat(data.getUint16(at, true))),
  I64: each(8, (data, at) => Number(data.getBigInt64(at, true))),
  I32: each(4, (data, at) => data.getInt32(at, true)),
  U8: each(1, (data, at) => data.getUint8(at)),
  BOOL: each(1, (data, at) => data.getUint8(at)),
};

function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) {
    return sign * fraction * 2 ** -24;
  }
  return exponent === 31 ? (fraction ? NaN : sign * Infinity) : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Writes a safetensors file of F32 tensors through a temporary file that is renamed. */
export async function writeSafetensors(path: string, tensors: Readonly<Record<string, TensorValues>>, metadata: Readonly<Record<string, string>> = {}): Promise<void> {
  const list = Object.entries(tensors);
  const header = safetensorsHeader(list.map(([name, { shape, data }]) => ({ name, dtype: 'F32', shape, bytes: data.byteLength })), metadata);
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await writeFile(temporary, Buffer.concat([header, ...list.map(([, { data }]) => Buffer.from(data.buffer, data.byteOffset, data.byteLength))]));
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

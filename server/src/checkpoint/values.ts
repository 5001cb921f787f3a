/** Values of small tensors (inputs, embeddings, results) as float32, and files that hold them. Weights are never read here: that is the engine's work. */
import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Dtype, TensorInfo } from '../protocol';
import { CheckpointError } from './errors';
import { dtypeBits } from './safetensors';
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

export const decoders: Partial<Record<TensorInfo['dtype'], (bytes: Buffer) => Float32Array>> = {
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

const chunkElements = 1 << 20;

/** The values of a tensor of any size as another float type, rounded to nearest even. */
export async function* castChunks(tensor: TensorInfo, dtype: Dtype): AsyncIterable<Uint8Array> {
  const encode = encoders[dtype];
  const size = dtypeBits[tensor.dtype] / 8;
  if (!encode || !Number.isInteger(size)) {
    throw new CheckpointError('checkpoint/dtype', tensor.file, `"${tensor.name}" (${tensor.dtype}) cannot be stored as ${dtype}; BF16, F16 and F32 can be written.`);
  }
  for (let done = 0; done < tensor.bytes; done += chunkElements * size) {
    yield encode((await readValues({ ...tensor, offset: tensor.offset + done, bytes: Math.min(chunkElements * size, tensor.bytes - done) })).data);
  }
}

export const encoders: Partial<Record<Dtype, (values: Float32Array) => Uint8Array>> = {
  F32: (values) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  BF16: (values) => halves(values, floatToBF16),
  F16: (values) => halves(values, floatToHalf),
};

function halves(values: Float32Array, convert: (bits: number) => number): Uint8Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return new Uint8Array(Uint16Array.from(bits, convert).buffer);
}

function floatToBF16(bits: number): number {
  return (bits & 0x7fffffff) > 0x7f800000 ? (bits >>> 16) | 0x40 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

function floatToHalf(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) {
    return sign | 0x7e00;
  }
  if (magnitude < 0x38800000) {
    // Below 2^-14 the steps are 2^-24: adding ½ lets the float unit round to them.
    scratch.setUint32(0, magnitude);
    scratch.setFloat32(0, scratch.getFloat32(0) + 0.5);
    return sign | (scratch.getUint32(0) - 0x3f000000);
  }
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
  return sign | (rounded >= 0x47800000 ? 0x7c00 : (rounded - 0x38000000) >>> 13);
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

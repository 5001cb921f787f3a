/**
 * safetensors headers, read strictly: what the reference library (0.8) refuses is refused here, with the cause in plain words.
 * Layout: u64 little-endian header length N, N bytes of JSON, then the data. https://huggingface.co/docs/safetensors
 */
import type { Dtype, TensorInfo } from '../protocol';
import { CheckpointError, counted, grouped, quoted } from './errors';
import type { CheckpointCode } from './errors';
import { Files, readExactly } from './files';
import { decodeUtf8, Fault, JsonReader } from './json';

/** The reference library refuses one byte more. */
export const MAX_HEADER_BYTES = 100_000_000;
const MAX_NAME_LENGTH = 4096;
/** Holds the header of a model with 2,000 tensors, so that one read is enough. */
const FIRST_READ_BYTES = 256 * 1024;

/** Bits of one element. */
export const dtypeBits: Readonly<Record<Dtype, number>> = {
  BOOL: 8, F4: 4, F6_E2M3: 6, F6_E3M2: 6, U8: 8, I8: 8, F8_E5M2: 8, F8_E4M3: 8, F8_E8M0: 8, F8_E4M3FNUZ: 8, F8_E5M2FNUZ: 8,
  I16: 16, U16: 16, F16: 16, BF16: 16, I32: 32, U32: 32, F32: 32, C64: 64, F64: 64, I64: 64, U64: 64,
};

export interface Header {
  /** Sorted by offset. */
  tensors: TensorInfo[];
  metadata: Record<string, string>;
}

/** Reads a file's header, never its data. Throws CheckpointError. */
export async function readHeader(path: string, files = new Files()): Promise<Header> {
  return files.withFile(path, async (handle, size) => {
    const head = await readExactly(path, handle, 0, Math.min(size, FIRST_READ_BYTES));
    const end = 8 + headerLength(path, head, size);
    const rest = end > head.length ? await readExactly(path, handle, head.length, end - head.length) : Buffer.alloc(0);
    const header = rest.length > 0 ? Buffer.concat([head.subarray(8), rest]) : head.subarray(8, end);
    return parseHeader(path, header, size);
  });
}

/** Header length from the first bytes of a file of `size` bytes. A length that cannot be is explained by what the file really is. */
export function headerLength(file: string, head: Buffer, size: number): number {
  if (size === 0) {
    throw new CheckpointError('checkpoint/empty', file, 'holds no bytes. The download failed or has not started: download it again.');
  }
  const announced = size < 8 ? null : head.readBigUInt64LE(0);
  if (announced === null || announced > MAX_HEADER_BYTES || announced > size - 8) {
    throw sniffed(file, head) ?? implausible(file, announced, size);
  }
  return Number(announced);
}

/** Called only when the length is impossible, because a header of 640 bytes begins like a pickle. */
function sniffed(file: string, head: Buffer): CheckpointError | null {
  const text = head.subarray(0, 64).toString('latin1').trimStart();
  const fail = (code: CheckpointCode, detail: string): CheckpointError => new CheckpointError(code, file, detail);
  if (text.startsWith('version ')) {
    return fail('checkpoint/lfs-pointer', 'is a git-lfs pointer, not the file itself. Run `git lfs pull` in its repository.');
  }
  if (text.startsWith('PK\x03\x04')) {
    return fail('checkpoint/zip', 'is a zip archive (torch.save or .dduf). Unpack a .dduf; '
      + 'save a torch file again with safetensors.torch.save_file.');
  }
  if (head[0] === 0x80 && (head[1] ?? 0) >= 2 && (head[1] ?? 0) <= 5) {
    return fail('checkpoint/pickle', 'is a Python pickle, which can run code when read and is not opened. '
      + 'Save it again with safetensors.torch.save_file.');
  }
  if (text.startsWith('GGUF')) {
    return fail('checkpoint/gguf', 'is a GGUF file, not safetensors. Name the safetensors file or the diffusers folder it was made from.');
  }
  if (/^<(!doctype|html|\?xml|head|error)/i.test(text)) {
    return fail('checkpoint/html', 'is a web page or an error message, not the file. The link needs a login or another address: download it again.');
  }
  if (/^[{[]/.test(text)) {
    return fail('checkpoint/json', 'is plain JSON. A shard index must be named *.safetensors.index.json; otherwise download the weights again.');
  }
  return null;
}

function implausible(file: string, announced: bigint | null, size: number): CheckpointError {
  if (announced === null) {
    return new CheckpointError('checkpoint/truncated', file, `holds ${counted(size, 'byte')}; `
      + `a safetensors file starts with 8 bytes of header length. Download it again.`);
  }
  if (announced > MAX_HEADER_BYTES) {
    return new CheckpointError('checkpoint/header-too-large', file,
      `its first 8 bytes announce a header of ${announced} bytes; at most ${grouped(MAX_HEADER_BYTES)} are allowed. It is another kind of file, `
        + `or its beginning is damaged: download it again.`);
  }
  const missing = Number(announced) + 8 - size;
  return new CheckpointError('checkpoint/truncated', file,
    `ends inside its header at byte ${grouped(size)}, ${counted(missing, 'byte')} before the data begin. The download is incomplete: `
      + `download it again.`);
}

/**
 * Parses the N header bytes of a file of `size` bytes in all.
 * Sorted by offset, tensors must start at 0, follow each other without hole or overlap, and end with the file.
 */
export function parseHeader(file: string, header: Buffer, size: number): Header {
  if (header.length === 0) {
    throw new CheckpointError('checkpoint/json', file, 'its first 8 bytes are zero. Space was reserved for the download but never filled: '
      + 'download it again.');
  }
  const text = decodeUtf8(file, header, 8);
  try {
    const { tensors, metadata } = readEntries(new JsonReader(text), file);
    const dataStart = 8 + header.length;
    tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
    checkLayout(file, tensors, dataStart, size);
    for (const tensor of tensors) {
      tensor.offset += dataStart;
    }
    return { tensors, metadata };
  } catch (error) {
    if (error instanceof Fault) {
      const place = 8 + Buffer.byteLength(text.slice(0, error.position));
      throw new CheckpointError(error.code, file, `header, byte ${grouped(place)}: ${error.message}. The file is damaged or badly written: `
        + `download or save it again.`);
    }
    throw error;
  }
}

/** All entries, with offsets still relative to the data area. */
function readEntries(reader: JsonReader, file: string): Header {
  const tensors: TensorInfo[] = [];
  let metadata: Record<string, string> = {};
  reader.object((name, position) => {
    if (name === '__metadata__') {
      metadata = readMetadata(reader);
    } else {
      tensors.push(readTensor(reader, file, name, position));
    }
  });
  reader.end();
  return { tensors, metadata };
}

/** String to string, or null, which the reference library accepts. */
function readMetadata(reader: JsonReader): Record<string, string> {
  const entries: [string, string][] = [];
  const opening = reader.peek();
  if (opening === '{') {
    reader.object((key, position) => {
      if (reader.peek() !== '"') {
        throw new Fault('checkpoint/metadata', `__metadata__ ${quoted(key)} is not a string; writers must turn other values into strings`, position);
      }
      entries.push([key, reader.string()]);
    });
  } else if (opening !== 'n' || reader.value() !== null) {
    throw new Fault('checkpoint/metadata', '__metadata__ is not an object of strings', reader.position);
  }
  return Object.fromEntries(entries);
}

/** One entry {dtype, shape, data_offsets}. Other fields are skipped, as the reference library does. */
function readTensor(reader: JsonReader, file: string, name: string, position: number): TensorInfo {
  if (name.length > MAX_NAME_LENGTH) {
    throw new Fault('checkpoint/name', `tensor ${quoted(name)}: the name has ${grouped(name.length)} characters, `
      + `above ${grouped(MAX_NAME_LENGTH)}`, position);
  }
  const fields: { dtype?: Dtype; shape?: number[]; offsets?: number[] } = {};
  try {
    reader.object(key => {
      if (key === 'dtype') {
        fields.dtype = readDtype(reader);
      } else if (key === 'shape') {
        fields.shape = readIntegers(reader);
      } else if (key === 'data_offsets') {
        fields.offsets = readIntegers(reader);
      } else {
        reader.value();
      }
    });
  } catch (error) {
    throw error instanceof Fault ? new Fault(error.code, `tensor ${quoted(name)}: ${error.message}`, error.position) : error;
  }
  const { dtype, shape, offsets } = fields;
  if (dtype === undefined || shape === undefined || offsets === undefined) {
    throw new Fault('checkpoint/json', `tensor ${quoted(name)}: dtype, shape and data_offsets are needed, and one is missing`, position);
  }
  const [begin, end] = offsets;
  if (begin === undefined || end === undefined || offsets.length !== 2 || begin > end) {
    throw new Fault('checkpoint/offsets', `tensor ${quoted(name)}: data_offsets [${offsets.slice(0, 3).join(', ')}] is not [begin, end]`, position);
  }
  const bits = shape.reduce((product, dimension) => (Number.isSafeInteger(product) ? product * dimension : product), dtypeBits[dtype]);
  if (!Number.isSafeInteger(bits) || bits !== (end - begin) * 8) {
    const whole = bits % 8 === 0 ? counted(bits / 8, 'byte') : `${grouped(bits)} bits, no whole number of bytes`;
    const needed = Number.isSafeInteger(bits) ? whole : 'more than 2^53 bits';
    throw new Fault('checkpoint/size-mismatch',
      `tensor ${quoted(name)}: ${dtype} [${shapeText(shape)}] needs ${needed}, `
        + `but data_offsets [${begin}, ${end}] hold ${counted(end - begin, 'byte')}`, position);
  }
  return { name, dtype, shape, file, offset: begin, bytes: end - begin };
}

function readDtype(reader: JsonReader): Dtype {
  const position = reader.position;
  const text = reader.string();
  if (!Object.hasOwn(dtypeBits, text)) {
    throw new Fault('checkpoint/dtype', `dtype ${quoted(text)} is not one of ${Object.keys(dtypeBits).join(', ')}`, position);
  }
  return text as Dtype;
}

function readIntegers(reader: JsonReader): number[] {
  const values: number[] = [];
  reader.array(() => { values.push(reader.integer()); });
  return values;
}

function shapeText(shape: readonly number[]): string {
  return shape.length > 8 ? `${shape.slice(0, 8).join(', ')}, …` : shape.join(', ');
}

/** Tensors sorted by offset must tile the data area [dataStart, size) exactly. */
function checkLayout(file: string, tensors: readonly TensorInfo[], dataStart: number, size: number): void {
  let end = 0;
  let before = 'the start of the data';
  for (const tensor of tensors) {
    if (tensor.offset !== end) {
      const what = tensor.offset > end
        ? `leaves a hole of ${counted(tensor.offset - end, 'byte')} after`
        : `overlaps ${counted(end - tensor.offset, 'byte')} of`;
      throw new CheckpointError('checkpoint/offsets', file,
        `tensor ${quoted(tensor.name)} at byte ${grouped(dataStart + tensor.offset)} ${what} ${before}. Tensors must follow each other exactly: `
          + `save the file again.`);
    }
    end += tensor.bytes;
    before = `tensor ${quoted(tensor.name)}`;
  }
  const expected = dataStart + end;
  if (size < expected) {
    throw new CheckpointError('checkpoint/truncated', file,
      `ends ${counted(expected - size, 'byte')} too early: ${grouped(size)} of ${grouped(expected)}. The download is incomplete: `
        + `resume it or download it again.`);
  }
  if (size > expected) {
    throw new CheckpointError('checkpoint/trailing-bytes', file,
      `${counted(size - expected, 'byte')} too many after the last tensor, which ends at byte ${grouped(expected)}. Most loaders refuse this: `
        + `download it again, or cut it there.`);
  }
}

/**
 * Which half of a byte holds the first of two FP4 weights. No header says so, but an unquantized original does: bit 3 of a code is its sign and scales are positive, so
 * in the right order nearly all signs are those of the original, in the wrong one about half of them.
 */
import { readValues } from '../../checkpoint/values';
import type { Checkpoint, Range, TensorInfo } from '../../protocol';
import { problem } from './dialect';
import type { DialectProblem } from './dialect';

type Half = 'high' | 'low';

export interface Packing {
  /**
   * Where the tool looks for even columns: comfy-kitchen in the high half (`pack_uint4` with `hi_first`, its default), ModelOpt (`NVFP4QTensor.quantize`) and
   * compressed-tensors (`pack_fp4_to_uint8`) in the low one.
   */
  first: Half;
  tool: string;
  /** The layer whose packed weight a tensor is. */
  layerOf(tensor: TensorInfo): string | undefined;
}

interface Pair { packed: TensorInfo; original: TensorInfo }
/** Of the signs that were compared, the share that agrees in each order. */
interface Agreement extends Readonly<Record<Half, number>> { example: string }

/** What is read of all layers together: 4 KiB of codes and what they stand for. */
const sample = { layers: 4, rows: 8, bytes: 128 };
/** Fewer signs agree by chance. */
const enough = 256;

/** @param packed what the file describes. @param original unquantized; those of another model, or from before a rotation, agree in neither order, and nothing is said. */
export async function halfTraps({ first, tool, layerOf }: Packing, packed: Checkpoint | undefined, original: Checkpoint | undefined, range: Range): Promise<DialectProblem[]> {
  if (!packed || !original || packed === original) {
    return [];
  }
  const agreement = await remembered(packed, original, layerOf);
  const other: Half = first === 'high' ? 'low' : 'high';
  if (!agreement || agreement[other] < 0.9 || agreement[first] > 0.75) {
    return [];
  }
  const percent = (half: Half): string => `${Math.round(100 * agreement[half])} %`;
  return [problem('dialect/half-order', 'error', range,
    `The two weights of each byte are in the other order than ${tool} reads them, with the first one in the ${first} half. So ${percent(first)} of the signs of "${agreement.example}" and its like are those of ${original.path}; ` +
    `with the first one in the ${other} half ${percent(other)} are. Pictures become white or noise: swap the halves, or quantize again for ${tool}.`)];
}

const prefix = /^(?:model\.)?diffusion_model\./;

/** A few layers that both have under one name, prefix aside; others are fused or renamed. */
function pairsOf(packed: Checkpoint, original: Checkpoint, layerOf: Packing['layerOf']): Pair[] {
  const byName = new Map(original.tensors.filter(({ dtype, shape }) => /^(?:BF16|F16|F32)$/.test(dtype) && shape.length === 2).map((tensor) => [tensor.name.replace(prefix, ''), tensor]));
  const pairs = packed.tensors.flatMap((tensor): Pair[] => {
    const layer = tensor.dtype === 'U8' ? layerOf(tensor) : undefined;
    const found = layer === undefined ? undefined : byName.get(`${layer.replace(prefix, '')}.weight`);
    return found && fits(tensor.shape, found.shape) ? [{ packed: tensor, original: found }] : [];
  });
  return spread(pairs.length, sample.layers).flatMap((i) => pairs[i] ?? []);
}

/** Rows and columns may be filled up to a multiple of 16. */
function fits([rows = 0, bytes = 0, ...more]: readonly number[], [outputs = 0, inputs = 0]: readonly number[]): boolean {
  const padded = (size: number): number[] => [size, Math.ceil(size / 16) * 16];
  return more.length === 0 && padded(outputs).includes(rows) && padded(inputs).includes(2 * bytes);
}

/** At most so many of the indices below `count`, evenly spread. */
function spread(count: number, most: number): number[] {
  return Array.from({ length: Math.min(count, most) }, (_, i) => Math.floor((i * count) / Math.min(count, most)));
}

const known = new WeakMap<Checkpoint, { original: Checkpoint; agreement: Promise<Agreement | undefined> }>();

/** Once for two checkpoints as they are: an editor asks at every letter. */
function remembered(packed: Checkpoint, original: Checkpoint, layerOf: Packing['layerOf']): Promise<Agreement | undefined> {
  const before = known.get(packed);
  if (before?.original === original) {
    return before.agreement;
  }
  const agreement = compare(pairsOf(packed, original, layerOf)).catch(() => {
    known.delete(packed); // written or removed meanwhile: the next look tells
    return undefined;
  });
  known.set(packed, { original, agreement });
  return agreement;
}

async function compare(pairs: readonly Pair[]): Promise<Agreement | undefined> {
  const seen = { high: [0, 0], low: [0, 0] } satisfies Record<Half, [same: number, of: number]>;
  const count = (half: Half, code: number, value: number): void => {
    if ((code & 7) !== 0 && value !== 0) {
      seen[half][0] += (code & 8) !== 0 === value < 0 ? 1 : 0;
      seen[half][1] += 1;
    }
  };
  for (const { packed, original } of pairs) {
    const [rows = 0, inputs = 0] = original.shape;
    for (const row of spread(rows, sample.rows)) {
      const bytes = Math.min(sample.bytes, Math.floor(inputs / 2));
      const [codes, values] = await Promise.all([readRow(packed, row, bytes), readRow(original, row, 2 * bytes)]);
      codes.forEach((byte, i) => {
        const [even = 0, odd = 0] = values.subarray(2 * i);
        count('high', byte >> 4, even);
        count('high', byte, odd);
        count('low', byte, even);
        count('low', byte >> 4, odd);
      });
    }
  }
  return Math.min(seen.high[1], seen.low[1]) < enough ? undefined : { example: pairs[0]?.packed.name ?? '', high: seen.high[0] / seen.high[1], low: seen.low[0] / seen.low[1] };
}

/** The first elements of a row. */
async function readRow(tensor: TensorInfo, row: number, elements: number): Promise<Float32Array> {
  const [rows = 1, columns = 1] = tensor.shape;
  const size = tensor.bytes / (rows * columns);
  return (await readValues({ ...tensor, offset: tensor.offset + row * columns * size, bytes: elements * size })).data;
}

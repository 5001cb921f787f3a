/**
 * Packed checkpoints, as `quantscope quantize` writes them: a safetensors file whose metadata has `format: quantscope-packed-1` and, for each packed layer, an entry
 * `layer:<name>` with its shape, recipe and transforms. Its codes and side data are the tensors `<name>.weight.<part>`. docs/packed.md describes it for other readers.
 */
import type { LinearRecipe, Transform } from '../engine/graph';
import type { TensorRef } from '../engine/addon';
import type { Checkpoint, Dtype, Problem, Recipe, TensorInfo } from '../protocol';
import { problem, quoted } from './errors';
import { isPackedEntry, whatIsWrong } from './packedSchema';

export const packedFormat = 'quantscope-packed-1';

/** One metadata entry. Tensors are named by what follows `<layer>.weight.`. */
export interface PackedEntry {
  /** [out, in] of the weight. */
  shape: [number, number];
  /** How the weight was stored before. */
  dtype: Dtype;
  recipe: Recipe;
  transforms: (Exclude<Transform, { values: TensorRef } | { sources: TensorRef } | { matrices: TensorRef }> | { kind: 'scale' | 'permute' | 'blocks'; tensor: string })[];
  tail: number;
  activationRange: LinearRecipe['activationRange'];
  sides: string[];
  lowRank: boolean;
  /** ‖W − Ŵ‖² / ‖W‖² when it was packed. */
  relativeMse: number;
}

export interface PackedLayer { entry: PackedEntry; linear: LinearRecipe; /** Of all its parts. */ bytes: number }

export interface Packed { layers: ReadonlyMap<string, PackedLayer>; /** What the parts stand for: one weight per layer, so that roles and blocks are found as usual. */ weights: TensorInfo[]; /** All other tensors. */ rest: TensorInfo[]; problems: Problem[] }

const prefix = 'layer:';

/** null for a file of another kind. A layer whose entry or tensors are damaged is a problem and no layer. */
export function readPacked(file: string, metadata: Readonly<Record<string, string>>, tensors: readonly TensorInfo[]): Packed | null {
  if (metadata['format'] !== packedFormat) {
    return null;
  }
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const layers = new Map<string, PackedLayer>();
  const problems: Problem[] = [];
  const used = new Set<string>();
  for (const [key, text] of Object.entries(metadata).filter(([name]) => name.startsWith(prefix))) {
    const name = key.slice(prefix.length);
    const layer = readLayer(name, text, byName, used);
    if (typeof layer === 'string') {
      problems.push(problem('checkpoint/packed-weights', 'error', file, `the packed layer ${quoted(name)} cannot be read: ${layer}. Pack the checkpoint again with "quantscope quantize".`));
    } else {
      layers.set(name, layer);
    }
  }
  const weights = [...layers].map(([name, { entry, linear, bytes }]): TensorInfo => {
    const { file: at, offset } = linear.packed?.codes ?? { file, offset: 0 };
    return { name: `${name}.weight`, dtype: entry.dtype, shape: entry.shape, file: at, offset, bytes };
  });
  return { layers, weights, rest: tensors.filter((tensor) => !used.has(tensor.name)), problems };
}

const known = new WeakMap<Checkpoint, ReadonlyMap<string, PackedLayer>>();

/** The packed layers of an opened checkpoint by name; empty for one that is not packed. */
export function packedLayers(checkpoint: Checkpoint): ReadonlyMap<string, PackedLayer> {
  const layers = known.get(checkpoint) ?? readPacked(checkpoint.path, checkpoint.metadata, checkpoint.tensors)?.layers ?? new Map<string, PackedLayer>();
  known.set(checkpoint, layers);
  return layers;
}

/** @returns the reason when it cannot be read. */
function readLayer(name: string, text: string, tensors: ReadonlyMap<string, TensorInfo>, used: Set<string>): PackedLayer | string {
  let entry: PackedEntry;
  try {
    const value: unknown = JSON.parse(text);
    if (!isPackedEntry(value)) {
      return `its metadata entry is not as expected (${whatIsWrong()})`;
    }
    entry = value;
  } catch (error) {
    return `its metadata entry is no JSON (${(error as Error).message})`;
  }
  const missing: string[] = [];
  let bytes = 0;
  const part = (which: string): TensorRef => {
    const tensor = tensors.get(`${name}.weight.${which}`);
    if (!tensor) {
      missing.push(`${name}.weight.${which}`);
      return { file: '', offset: 0, dtype: 'U8', shape: [0] };
    }
    if (!used.has(tensor.name)) {
      used.add(tensor.name);
      bytes += tensor.bytes;
    }
    const { file, offset, dtype, shape } = tensor;
    return { file, offset, dtype, shape };
  };
  const transforms = entry.transforms.map((transform): Transform => {
    switch (transform.kind) {
      case 'scale': return { kind: 'scale', values: part(transform.tensor) };
      case 'permute': return { kind: 'permute', sources: part(transform.tensor) };
      case 'blocks': return { kind: 'blocks', matrices: part(transform.tensor) };
      default: return transform;
    }
  });
  const linear: LinearRecipe = {
    transforms, tail: entry.tail, lowRank: entry.lowRank ? { down: part('low_rank.down'), up: part('low_rank.up') } : null,
    weights: entry.recipe.weights, activations: entry.recipe.activations, activationRange: entry.activationRange,
    packed: { codes: part('codes'), sides: Object.fromEntries(entry.sides.map((side) => [side, part(side)])), tail: entry.tail > 0 ? part('tail') : null },
  };
  const wrong = missing.length > 0 ? `it has no tensor ${missing.map(quoted).join(', ')}` : misshapen(entry, linear);
  return wrong ?? { entry, linear, bytes };
}

/** What the shapes of the parts contradict. Side data depend on the quantizer; the engine looks at them when it reads them. */
function misshapen({ shape: [rows, width], tail }: PackedEntry, { packed, lowRank, transforms }: LinearRecipe): string | undefined {
  if (tail >= width) {
    return `a tail of ${tail} leaves nothing of its ${width} inputs to quantize`;
  }
  const expected = (what: string, { shape, dtype }: TensorRef, type: Dtype, fits: (shape: number[]) => boolean, wanted: string): string[] =>
    (dtype === type && fits(shape) ? [] : [`${quoted(what)} is ${dtype} [${shape.join(', ')}], which should be ${wanted}`]);
  const is = (...wanted: number[]) => (shape: number[]): boolean => shape.length === wanted.length && shape.every((size, i) => size === wanted[i]);
  return [
    ...(packed ? expected('codes', packed.codes, 'U8', ([first, , ...more]) => first === rows && more.length === 0, `U8 with ${rows} rows`) : []),
    ...(packed?.tail ? expected('tail', packed.tail, 'BF16', is(rows, tail), `BF16 [${rows}, ${tail}]`) : []),
    ...(lowRank ? expected('low_rank.down', lowRank.down, 'BF16', (shape) => shape.length === 2 && shape[1] === width, `BF16 with ${width} columns`) : []),
    ...(lowRank ? expected('low_rank.up', lowRank.up, 'BF16', is(rows, lowRank.down.shape[0] ?? 0), `BF16 [${rows}, ${lowRank.down.shape[0] ?? 0}]`) : []),
    ...transforms.flatMap((transform, i) => {
      switch (transform.kind) {
        case 'scale': return expected(`transform.${i}`, transform.values, 'F32', is(width), `F32 [${width}]`);
        case 'permute': return expected(`transform.${i}`, transform.sources, 'I32', is(width), `I32 [${width}]`);
        case 'blocks': return expected(`transform.${i}`, transform.matrices, 'F32', ([count = 0, block = 0, same, ...more]) => block > 0 && block === same && (count === 1 ? width % block === 0 : count * block === width) && more.length === 0, `F32 with square blocks that divide ${width} inputs`);
        default: return [];
      }
    }),
  ][0];
}

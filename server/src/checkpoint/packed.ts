/**
 * Packed checkpoints, as `quantscope quantize` writes them: a safetensors file whose metadata has `format: quantscope-packed-1` and, for each packed layer, an entry
 * `layer:<name>` with its shape, recipe and transforms. Its codes and side data are the tensors `<name>.weight.<part>`. docs/packed.md describes it for other readers.
 */
import Ajv from 'ajv';
import type { LinearRecipe, Transform } from '../engine/graph';
import type { TensorRef } from '../engine/addon';
import type { Checkpoint, Dtype, Problem, Recipe, TensorInfo } from '../protocol';
import { problem, quoted } from './errors';

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
    if (!isEntry(value)) {
      return `its metadata entry is not as expected (${ajv.errorsText(isEntry.errors, { dataVar: 'entry' })})`;
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
  return missing.length > 0 ? `it has no tensor ${missing.map(quoted).join(', ')}` : { entry, linear, bytes };
}

const ajv = new Ajv({ strict: false });
const count = { type: 'integer', minimum: 0, maximum: 2 ** 31 };
const kinds = (...names: string[]): object => ({ type: 'object', required: ['kind'], properties: { kind: { enum: names }, bits: { type: 'integer', minimum: 1, maximum: 8 } } });
const quantizers = kinds('int', 'codebook', 'midrise', 'twin-log', 'float', 'keep');
const nullable = (schema: object): object => ({ anyOf: [{ type: 'null' }, schema] });
const isEntry = ajv.compile<PackedEntry>({
  type: 'object',
  required: ['shape', 'dtype', 'recipe', 'transforms', 'tail', 'activationRange', 'sides', 'lowRank', 'relativeMse'],
  properties: {
    shape: { type: 'array', minItems: 2, maxItems: 2, items: { type: 'integer', minimum: 1, maximum: 2 ** 24 } },
    dtype: { enum: ['F64', 'F32', 'F16', 'BF16', 'F8_E4M3', 'F8_E5M2'] },
    recipe: {
      type: 'object',
      required: ['method', 'smooth', 'permute', 'rotate', 'tail', 'lowRank', 'weights', 'activations', 'solver'],
      properties: {
        method: { type: 'string' }, weights: quantizers, activations: quantizers, solver: kinds('rtn', 'gptq', 'adaround'),
        smooth: nullable(kinds('absmax', 'smoothquant', 'search', 'csb')), permute: nullable(kinds('random', 'zigzag')),
        rotate: nullable(kinds('rpbh', 'hadamard', 'random', 'outlier-aware', 'pca', 'adaptive')), tail: nullable({ type: 'object' }), lowRank: nullable({ type: 'object' }),
      },
    },
    transforms: { type: 'array', maxItems: 16, items: kinds('scale', 'permute', 'rpbh', 'hadamard', 'random', 'blocks') },
    tail: count,
    activationRange: nullable({ type: 'object', required: ['low', 'high'], properties: { low: { type: 'number' }, high: { type: 'number' } } }),
    sides: { type: 'array', maxItems: 8, items: { type: 'string', maxLength: 64 } },
    lowRank: { type: 'boolean' },
    relativeMse: { type: 'number' },
  },
});

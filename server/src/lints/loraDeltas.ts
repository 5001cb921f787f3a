/**
 * How large an adapter's change of a layer is beside the step of the layer's quantizer. It reads weights, so it runs in the background: once per layer, recipe and pair of files, a few rows each.
 * Rotated weights are measured behind a random block Hadamard, which spreads them as any rotation does; smoothing, which depends on data, is left out.
 */
import { matchAdapter } from '../checkpoint/adapter';
import type { Adapter, Pair } from '../checkpoint/adapter';
import { decoders, readValues } from '../checkpoint/values';
import { meanSquare, squaredStep } from '../config/steps';
import type { Checkpoint, LayerPlan, Plan, Quantizer, TensorInfo } from '../protocol';

/** An adapter of the config: its file, and how strong it is. */
export interface AdapterUse { file: Checkpoint; adapter: Adapter; scale: number }

/** Root mean squares over the sampled rows, ΔW over step. */
export interface Delta { ratio: number; /** The same with the quantizer at 8 bits; null where it has none. */ at8: number | null; rows: number }

export const sampledRows = 16;
const maxKnown = 20_000;
const known = new Map<string, Delta | null>();

/** Layers that an adapter changes and whose weights are quantized; the branch of an SVDQuant layer can hold an adapter as it is. */
export function affected({ adapter }: AdapterUse, checkpoint: Checkpoint, plan: Plan): { plan: LayerPlan; pair: Pair }[] {
  const plans = new Map(plan.layers.map((layer) => [layer.name, layer]));
  return matchAdapter(adapter, checkpoint).layers.flatMap(({ layer, pair }) => {
    const own = plans.get(layer.name);
    const { recipe } = own ?? {};
    return own && recipe && recipe.weights.kind !== 'keep' && recipe.weights.kind !== 'twin-log' && !recipe.lowRank ? [{ plan: own, pair }] : [];
  });
}

function keyOf({ file, scale }: AdapterUse, { revision }: Checkpoint, { name, recipe: { weights, rotate } }: LayerPlan): string {
  return JSON.stringify([file.path, file.revision, scale, revision, name, weights, rotate !== null]);
}

/** What is known of the layers, by name; undefined until all of them have been measured. */
export function knownDeltas(use: AdapterUse, checkpoint: Checkpoint, plan: Plan): Map<string, Delta> | undefined {
  const found = new Map<string, Delta>();
  for (const { plan: layer } of affected(use, checkpoint, plan)) {
    const delta = known.get(keyOf(use, checkpoint, layer));
    if (delta === undefined) {
      return undefined;
    }
    if (delta) {
      found.set(layer.name, delta);
    }
  }
  return found;
}

/** Measures what is not known yet. @returns whether there was anything @throws CheckpointError when a file cannot be read any more */
export async function measureDeltas(use: AdapterUse, checkpoint: Checkpoint, plan: Plan): Promise<boolean> {
  let measured = false;
  for (const { plan: layer, pair } of affected(use, checkpoint, plan)) {
    const key = keyOf(use, checkpoint, layer);
    if (!known.has(key)) {
      measured = true;
      remember(key, await measure(layer, pair, use.scale));
      // Somebody may be typing.
      await new Promise((resolve) => { setImmediate(resolve); });
    }
  }
  return measured;
}

function remember(key: string, delta: Delta | null): void {
  known.set(key, delta);
  [...known.keys()].slice(0, -maxKnown).forEach((oldest) => known.delete(oldest));
}

async function measure({ recipe, tensor, inFeatures, outFeatures }: LayerPlan, { down, up, alpha }: Pair, scale: number): Promise<Delta | null> {
  if ([tensor, down, up].some(({ dtype }) => !decoders[dtype])) {
    return null; // FP8 weights: no numbers without the scales that other tools keep beside them
  }
  const rank = down.shape[0] ?? 1;
  const strength = alpha === null ? 1 : (typeof alpha === 'number' ? alpha : (await readValues(alpha)).data[0] ?? rank) / rank;
  const [a, b] = [await readValues(down), await readValues(up)];
  const count = Math.min(sampledRows, outFeatures);
  const rows = Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * outFeatures) / count));
  const weights = await Promise.all(rows.map((row) => readRow(tensor, row, inFeatures)));
  const deltas = rows.map((row) => {
    const delta = new Float32Array(inFeatures);
    for (let r = 0; r < rank; r++) {
      const factor = scale * strength * (b.data[row * rank + r] ?? 0);
      for (let i = 0; i < inFeatures; i++) {
        delta[i] = (delta[i] ?? 0) + factor * (a.data[r * inFeatures + i] ?? 0);
      }
    }
    return delta;
  });
  const turned = recipe.rotate ? weights.map((row) => spread(row)) : weights;
  const absMax = turned.reduce((most, row) => row.reduce((max, value) => Math.max(max, Math.abs(value)), most), 0);
  const change = deltas.reduce((sum, delta) => sum + meanSquare(delta), 0);
  const ratio = (quantizer: Quantizer): number | null => {
    const steps = turned.map((row) => squaredStep(quantizer, row, absMax));
    const sum = steps.reduce<number>((all, step) => all + (step ?? 0), 0);
    return steps.includes(null) || !(sum > 0) || !Number.isFinite(change) ? null : Math.sqrt(change / sum);
  };
  const own = ratio(recipe.weights);
  return own === null ? null : { ratio: own, at8: 'bits' in recipe.weights ? ratio({ ...recipe.weights, bits: 8 }) : null, rows: count };
}

async function readRow(tensor: TensorInfo, row: number, width: number): Promise<Float32Array> {
  const bytes = tensor.bytes / (tensor.shape[0] ?? 1);
  const { data } = await readValues({ ...tensor, offset: tensor.offset + row * bytes, bytes, shape: [1, width] });
  return data;
}

/** Random signs, then the Hadamard transform of blocks of the largest power of two: keeps lengths, makes coordinates alike. */
function spread(row: Float32Array): Float32Array {
  const out = row.slice();
  let state = 0x9e3779b9;
  for (let i = 0; i < out.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    out[i] = state & 1 ? -(out[i] ?? 0) : out[i] ?? 0;
  }
  const block = out.length & -out.length;
  for (let size = 1; size < block; size *= 2) {
    for (let at = 0; at < out.length; at += 2 * size) {
      for (let i = at; i < at + size; i++) {
        const [x, y] = [out[i] ?? 0, out[i + size] ?? 0];
        out[i] = (x + y) * Math.SQRT1_2;
        out[i + size] = (x - y) * Math.SQRT1_2;
      }
    }
  }
  return out;
}

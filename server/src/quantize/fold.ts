/**
 * Which smoothing can move into the tensors before it. Layers that read one value x share v = 1/λ and work on v·x; where x comes out of tensors that nothing else uses, these emit v·x
 * themselves and nothing stays online. Found on the program alone: from the layers back to the first ops that can take a factor per channel.
 * PTQ4DiT (arXiv 2405.16005, section 4.3), generalised from adaLN to everything that is linear per channel: norms with weights, linears, attention in v, products.
 */
import type { TensorRef } from '../engine/addon';
import type { Buffer, Op, Program } from '../engine/graph';
import { inputsOf, tensorsOf } from '../engine/ops';

/** Row `start + i` of a tensor becomes values_i · row + offset · (values_i − 1). A bias that is not there yet counts as zeros. */
export interface Edit { tensor: string; start: number; values: Float32Array; offset: number }

export interface Fold { layers: string[]; /** v, [width]: columns of the layers' weights are divided by it. */ values: Float32Array; edits: Edit[] }

/** Smoothing that is applied at run time. */
export interface Online { layers: string[]; reason: string }

/**
 * @param smoothed v by layer, [width]: the layer multiplies its input by it.
 * @param nameOf name of a tensor of the checkpoint.
 * @returns every smoothed layer that runs once, in order of the forward pass. Edits of different folds never touch the same row.
 */
export function findFolds(program: Program, smoothed: ReadonlyMap<string, Float32Array>, nameOf: (tensor: TensorRef) => string): { folded: Fold[]; online: Online[] } {
  const finder = new Finder(program, smoothed, nameOf);
  const [folded, online]: [Fold[], Online[]] = [[], []];
  const done = new Set<string>();
  for (const op of program.ops) {
    if (op.op !== 'linear' || !smoothed.has(op.name) || done.has(op.name)) {
      continue;
    }
    const readers = finder.readersOf(finder.root(op.x));
    const layers = [...new Set(readers.flatMap((each) => (each.op === 'linear' && smoothed.has(each.name) && !done.has(each.name) ? [each.name] : [])))];
    layers.forEach((layer) => done.add(layer));
    try {
      folded.push({ layers, values: smoothed.get(op.name) ?? new Float32Array(), edits: finder.fold(op.x, layers) });
    } catch (error) {
      if (!(error instanceof Unfoldable)) {
        throw error;
      }
      online.push({ layers, reason: error.message });
    }
  }
  return { folded, online };
}

/** The message is the reason. */
class Unfoldable extends Error {}

/** Types that a rescaled tensor can be stored in again. */
const rescalable: readonly string[] = ['F32', 'BF16', 'F16'];

const activations = { silu: 'SiLU', gelu_tanh: 'GELU', tanh: 'tanh', relu: 'ReLU' };

class Finder {
  private readonly producers = new Map<Buffer, Op>();
  private readonly readers = new Map<Buffer, Op[]>();
  /** How many ops use a tensor, by place. */
  private readonly uses = new Map<string, number>();
  private readonly outputs: ReadonlySet<Buffer>;

  constructor(private readonly program: Program, private readonly smoothed: ReadonlyMap<string, Float32Array>, private readonly nameOf: (tensor: TensorRef) => string) {
    this.outputs = new Set(Object.values(program.outputs));
    for (const op of program.ops) {
      this.producers.set(op.out, op);
      inputsOf(op).forEach((buffer) => this.readers.set(buffer, [...(this.readers.get(buffer) ?? []), op]));
      tensorsOf(op).forEach((tensor) => this.uses.set(placeOf(tensor), (this.uses.get(placeOf(tensor)) ?? 0) + 1));
    }
  }

  /** The value whose rows a layer reads: all tokens, where the layer takes some of them. */
  root(buffer: Buffer): Buffer {
    const op = this.producers.get(buffer);
    return op?.op === 'slice' && !this.ofChannels(op) ? this.root(op.x) : buffer;
  }

  /** All ops that read rows of a value. */
  readersOf(buffer: Buffer): Op[] {
    return (this.readers.get(buffer) ?? []).flatMap((op) => (op.op === 'slice' && !this.ofChannels(op) ? this.readersOf(op.out) : [op]));
  }

  /** @throws Unfoldable */
  fold(input: Buffer, layers: readonly string[]): Edit[] {
    const root = this.root(input);
    const [first = ''] = layers;
    const values = this.smoothed.get(first) ?? new Float32Array();
    const readers = this.readersOf(root);
    const other = readers.find((op) => op.op !== 'linear');
    if (other || this.outputs.has(root)) {
      throw new Unfoldable(`its input is also read by ${other ? describe(other) : 'the output of the model'}`);
    }
    for (const op of readers) {
      const theirs = op.op === 'linear' ? this.smoothed.get(op.name) : undefined;
      if (op.op !== 'linear' || !theirs) {
        throw new Unfoldable(`${describe(op)} reads the same values and is not smoothed, or keeps its weights`);
      }
      if (this.program.ops.filter((each) => each.op === 'linear' && each.name === op.name).length > 1) {
        throw new Unfoldable(`${op.name === first ? 'it' : op.name} runs more than once in a forward pass, on different values`);
      }
      this.requireRescalable(op.weight, `${op.name}.weight`);
      if (!sameValues(theirs, values)) {
        throw new Unfoldable(`${first} and ${op.name} read parts of one value and have smoothing factors of their own`);
      }
    }
    return this.absorb(root, 0, values, 0);
  }

  /** Edits after which channels `start` … of a buffer hold values · x + offset · (values − 1). */
  private absorb(buffer: Buffer, start: number, values: Float32Array, offset: number): Edit[] {
    const op = this.producers.get(buffer);
    if (start + values.length > (this.program.buffers[buffer]?.at(-1) ?? 0)) {
      throw new Unfoldable('one value stands for several of its channels');
    }
    const into = (source: Buffer, from = start, part = values, by = 0): Edit[] => {
      this.requireAlone(source, op as Op, from, part.length);
      return this.absorb(source, from, part, by);
    };
    // What reaches these with an offset is no plain modulation.
    if (offset !== 0 && !['linear', 'slice', 'affine'].includes(op?.op ?? '')) {
      throw new Unfoldable(this.sharedTable(op) ?? `its modulation comes from ${op ? describe(op) : 'an input of the model'}, which no tensor can rescale alone`);
    }
    switch (op?.op) {
      case undefined: throw new Unfoldable('it reads an input of the model, and nothing comes before it');
      case 'linear': return this.rows(op, start, values, offset);
      case 'slice': return this.ofChannels(op) ? into(op.x, op.start + start, values, offset) : into(op.x, start, values, offset);
      case 'concat': return op.axis < this.rank(op.out) - 1 ? op.xs.flatMap((x) => into(x)) : this.parts(op).flatMap(({ x, at, width }) => {
        const [low, high] = [Math.max(at, start), Math.min(at + width, start + values.length)];
        return low < high ? into(x, low - at, values.subarray(low - start, high - start)) : [];
      });
      case 'modulate': return [...into(op.shift), ...into(op.scale, start, values, 1)];
      case 'affine': {
        if (op.low !== null || op.high !== null || op.mul === 0) {
          throw new Unfoldable('its input is clamped');
        }
        return into(op.x, start, values, (op.add + offset) / op.mul);
      }
      case 'layernorm': case 'rmsnorm': {
        if (!op.weight) {
          throw new Unfoldable('the norm before it has no weight');
        }
        const bias = op.op === 'layernorm' ? op.bias : null;
        return [op.weight, ...(bias ? [bias] : [])].map((tensor) => this.edit(tensor, this.nameOf(tensor), start, values, 0));
      }
      case 'attention': return into(op.v);
      case 'binary': {
        if (op.kind !== 'mul') {
          throw new Unfoldable(this.sharedTable(op) ?? 'it reads a sum that more layers read and add to');
        }
        return this.either(() => into(op.a), () => into(op.b));
      }
      case 'gateAdd': throw new Unfoldable('it reads the residual stream, which more layers read and add to');
      case 'unary': throw new Unfoldable(`it comes behind ${activations[op.kind]}, which is not linear`);
      case 'permute': throw new Unfoldable(this.sharedTable(op) ?? 'its channels are rearranged on the way');
      default: throw new Unfoldable(`it comes behind ${describe(op as Op)}, which has no tensor that could take a factor per channel`);
    }
  }

  private either(one: () => Edit[], other: () => Edit[]): Edit[] {
    try {
      return one();
    } catch (error) {
      if (!(error instanceof Unfoldable)) {
        throw error;
      }
      return other();
    }
  }

  /** A linear that emits rescaled channels. */
  private rows({ name, weight, bias }: Extract<Op, { op: 'linear' }>, start: number, values: Float32Array, offset: number): Edit[] {
    if (!weight) {
      throw new Unfoldable(`${name} before it is packed already`);
    }
    return [
      this.edit(weight, `${name}.weight`, start, values, 0),
      ...(bias ? [this.edit(bias, `${name}.bias`, start, values, offset)] : offset === 0 ? [] : [{ tensor: `${name}.bias`, start, values, offset }]),
    ];
  }

  private edit(place: TensorRef, tensor: string, start: number, values: Float32Array, offset: number): Edit {
    if ((this.uses.get(placeOf(place)) ?? 0) > 1) {
      throw new Unfoldable(`"${tensor}" before it is used in more than one place`);
    }
    this.requireRescalable(place, tensor);
    return { tensor, start, values, offset };
  }

  private requireRescalable(place: TensorRef | null, tensor: string): void {
    if (place && !rescalable.includes(place.dtype)) {
      throw new Unfoldable(`"${tensor}" is stored as ${place.dtype}; ${rescalable.join(', ')} can be rescaled`);
    }
  }

  /** Nothing but `reader` may read these channels. Slices of other channels may. */
  private requireAlone(buffer: Buffer, reader: Op, start: number, length: number): void {
    const readers = this.readers.get(buffer) ?? [];
    const other = readers.find((op, i) => (op !== reader || readers.indexOf(op) !== i) && !(op.op === 'slice' && this.ofChannels(op) && (op.end <= start || op.start >= start + length)));
    if (other || this.outputs.has(buffer)) {
      const producer = this.producers.get(buffer);
      throw new Unfoldable(`the output of ${producer ? describe(producer) : 'the model\'s input'} is also read by ${other ? describe(other) : 'the output of the model'}`);
    }
  }

  /** PixArt and Wan: a table of the block plus what all blocks share. */
  private sharedTable(op?: Op): string | null {
    const sum = op?.op === 'permute' ? this.producers.get(op.x) : op;
    if (sum?.op !== 'binary' || sum.kind !== 'add') {
      return null;
    }
    const terms = [sum.a, sum.b].map((buffer) => this.producers.get(buffer));
    const table = terms.find((term) => term?.op === 'tensor');
    const shared = terms.find((term) => term !== table);
    return table?.op === 'tensor' ? `its modulation is "${this.nameOf(table.tensor)}" plus ${this.originOf(shared)}, which the blocks share: it cannot change for one of them` : null;
  }

  private originOf(op?: Op): string {
    return op?.op === 'permute' ? this.originOf(this.producers.get(op.x)) : op ? `the output of ${describe(op)}` : 'an input of the model';
  }

  private parts({ xs }: Extract<Op, { op: 'concat' }>): { x: Buffer; at: number; width: number }[] {
    let end = 0;
    return xs.map((x) => {
      const width = this.program.buffers[x]?.at(-1) ?? 0;
      end += width;
      return { x, at: end - width, width };
    });
  }

  private ofChannels({ x, axis }: Extract<Op, { op: 'slice' }>): boolean { return axis === this.rank(x) - 1; }
  private rank(buffer: Buffer): number { return this.program.buffers[buffer]?.length ?? 0; }
}

function placeOf({ file, offset }: TensorRef): string { return `${file}:${offset}`; }

function sameValues(a: Float32Array, b: Float32Array): boolean { return a.length === b.length && a.every((value, i) => value === b[i]); }

const names: Partial<Record<Op['op'], string>> = {
  gateAdd: 'the residual stream', attention: 'an attention', modulate: 'a modulation', permute: 'a reordering', row: 'an embedding table', timestep: 'the timestep embedding', tensor: 'a tensor of the checkpoint',
};

function describe(op: Op): string {
  switch (op.op) {
    case 'linear': return op.name;
    case 'unary': return activations[op.kind];
    case 'binary': return op.kind === 'mul' ? 'a product' : 'a sum';
    default: return names[op.op] ?? op.op;
  }
}

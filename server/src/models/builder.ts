/**
 * Builds a Program (engine/graph.ts) from a checkpoint: one method per op, shapes inferred and checked, tensors found by name.
 * A model file reads like the forward pass it describes.
 */
import { packedLayers } from '../checkpoint/packed';
import type { TensorRef } from '../engine/addon';
import type { Op, Program } from '../engine/graph';
import type { Checkpoint, TensorInfo } from '../protocol';

/** A buffer of the program with its shape, outermost first. */
export interface Value { readonly id: number; readonly shape: readonly number[] }

/** A tensor given to a forward pass, batch dimension removed. */
export interface Given { shape: number[]; data: Float32Array }

/** The checkpoint or the inputs do not fit the model; the message says what is missing and what was expected. */
export class ModelError extends Error {}

type WithoutOut<T> = T extends unknown ? Omit<T, 'out'> : never;

export class Builder {
  private readonly program: Program = { buffers: [], inputs: {}, outputs: {}, ops: [] };
  private readonly tensors: ReadonlyMap<string, TensorInfo>;

  constructor(readonly checkpoint: Checkpoint) {
    this.tensors = new Map(checkpoint.tensors.map((tensor) => [tensor.name, tensor]));
  }

  finish(): Program { return this.program; }

  // ------------------------------------------------------------------------------------------------- checkpoint and inputs

  has(name: string): boolean { return this.tensors.has(name); }

  tensor(name: string): TensorInfo {
    const tensor = this.tensors.get(name);
    if (!tensor) {
      throw new ModelError(`${this.checkpoint.architecture} needs the tensor "${name}", which this checkpoint does not have. Check that it is complete and in diffusers naming.`);
    }
    return tensor;
  }

  /** A whole number of the checkpoint's config.json. */
  integer(key: string, fallback?: number): number {
    const value = this.number(key, fallback);
    if (!Number.isInteger(value) || value < 0 || value > 1e6) {
      throw new ModelError(`config.json: "${key}" must be a whole number, not ${value}.`);
    }
    return value;
  }

  number(key: string, fallback?: number): number {
    const value = this.checkpoint.config?.[key] ?? fallback;
    if (typeof value !== 'number' || !Number.isFinite(value)) {
      throw new ModelError(`config.json: "${key}" must be a number${value === undefined ? ' and is missing' : `, not ${JSON.stringify(value)}`}. The model folder needs its config.json.`);
    }
    return value;
  }

  integers(key: string, length: number): number[] {
    const value = this.checkpoint.config?.[key];
    if (!Array.isArray(value) || value.length !== length || !value.every((each) => Number.isInteger(each) && (each as number) > 0)) {
      throw new ModelError(`config.json: "${key}" must be a list of ${length} whole numbers, not ${JSON.stringify(value)}.`);
    }
    return value as number[];
  }

  input(name: string, shape: readonly number[]): Value {
    const value = this.value(shape);
    this.program.inputs[name] = value.id;
    return value;
  }

  output(name: string, value: Value): void { this.program.outputs[name] = value.id; }

  // ------------------------------------------------------------------------------------------------------------------- ops

  constant(data: Float32Array, shape: readonly number[]): Value { return this.op({ op: 'constant', data }, shape); }
  /** A tensor of the checkpoint as data, viewed in `shape` (its own when left out). */
  data(name: string, shape?: readonly number[]): Value {
    const tensor = this.tensor(name);
    return this.op({ op: 'tensor', tensor: ref(tensor) }, shape ?? tensor.shape);
  }

  row(table: string, index: Value): Value { return this.op({ op: 'row', table: ref(this.tensor(table)), index: index.id }, [this.tensor(table).shape[1] ?? 0]); }
  timestep(t: Value, dim: number, { shift = 0, scale = 1 } = {}): Value { return this.op({ op: 'timestep', t: t.id, dim, shift, scale }, [dim]); }

  linear(name: string, x: Value): Value {
    // A packed weight is not read here: the layer's recipe names its parts.
    const packed = packedLayers(this.checkpoint).get(name);
    const weight = packed ? { shape: packed.entry.shape } : this.tensor(`${name}.weight`);
    const width = weight.shape.slice(1).reduce((product, size) => product * size, 1);
    if (last(x) !== width) {
      throw new ModelError(`"${name}" takes ${width} features; its input here has ${last(x)}. The config.json does not belong to these weights.`);
    }
    return this.op({ op: 'linear', name, x: x.id, weight: 'file' in weight ? ref(weight) : null, bias: this.optional(`${name}.bias`) }, [...x.shape.slice(0, -1), weight.shape[0] ?? 0]);
  }

  /** L(second)(activation(L(first)(x))) */
  mlp(first: string, second: string, activation: 'silu' | 'gelu_tanh', x: Value): Value { return this.linear(second, this.unary(activation, this.linear(first, x))); }

  layernorm(x: Value, eps: number, name?: string): Value {
    const weight = name === undefined ? null : this.optional(`${name}.weight`);
    return this.op({ op: 'layernorm', x: x.id, eps, weight, bias: weight && this.optional(`${name ?? ''}.bias`) }, x.shape);
  }

  rmsnorm(x: Value, eps: number, name: string): Value { return this.op({ op: 'rmsnorm', x: x.id, eps, weight: ref(this.tensor(`${name}.weight`)) }, x.shape); }
  modulate(x: Value, shift: Value, scale: Value): Value { return this.op({ op: 'modulate', x: x.id, shift: shift.id, scale: scale.id }, x.shape); }
  gateAdd(x: Value, gate: Value, y: Value): Value { return this.op({ op: 'gateAdd', x: x.id, gate: gate.id, y: y.id }, x.shape); }
  add(a: Value, b: Value): Value { return this.op({ op: 'binary', kind: 'add', a: a.id, b: b.id }, broadcast(a, b)); }
  mul(a: Value, b: Value): Value { return this.op({ op: 'binary', kind: 'mul', a: a.id, b: b.id }, broadcast(a, b)); }
  unary(kind: 'silu' | 'gelu_tanh' | 'tanh' | 'relu', x: Value): Value { return this.op({ op: 'unary', kind, x: x.id }, x.shape); }
  affine(x: Value, mul: number, add: number, low: number | null = null, high: number | null = null): Value { return this.op({ op: 'affine', x: x.id, mul, add, low, high }, x.shape); }

  attention(q: Value, k: Value, v: Value, heads: number, bias?: Value): Value {
    return this.op({ op: 'attention', q: q.id, k: k.id, v: v.id, heads, bias: bias?.id ?? null }, [q.shape[0] ?? 0, last(v)]);
  }

  /** angles [T, d/2] in radians, float64. */
  rope(x: Value, cos: Value, sin: Value, heads: number): Value { return this.op({ op: 'rope', x: x.id, cos: cos.id, sin: sin.id, heads }, x.shape); }

  permute(x: Value, shape: readonly number[], axes: readonly number[], out: readonly number[]): Value {
    if (count(shape) !== count(x.shape) || count(out) !== count(x.shape)) {
      throw new ModelError(`A value of shape [${x.shape.join(', ')}] cannot be seen as [${shape.join(', ')}]: the input's size does not fit the model's patches or heads.`);
    }
    return this.op({ op: 'permute', x: x.id, shape: [...shape], axes: [...axes] }, out);
  }

  reshape(x: Value, shape: readonly number[]): Value { return this.permute(x, shape, shape.map((_, axis) => axis), shape); }

  slice(x: Value, axis: number, start: number, end: number): Value {
    return this.op({ op: 'slice', x: x.id, axis, start, end }, x.shape.map((size, each) => (each === axis ? end - start : size)));
  }

  /** Equal parts of the last axis. */
  chunk(x: Value, parts: number): Value[] {
    const size = last(x) / parts;
    return Array.from({ length: parts }, (_, part) => this.slice(x, x.shape.length - 1, part * size, (part + 1) * size));
  }

  concat(xs: readonly Value[], axis: number): Value {
    const [first] = xs;
    return this.op({ op: 'concat', xs: xs.map((x) => x.id), axis }, (first?.shape ?? []).map((size, each) => (each === axis ? xs.reduce((sum, x) => sum + (x.shape[axis] ?? 0), 0) : size)));
  }

  /** Stride 1, "same" in height and width, valid in time. x [C, H, W], or [C, T, H, W] with a five-dimensional weight. */
  conv(name: string, x: Value): Value {
    const weight = this.tensor(`${name}.weight`);
    const [out = 0, channels = 0] = weight.shape;
    if (weight.shape.length !== x.shape.length + 1 || channels !== x.shape[0]) {
      throw new ModelError(`"${name}" takes ${channels} channels; its input here is [${x.shape.join(', ')}]. The config.json does not belong to these weights.`);
    }
    const frames = weight.shape.length === 5 ? [(x.shape[1] ?? 0) - (weight.shape[2] ?? 1) + 1] : [];
    return this.op({ op: 'conv', x: x.id, weight: ref(weight), bias: this.optional(`${name}.bias`) }, [out, ...frames, ...x.shape.slice(-2)]);
  }

  groupnorm(x: Value, groups: number, eps: number, name: string): Value {
    return this.op({ op: 'groupnorm', x: x.id, groups, eps, weight: ref(this.tensor(`${name}.weight`)), bias: ref(this.tensor(`${name}.bias`)) }, x.shape);
  }

  channelnorm(x: Value, name: string): Value { return this.op({ op: 'channelnorm', x: x.id, weight: ref(this.tensor(name)) }, x.shape); }

  /** Nearest neighbour. */
  resize(x: Value, shape: readonly number[]): Value { return this.op({ op: 'resize', x: x.id }, shape); }

  /** Height and width doubled. */
  upsample(x: Value): Value { return this.resize(x, x.shape.map((size, axis) => (axis >= x.shape.length - 2 ? 2 * size : size))); }

  /** Applies an image operation to every frame of x [C, T, H, W]. */
  eachFrame(x: Value, apply: (frame: Value) => Value): Value {
    const [channels = 0, frames = 0, ...plane] = x.shape;
    const done = Array.from({ length: frames }, (_, t) => apply(this.reshape(this.slice(x, 1, t, t + 1), [channels, ...plane])));
    return this.concat(done.map((frame) => this.reshape(frame, [frame.shape[0] ?? 0, 1, ...frame.shape.slice(1)])), 1);
  }

  /** RMS norm over each head of x [T, heads·d]. */
  headNorm(x: Value, heads: number, norm: (y: Value) => Value): Value {
    return this.reshape(norm(this.reshape(x, [x.shape[0] ?? 0, heads, last(x) / heads])), x.shape);
  }

  private optional(name: string): TensorRef | null {
    const tensor = this.tensors.get(name);
    return tensor ? ref(tensor) : null;
  }

  private value(shape: readonly number[]): Value {
    if (!shape.every((size) => Number.isInteger(size) && size > 0)) {
      throw new ModelError(`The model would need a value of shape [${shape.join(', ')}]: the input's size does not fit the model's patches or heads.`);
    }
    return { id: this.program.buffers.push([...shape]) - 1, shape };
  }

  private op(op: WithoutOut<Op>, shape: readonly number[]): Value {
    const value = this.value(shape);
    this.program.ops.push({ ...op, out: value.id } as Op);
    return value;
  }
}

function ref({ file, offset, dtype, shape }: TensorInfo): TensorRef { return { file, offset, dtype, shape }; }

export function last(x: Value): number { return x.shape.at(-1) ?? 0; }

function count(shape: readonly number[]): number { return shape.reduce((product, size) => product * size, 1); }

function broadcast(a: Value, b: Value): number[] {
  const rank = Math.max(a.shape.length, b.shape.length);
  return Array.from({ length: rank }, (_, i) => Math.max(a.shape[i - rank + a.shape.length] ?? 1, b.shape[i - rank + b.shape.length] ?? 1));
}

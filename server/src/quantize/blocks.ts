/** Blocks of a model as programs of their own, and what goes into and comes out of them along sampling runs: what learning the rounding of a block works on. */
import { open, writeFile } from 'node:fs/promises';
import type { TensorRef } from '../engine/addon';
import type { Buffer, Op, Program } from '../engine/graph';
import { inputsOf, tensorsOf } from '../engine/ops';
import { ModelError } from '../models/builder';

/**
 * From the first op with a tensor of the block to the last before tensors of anything else, and the residual sums that finish it, on the buffers of the whole model. Data from outside
 * (angles, tables) comes with it; inputs and outputs are called by their buffer. (DiT's last layers use the embedders of its first block again: those ops are no part of it.)
 * @param nameOf name of a tensor of the checkpoint.
 * @throws ModelError when no op reads a tensor of the block
 */
export function cutBlock(program: Program, block: string, nameOf: (tensor: TensorRef) => string | undefined): Program {
  const isOurs = (op: Op): boolean => tensorsOf(op).some((tensor) => nameOf(tensor)?.startsWith(`${block}.`));
  const isForeign = (op: Op): boolean => tensorsOf(op).length > 0 && !isOurs(op);
  const first = program.ops.findIndex(isOurs);
  if (first < 0) {
    throw new ModelError(`The forward pass of this model has no block "${block}". Check the layer names, or use a solver that works layer by layer (gptq).`);
  }
  const foreign = program.ops.findIndex((op, i) => i > first && isForeign(op));
  const ours = program.ops.slice(0, foreign < 0 ? undefined : foreign);
  const end = residualEnd(program.ops, first, ours.findLastIndex(isOurs) + 1);
  const inside = program.ops.slice(first, end);
  const written = new Set(inside.map(({ out }) => out));
  const read = new Set(inside.flatMap(inputsOf).filter((buffer) => !written.has(buffer)));
  const data = program.ops.filter((op) => (op.op === 'constant' || op.op === 'tensor') && read.has(op.out));
  data.forEach(({ out }) => read.delete(out));
  const later = new Set([...program.ops.slice(end).flatMap(inputsOf), ...Object.values(program.outputs)]);
  return { buffers: program.buffers, inputs: named(read), outputs: named([...written].filter((buffer) => later.has(buffer))), ops: [...data, ...inside] };
}

/** The model with the boundaries of these blocks as further outputs: one run gives them all. */
export function withBoundaries(program: Program, blocks: readonly Program[]): Program {
  return { ...program, outputs: Object.assign({}, program.outputs, ...blocks.flatMap(({ inputs, outputs }) => [inputs, outputs])) as Program['outputs'] };
}

type Side = 'inputs' | 'outputs';

/** Values at the boundary of a block, sample by sample, in one file of float32: of one buffer all samples stand one after the other. */
export class BoundarySamples {
  private readonly places = new Map<string, { offset: number; shape: number[]; size: number }>();
  private readonly written = { inputs: new Set<number>(), outputs: new Set<number>() };

  private constructor(private readonly path: string, private readonly block: Program, private readonly samples: number) {
    let offset = 0;
    for (const [name, buffer] of [...Object.entries(block.inputs), ...Object.entries(block.outputs)]) {
      const shape = block.buffers[buffer] ?? [];
      const size = shape.reduce((product, each) => product * each, 4);
      this.places.set(name, { offset, shape, size });
      offset += size * samples;
    }
  }

  /** Makes the file, which must not exist; it belongs to the caller. */
  static async create(path: string, block: Program, samples: number): Promise<BoundarySamples> {
    await writeFile(path, '', { flag: 'wx' });
    return new BoundarySamples(path, block, samples);
  }

  /** Takes what a run of the model with boundaries gave: what goes in and what should come out may come from different runs (quantized and full precision). */
  async add(sample: number, side: Side, values: Readonly<Record<string, Float32Array>>): Promise<void> {
    // Opened for every sample: nothing is left open when a run ends early.
    const file = await open(this.path, 'r+');
    try {
      for (const name of Object.keys(this.block[side])) {
        const place = this.places.get(name);
        const data = values[name];
        if (!place || data?.byteLength !== place.size) {
          throw new ModelError(`The run gave ${data?.length ?? 'no'} values of "${name}"; the block has [${place?.shape.join(', ') ?? ''}] there. Every sample needs the same sizes.`);
        }
        await file.write(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 0, place.size, place.offset + sample * place.size);
      }
    } finally {
      await file.close();
    }
    this.written[side].add(sample);
  }

  /** For the engine. Every sample was added on both sides. */
  finish(): Record<Side, Record<string, TensorRef>> {
    if (this.written.inputs.size !== this.samples || this.written.outputs.size !== this.samples) {
      throw new ModelError(`${this.samples} samples of a block were expected; ${this.written.inputs.size} went in and ${this.written.outputs.size} came out. Calibrate again.`);
    }
    const refs = (side: Side): Record<string, TensorRef> => Object.fromEntries(Object.keys(this.block[side]).map((name) => {
      const { offset, shape } = this.places.get(name) ?? { offset: 0, shape: [] };
      return [name, { file: this.path, offset, dtype: 'F32' as const, shape: [this.samples, ...shape] }];
    }));
    return { inputs: refs('inputs'), outputs: refs('outputs') };
  }
}

/** One beyond the last sum that what was written since `first` goes into; slices and reshapes may stand between. */
function residualEnd(ops: readonly Op[], first: number, last: number): number {
  const written = new Set(ops.slice(first, last).map(({ out }) => out));
  let end = last;
  for (const [i, op] of ops.slice(last).entries()) {
    const isSum = op.op === 'gateAdd' || (op.op === 'binary' && op.kind === 'add');
    if (!(isSum || op.op === 'slice' || op.op === 'permute') || !inputsOf(op).some((buffer) => written.has(buffer))) {
      break;
    }
    written.add(op.out);
    end = isSum ? last + i + 1 : end;
  }
  return end;
}

function named(buffers: Iterable<Buffer>): Record<string, Buffer> { return Object.fromEntries([...buffers].sort((a, b) => a - b).map((buffer) => [`buffer ${buffer}`, buffer])); }

/** Parts of a model's forward pass that run by themselves, from values that stood at a place of the whole run. The same ops on the same values: bit for bit what the whole run gives. */
import type { TensorRef } from '../../engine/addon';
import type { Engine } from '../../engine/client';
import type { Buffer, LinearRecipe, Op, Program } from '../../engine/graph';
import { inputsOf } from '../../engine/ops';
import type { ModelCall, PredictOptions } from '../../preview/pipelines';

/** A place to cut at: before the first linear of a block, or before one that belongs to none. */
export interface Cut { op: number; /** Linears that first run between here and the next cut. */ layers: string[] }

/** In order of the forward pass. (A layer that runs twice, as embedders of DiT do, belongs to where it first runs.) */
export function cutsOf({ ops }: Program, blockOf: (layer: string) => string | null): Cut[] {
  const cuts: (Cut & { block: string })[] = [];
  const seen = new Set<string>();
  for (const [i, op] of ops.entries()) {
    if (op.op === 'linear' && !seen.has(op.name)) {
      seen.add(op.name);
      const block = blockOf(op.name) ?? op.name;
      if (cuts.at(-1)?.block !== block) {
        cuts.push({ op: i, layers: [], block });
      }
      cuts.at(-1)?.layers.push(op.name);
    }
  }
  return cuts;
}

const isData = (op: Op): boolean => op.op === 'constant' || op.op === 'tensor';

/** What ops from here on read, and the results of the program, of what was there before. Data of files and tables is read again instead. */
export function liveAt(program: Program, op: number): Buffer[] {
  const unavailable = new Set(program.ops.filter((each, i) => i >= op || isData(each)).map(({ out }) => out));
  return [...new Set([...program.ops.slice(op).flatMap(inputsOf), ...Object.values(program.outputs)])].filter((buffer) => !unavailable.has(buffer));
}

/** Ops [from, to) on the buffers of the whole program, which inputs and outputs are called by. */
export function sectionOf(program: Program, from: number, to: number, wanted: readonly Buffer[]): Program {
  const inside = program.ops.slice(from, to);
  const written = new Set(inside.map(({ out }) => out));
  const read = new Set(inside.flatMap(inputsOf).filter((buffer) => !written.has(buffer)));
  const data = program.ops.slice(0, from).filter((op) => isData(op) && read.has(op.out));
  data.forEach(({ out }) => read.delete(out));
  const named = (buffers: Iterable<Buffer>): Record<string, Buffer> => Object.fromEntries([...buffers].map((buffer) => [String(buffer), buffer]));
  return { buffers: program.buffers, inputs: named(read), outputs: named(wanted), ops: [...data, ...inside] };
}

export type Values = ReadonlyMap<Buffer, Float32Array>;

/** How parts run. */
export type SectionOptions = Pick<PredictOptions, 'cancellation' | 'progress' | 'device' | 'onDevice'>;

/** An open section. */
export interface Section { run(values: Values, recipes: Readonly<Record<string, LinearRecipe>>, options: SectionOptions): Promise<Values>; close(): Promise<void> }

/** What is left of a call, on the values where it stands. */
export interface Suffix { run(recipes: Readonly<Record<string, LinearRecipe>>, options: SectionOptions): Promise<Float32Array>; close(): Promise<void> }

/** @param weights by layer: read instead of the checkpoint's. */
export async function openSection(key: string, program: Program, engine: Engine, { cancellation }: SectionOptions, weights: ReadonlyMap<string, TensorRef> = new Map()): Promise<Section> {
  const ops = program.ops.map((op) => (op.op === 'linear' && weights.has(op.name) ? { ...op, weight: weights.get(op.name) ?? null } : op));
  const linears = new Set(ops.flatMap((op) => (op.op === 'linear' ? [op.name] : [])));
  const graph = await engine.openGraph(key, { ...program, ops }, { cancellation });
  return {
    async run(values, recipes, { device, onDevice, ...options }) {
      const inputs = Object.fromEntries(Object.entries(program.inputs).map(([name, buffer]) => [name, values.get(buffer) ?? new Float32Array()]));
      const used = Object.fromEntries(Object.entries(recipes).filter(([name]) => linears.has(name)));
      const result = await graph.run({ inputs, recipes: used, capture: null, ...(device ? { device } : {}) }, options);
      onDevice?.(result.device);
      return new Map(Object.entries(program.outputs).map(([name, buffer]) => [buffer, result.outputs[name] ?? new Float32Array()]));
    },
    close: () => graph.close(),
  };
}

/** One call of the model, walked through from cut to cut with what the rest of it needs: never more than one boundary is held. */
export class Walk {
  private values: Values;
  private at = 0;

  constructor(private readonly call: ModelCall, private readonly engine: Engine, private readonly recipes: Readonly<Record<string, LinearRecipe>> = {}) {
    this.values = new Map(Object.entries(call.program.program.inputs).map(([name, buffer]) => [buffer, call.inputs[name]?.data ?? new Float32Array()]));
  }

  get program(): Program { return this.call.program.program; }

  /** Runs on to this op. @param also buffers that are wanted besides: values of the ops on the way @returns these */
  async advance(op: number, options: SectionOptions, also: readonly Buffer[] = []): Promise<Values> {
    const live = liveAt(this.program, op);
    const wanted = [...new Set([...live, ...also])].filter((buffer) => !this.values.has(buffer));
    const known = this.values;
    let made: Values = new Map();
    if (wanted.length > 0) {
      const section = await openSection(`${this.call.program.key} ${this.at} to ${op}`, sectionOf(this.program, this.at, op, wanted), this.engine, options);
      try {
        made = await section.run(known, this.recipes, options);
      } finally {
        await section.close();
      }
    }
    const value = (buffer: Buffer): [Buffer, Float32Array] => [buffer, made.get(buffer) ?? known.get(buffer) ?? new Float32Array()];
    this.values = new Map(live.map(value));
    this.at = op;
    return new Map(also.map(value));
  }

  /** The rest of the pass, to be run any number of times. */
  async suffix(options: SectionOptions, weights?: ReadonlyMap<string, TensorRef>): Promise<Suffix> {
    const output = this.program.outputs['sample'] ?? -1;
    const section = await openSection(`${this.call.program.key} ${this.call.half} from ${this.at}${weights ? ' changed' : ''}`, sectionOf(this.program, this.at, this.program.ops.length, [output]), this.engine, options, weights);
    const { values } = this;
    return { run: async (recipes, each) => (await section.run(values, recipes, each)).get(output) ?? new Float32Array(), close: () => section.close() };
  }
}

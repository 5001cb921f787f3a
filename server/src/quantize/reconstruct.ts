/** AdaRound (PTQ4DiT 4.4, BRECQ): the rounding of all weights of a block is learned from what the block should compute, on its inputs along full-precision sampling runs. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { inBatches } from '../calibration/batches';
import type { Engine, JobOptions } from '../engine/client';
import type { Program } from '../engine/graph';
import { ModelError } from '../models/builder';
import type { ModelCall, Pipeline } from '../preview/pipelines';
import { computeTrajectory } from '../preview/trajectory';
import type { LayerPlan } from '../protocol';
import { BoundarySamples, cutBlock, withBoundaries } from './blocks';
import { foundBefore, once, refOf, withFit } from './files';
import type { PreparedLayer } from './prepare';

export interface ReconstructRequest {
  /** Layers whose solver is adaround, and what was fitted for them but for the codes. */
  layers: readonly LayerPlan[];
  prepared: ReadonlyMap<string, PreparedLayer>;
  pipelines: readonly Pipeline[];
  folder: string;
  job: JobOptions & { onProgress?: ((fraction: number, what: string) => void) | undefined };
}

/** Samples of one iteration, as in PTQ4DiT at 512 pixels. */
const batch = 16;
/** Boundaries of so many bytes are captured in one sampling run; more blocks take more runs. */
const maxBoundaryBytes = 4 * 2 ** 30;

/** Layers by block; those outside of every block are learned one by one. @returns the layers with codes */
export async function reconstruct(request: ReconstructRequest, engine: Engine): Promise<ReadonlyMap<string, PreparedLayer>> {
  const { layers, pipelines, folder, job } = request;
  const calls = await sampledCalls(pipelines, engine, job);
  const [first] = calls;
  const checkpoint = pipelines[0]?.checkpoint;
  if (!first || !checkpoint) {
    throw new ModelError('AdaRound needs at least one sampling run to learn from: "calibration: { trajectories: 4, steps: 8 }".');
  }
  const names = new Map(checkpoint.tensors.map(({ name, file, offset }) => [`${file} ${offset}`, name]));
  const members = new Map<string, LayerPlan[]>();
  layers.forEach((layer) => members.set(layer.block ?? layer.name, [...(members.get(layer.block ?? layer.name) ?? []), layer]));
  const found = new Map<string, PreparedLayer>();
  const missing: Block[] = [];
  for (const [name, own] of members) {
    const block = { name, members: own, program: cutBlock(first.program.program, name, ({ file, offset }) => names.get(`${file} ${offset}`)) };
    const known = await foundBefore<Learned>(folder, identityOf(block, request, first, engine));
    known?.forEach(([layer, learned]) => found.set(layer, learned));
    if (!known) {
      missing.push(block);
    }
  }
  let done = 0;
  for (const group of inBatches(missing, (block) => boundaryBytes(block, calls.length), maxBoundaryBytes)) {
    const home = join(folder, `boundaries-${process.pid}-${done}`);
    await mkdir(home, { recursive: true });
    try {
      const samples = await captureBoundaries(group, calls, home, engine, job);
      for (const [index, block] of group.entries()) {
        job.onProgress?.(done / missing.length, `AdaRound, ${block.name}`);
        (await learn(block, samples[index] as Boundaries, request, calls, engine)).forEach(([layer, learned]) => found.set(layer, learned));
        done++;
      }
    } finally {
      await rm(home, { recursive: true, force: true });
    }
  }
  return found;
}

interface Block { name: string; members: readonly LayerPlan[]; program: Program }
type Learned = [layer: string, learned: PreparedLayer][];
type Boundaries = Awaited<ReturnType<BoundarySamples['finish']>>;

/** Every call of the model along the runs that has the program of the first: samples of a block are of one size. */
async function sampledCalls(pipelines: readonly Pipeline[], engine: Engine, { cancellation }: JobOptions): Promise<ModelCall[]> {
  const calls: ModelCall[] = [];
  for (const pipeline of pipelines) {
    const { timesteps } = pipeline.sampler();
    for (const item of pipeline.items.keys()) {
      const { samples } = await computeTrajectory(pipeline, item, {}, engine, () => ({ cancellation }));
      calls.push(...timesteps.flatMap((timestep, step) => pipeline.callsAt(item, samples[step] ?? new Float32Array(), timestep)));
    }
  }
  return calls.filter((call) => call.program.key === calls[0]?.program.key);
}

/** Of all samples at the boundary of a block. */
function boundaryBytes({ program: { inputs, outputs, buffers } }: Block, samples: number): number {
  return 4 * samples * [...Object.values(inputs), ...Object.values(outputs)].reduce((sum, buffer) => sum + (buffers[buffer] ?? []).reduce((product, each) => product * each, 1), 0);
}

async function captureBoundaries(blocks: readonly Block[], calls: readonly ModelCall[], home: string, engine: Engine, { cancellation, onProgress }: ReconstructRequest['job']): Promise<Boundaries[]> {
  const [first] = calls as [ModelCall];
  const program = withBoundaries(first.program.program, blocks.map((block) => block.program));
  const samples = await Promise.all(blocks.map((block, i) => BoundarySamples.create(join(home, `${i}.f32`), block.program, calls.length)));
  const graph = await engine.openGraph(`boundaries ${first.program.key} ${blocks.map((block) => block.name).join(' ')}`, program);
  try {
    for (const [index, { inputs }] of calls.entries()) {
      onProgress?.(index / calls.length, 'inputs and outputs of blocks');
      const given = Object.fromEntries(Object.keys(program.inputs).map((name) => [name, inputs[name]?.data ?? new Float32Array()]));
      const { outputs } = await graph.run({ inputs: given, recipes: {}, capture: null }, { cancellation });
      for (const each of samples) {
        await each.add(index, 'inputs', outputs);
        await each.add(index, 'outputs', outputs);
      }
    }
  } finally {
    await graph.close();
  }
  return Promise.all(samples.map((each) => each.finish()));
}

function identityOf({ name, members }: Block, { prepared, pipelines }: ReconstructRequest, { program }: ModelCall, engine: Engine): unknown {
  const runs = pipelines.map((pipeline) => pipeline.items.map((_, item) => pipeline.identity(item)));
  return ['adaround', 1, engine.identity(), program.key, runs, name, batch, members.map((layer) => [refOf(layer.tensor), layer.recipe.solver, prepared.get(layer.name)?.recipe])];
}

async function learn(block: Block, boundaries: Boundaries, request: ReconstructRequest, calls: readonly ModelCall[], engine: Engine): Promise<Learned> {
  const { prepared, folder, job: { cancellation, onProgress } } = request;
  const { name, members, program } = block;
  const iterations = Math.max(...members.map(({ recipe: { solver } }) => (solver.kind === 'adaround' ? solver.iterations : 0)));
  return once(folder, identityOf(block, request, calls[0] as ModelCall, engine), async (home) => {
    const before = members.map((layer, i) => ({ layer, fitted: prepared.get(layer.name) as PreparedLayer, out: join(home, `${i}.safetensors`) }));
    const layers = Object.fromEntries(before.map(({ layer, fitted, out }) => [layer.name, { recipe: fitted.recipe, out }]));
    await engine.reconstructBlock({ program, ...boundaries, layers, iterations, batch: Math.min(batch, calls.length), seed: 0 }, { cancellation, progress: (fraction) => onProgress?.(fraction, `AdaRound, ${name}`) });
    return Promise.all(before.map(async ({ layer, fitted, out }, i): Promise<[string, PreparedLayer]> => {
      const recipe = await withFit(fitted.recipe, out);
      const check = join(home, `check-${i}.safetensors`);
      const { relativeMse } = await engine.dequantizeLayer({ layer: layer.name, weight: refOf(layer.tensor), recipe, out: check }, { cancellation });
      await rm(check);
      return [layer.name, { ...fitted, recipe, fit: { relativeMse, proxyLoss: null, damping: null, retries: 0, lowRankIterations: 0, onProcessor: null } }];
    }));
  });
}

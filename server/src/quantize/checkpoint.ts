/**
 * A plan written out as a checkpoint: packed (codes and side data, as checkpoint/packed.ts reads them back), or in plain diffusers layout with every quantized weight replaced by the
 * BF16 weight that computes the same. Solved layers lie in the cache, so a run that was stopped goes on where it ended.
 */
import { randomUUID } from 'node:crypto';
import { cp, readdir, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { requireUnchanged } from '../checkpoint';
import { packedFormat, readPacked } from '../checkpoint/packed';
import type { PackedEntry } from '../checkpoint/packed';
import { castChunks } from '../checkpoint/values';
import { writeCheckpoint } from '../checkpoint/writer';
import type { OutputTensor } from '../checkpoint/writer';
import { dtypeBits } from '../checkpoint/safetensors';
import type { TensorRef } from '../engine/addon';
import { EngineError } from '../engine/client';
import type { Engine, JobOptions } from '../engine/client';
import { ModelError } from '../models/builder';
import type { Dtype, KeepDtype, LayerPlan, TensorInfo } from '../protocol';
import { once, refOf, tensorIn, withZeros } from './files';
import { foldSmoothing } from './folding';
import type { Folding } from './folding';
import { withCodes } from './prepare';
import type { PreparedLayer } from './prepare';
import { prepareRecipes } from './recipes';
import type { PlanRequest } from './recipes';

export type Form = 'packed' | 'bf16';

export interface WrittenLayer { name: string; method: string; relativeMse: number; bytes: number; averageBits: number }
export interface WrittenCheckpoint { folder: string; form: Form; files: string[]; bytes: number; layers: WrittenLayer[]; /** Parts of the pipeline that were copied, and those that were not. */ copied: string[]; notCopied: string[]; /** Smoothing that went into what comes before, and what is still applied at run time; null without `fold`. */ fold: Pick<Folding, 'folded' | 'online'> | null }

/** Solving takes the time; writing is a copy. */
const solvingShare = 0.95;
/** Finding smoothing takes a calibration of its own. */
const foldingShare = 0.35;

/**
 * @param out a folder that does not exist yet, or is empty.
 * @param fold moves smoothing into the tensors before it where that is exact.
 * @throws ModelError when the plan cannot be written so or the folder is taken, CheckpointError, EngineError
 */
export async function writeQuantized({ fold, ...request }: WriteRequest & { fold: boolean }, engine: Engine): Promise<WrittenCheckpoint> {
  await requireFree(request.out);
  if (!fold) {
    return { ...await write(request, engine), fold: null };
  }
  const progress = (from: number, to: number) => (fraction: number, what: string): void => request.onProgress?.(from + (to - from) * fraction, what);
  const { request: { plan, checkpoint, smoothing }, folded, online, dispose } = await foldSmoothing({ ...request, onProgress: progress(0, foldingShare) }, engine);
  try {
    return { ...await write({ ...request, plan, checkpoint, smoothing, onProgress: progress(foldingShare, 1) }, engine), fold: { folded, online } };
  } finally {
    await dispose();
  }
}

type WriteRequest = PlanRequest & { out: string; form: Form };

async function write(request: WriteRequest, engine: Engine): Promise<Omit<WrittenCheckpoint, 'fold'>> {
  const { plan, checkpoint, out, form, folder, cancellation, onProgress } = request;
  const progress = (fraction: number, what: string): void => onProgress?.(fraction * solvingShare, what);
  const prepared = await prepareRecipes({ ...request, onProgress: (fraction, what) => progress(0.7 * fraction, what) }, engine);
  const plans = new Map(plan.layers.map((layer) => [layer.name, layer]));
  const before = readPacked(checkpoint.path, checkpoint.metadata, checkpoint.tensors);
  const replaced = new Map<string, Replacement>();
  for (const [name, found] of prepared) {
    const layer = plans.get(name) as LayerPlan;
    progress(0.7 + (0.3 * replaced.size) / prepared.size, name);
    if (layer.recipe.weights.kind === 'keep') {
      if (layer.recipe.activations.kind !== 'keep' && form === 'packed') {
        throw new ModelError(`${name} keeps its weights and quantizes its activations alone, which a packed checkpoint cannot say. Keep the layer, quantize its weights too, or export to bf16.`);
      }
      continue;
    }
    const solved: Solved = { layer, found, packed: before?.layers.get(name)?.entry ?? null, revision: checkpoint.revision, home: join(folder, 'layers') };
    replaced.set(name, form === 'packed' ? await pack(solved, engine, { cancellation }) : await dequantize(solved, engine, { cancellation }));
  }
  await requireUnchanged(checkpoint);
  const stored = before?.rest ?? checkpoint.tensors;
  const names = new Set(stored.map((tensor) => tensor.name));
  const tensors = stored.flatMap((tensor): OutputTensor[] => {
    const name = tensor.name.replace(/\.weight$/, '');
    const replacement = tensor.name.endsWith('.weight') ? replaced.get(name) : undefined;
    return replacement ? replacement.tensors : [kept(tensor, tensor.name.endsWith('.weight') ? plans.get(name) : undefined)];
  });
  // A packed layer has no weight to take the place of.
  tensors.push(...[...replaced].flatMap(([name, replacement]) => (names.has(`${name}.weight`) ? [] : replacement.tensors)));
  const place = await layoutOf(request);
  const metadata = form === 'packed' ? { format: packedFormat, version: (await engine.info()).version, plan: plan.hash, source: basename(checkpoint.path), ...Object.fromEntries([...replaced].map(([name, { entry }]) => [`layer:${name}`, JSON.stringify(entry)])) } : { format: 'pt' };
  // Whole or not at all: what a process that ended early leaves has another name.
  const unfinished = `${out}.${randomUUID()}.tmp`;
  try {
    const written = await writeCheckpoint(join(unfinished, place.component), 'diffusion_pytorch_model', tensors, {
      ...(form === 'packed' ? { maxShardBytes: Infinity } : {}), metadata: () => metadata,
      check: () => { if (cancellation?.isCancellationRequested) { throw new EngineError('CANCELLED', 'Cancelled. Solved layers are kept; run it again to go on.'); } },
      onProgress: (fraction) => onProgress?.(solvingShare + (1 - solvingShare) * fraction, 'writing'),
    });
    await writeConfig(request, join(unfinished, place.component));
    const { copied, notCopied } = await copyPipeline(place, unfinished);
    await requireUnchanged(checkpoint);
    await moveTo(out, unfinished);
    return { folder: out, form, files: written.files.map((file) => join(out, relative(unfinished, file))), bytes: written.bytes, copied, notCopied, layers: describeLayers(replaced, plans) };
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

function describeLayers(replaced: ReadonlyMap<string, Replacement>, plans: ReadonlyMap<string, LayerPlan>): WrittenLayer[] {
  return [...replaced].map(([name, { relativeMse, tensors }]) => {
    const layer = plans.get(name) as LayerPlan;
    const bytes = tensors.reduce((sum, { bytes: each }) => sum + each, 0);
    return { name, method: layer.recipe.method, relativeMse, bytes, averageBits: (8 * bytes) / layer.params };
  });
}

interface Replacement { tensors: OutputTensor[]; entry: PackedEntry | null; relativeMse: number }

interface Solved {
  layer: LayerPlan;
  found: PreparedLayer;
  /** Of a checkpoint that is packed already. */
  packed: PackedEntry | null;
  revision: string;
  /** Where solved layers are kept. */
  home: string;
}

async function coded({ layer, found, packed, revision, home }: Solved, engine: Engine, job: JobOptions): Promise<Pick<Replacement, 'relativeMse'> & Pick<PreparedLayer, 'recipe'>> {
  return packed ? { recipe: found.recipe, relativeMse: packed.relativeMse } : withCodes(layer, found, revision, home, engine, job);
}

async function pack(solved: Solved, engine: Engine, job: JobOptions): Promise<Replacement> {
  const { layer, layer: { name, tensor } } = solved;
  const { recipe, relativeMse } = await coded(solved, engine, job);
  const parts: OutputTensor[] = [];
  const add = (part: string, ref: TensorRef): string => {
    parts.push(copyOf(`${name}.weight.${part}`, ref));
    return part;
  };
  const transforms = recipe.transforms.map((transform, i): PackedEntry['transforms'][number] => {
    switch (transform.kind) {
      case 'scale': return { kind: 'scale', tensor: add(`transform.${i}`, transform.values) };
      case 'permute': return { kind: 'permute', tensor: add(`transform.${i}`, transform.sources) };
      case 'blocks': return { kind: 'blocks', tensor: add(`transform.${i}`, transform.matrices) };
      default: return transform;
    }
  });
  const { packed, lowRank } = recipe;
  if (packed) {
    add('codes', packed.codes);
    Object.entries(packed.sides).forEach(([side, ref]) => add(side, ref));
    if (packed.tail) {
      add('tail', packed.tail);
    }
  }
  if (lowRank) {
    add('low_rank.down', lowRank.down);
    add('low_rank.up', lowRank.up);
  }
  const entry: PackedEntry = {
    shape: [layer.outFeatures, layer.inFeatures], dtype: tensor.dtype, recipe: layer.recipe, transforms, tail: recipe.tail, activationRange: recipe.activationRange,
    sides: Object.keys(packed?.sides ?? {}), lowRank: lowRank !== null, relativeMse,
  };
  return { tensors: parts, entry, relativeMse };
}

async function dequantize(solved: Solved, engine: Engine, job: JobOptions): Promise<Replacement> {
  const { layer: { name, tensor, outFeatures, inFeatures }, revision, packed, home } = solved;
  const { recipe, relativeMse } = await coded(solved, engine, job);
  const weight = await once(home, ['bf16', 1, engine.identity(), revision, refOf(tensor), recipe], async (folder) => {
    const out = join(folder, 'weight.safetensors');
    const write = (from: TensorRef): Promise<unknown> => engine.dequantizeLayer({ layer: name, weight: from, recipe, out }, job);
    await (packed ? withZeros(folder, [outFeatures, inFeatures], write) : write(refOf(tensor)));
    return refOf(await tensorIn(out, 'weight'));
  });
  return { tensors: [copyOf(`${name}.weight`, weight)], entry: null, relativeMse };
}

function copyOf(name: string, { file, offset, dtype, shape }: TensorRef): OutputTensor {
  return { name, dtype, shape, bytes: (shape.reduce((product, size) => product * size, 1) * dtypeBits[dtype]) / 8, source: { file, offset } };
}

const keptAs: Record<Exclude<KeepDtype, 'original'>, Dtype> = { bf16: 'BF16', fp16: 'F16', fp32: 'F32' };

/** As it is stored, or as the type that the plan keeps it in. */
function kept(tensor: TensorInfo, layer: LayerPlan | undefined): OutputTensor {
  const { name, dtype, shape, bytes, file, offset } = tensor;
  const weights = layer?.recipe.weights;
  const wanted = weights?.kind === 'keep' && weights.dtype !== 'original' ? keptAs[weights.dtype] : dtype;
  return wanted === dtype ? { name, dtype, shape, bytes, source: { file, offset } }
    : { name, dtype: wanted, shape, bytes: (bytes / dtypeBits[dtype]) * dtypeBits[wanted], source: { chunks: () => castChunks(tensor, wanted) } };
}

interface Place { /** Folder of the weights within the output: '' or the component's. */ component: string; /** The pipeline's folder, or null. */ pipeline: string | null; weights: string }

async function layoutOf({ checkpoint }: PlanRequest): Promise<Place> {
  const weights = dirname(checkpoint.tensors[0]?.file ?? checkpoint.path);
  const pipeline = dirname(weights);
  const inPipeline = await stat(join(pipeline, 'model_index.json')).then((found) => found.isFile(), () => false);
  return inPipeline ? { component: basename(weights), pipeline, weights } : { component: '', pipeline: null, weights };
}

async function writeConfig({ checkpoint: { config }, form }: Pick<PlanRequest, 'checkpoint'> & { form: Form }, folder: string): Promise<void> {
  if (config) {
    const { quantization_config: before, ...rest } = config;
    const marked = form === 'packed' ? { ...rest, quantization_config: { quant_method: 'quantscope', format: packedFormat } } : { ...rest, ...(before === undefined ? {} : { quantization_config: before }) };
    await writeFile(join(folder, 'config.json'), `${JSON.stringify(marked, null, 2)}\n`);
  }
}

/** What a preview needs beside the transformer. Text encoders are as large as the model and stay where they are. */
const copiedParts = ['model_index.json', 'scheduler', 'vae'];

async function copyPipeline({ pipeline, component }: Place, out: string): Promise<{ copied: string[]; notCopied: string[] }> {
  if (pipeline === null) {
    return { copied: [], notCopied: [] };
  }
  const parts = (await readdir(pipeline)).filter((part) => part !== component);
  const copied = parts.filter((part) => copiedParts.includes(part));
  for (const part of copied) {
    await cp(join(pipeline, part), join(out, part), { recursive: true });
  }
  return { copied, notCopied: parts.filter((part) => !copiedParts.includes(part)) };
}

async function requireFree(out: string): Promise<void> {
  const entries = await readdir(out).catch((error: NodeJS.ErrnoException) => (error.code === 'ENOENT' ? [] : Promise.reject(new ModelError(`${out} cannot be written: ${error.message}.`))));
  if (entries.length > 0) {
    throw new ModelError(`${out} holds files already; nothing is overwritten. Name a new folder.`);
  }
}

/** An empty folder gives way; one that was filled meanwhile does not. */
async function moveTo(out: string, finished: string): Promise<void> {
  await requireFree(out);
  await rmdir(out).catch((error: NodeJS.ErrnoException) => (error.code === 'ENOENT' ? undefined : Promise.reject(error)));
  await rename(finished, out);
}

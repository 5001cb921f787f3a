/**
 * A plan written out as a checkpoint: packed (codes and side data, as checkpoint/packed.ts reads them back), or in plain diffusers layout with every quantized weight replaced by the
 * BF16 weight that computes the same. Solved layers lie in the cache, so a run that was stopped goes on where it ended.
 */
import { createHash } from 'node:crypto';
import { cp, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { requireUnchanged } from '../checkpoint';
import { packedFormat } from '../checkpoint/packed';
import type { PackedEntry } from '../checkpoint/packed';
import { castChunks } from '../checkpoint/values';
import { writeCheckpoint } from '../checkpoint/writer';
import type { OutputTensor } from '../checkpoint/writer';
import { dtypeBits } from '../checkpoint/safetensors';
import type { TensorRef } from '../engine/addon';
import { EngineError } from '../engine/client';
import type { Engine, JobOptions } from '../engine/client';
import type { LinearRecipe } from '../engine/graph';
import { ModelError } from '../models/builder';
import type { Dtype, KeepDtype, LayerPlan, TensorInfo } from '../protocol';
import { refOf, tensorIn, withFit } from './files';
import { foldSmoothing } from './folding';
import type { Folding } from './folding';
import { prepareRecipes } from './recipes';
import type { PlanRequest } from './recipes';

export type Form = 'packed' | 'bf16';

export interface WrittenLayer { name: string; method: string; relativeMse: number; bytes: number; averageBits: number }
export interface WrittenCheckpoint { folder: string; form: Form; files: string[]; bytes: number; layers: WrittenLayer[]; /** Parts of the pipeline that were copied, and those that were not. */ copied: string[]; notCopied: string[]; /** Smoothing that went into what comes before, and what is still applied at run time; null without `fold`. */ fold: Pick<Folding, 'folded' | 'online'> | null }

/** Solving takes the time; writing is a copy. */
const solvingShare = 0.95;

/**
 * @param out a folder that does not exist yet, or is empty.
 * @param fold moves smoothing into the tensors before it where that is exact.
 * @throws ModelError when the plan cannot be written so or the folder is taken, CheckpointError, EngineError
 */
export async function writeQuantized(request: PlanRequest & { out: string; form: Form; fold: boolean }, engine: Engine): Promise<WrittenCheckpoint> {
  const { checkpoint, out, form, folder, cancellation, onProgress } = request;
  await requireFree(out);
  const progress = (fraction: number, what: string): void => onProgress?.(fraction * solvingShare, what);
  const foldingShare = request.fold ? 0.35 : 0;
  const folding = request.fold ? await foldSmoothing({ ...request, onProgress: (fraction, what) => progress(foldingShare * fraction, what) }, engine) : null;
  const { plan } = folding?.request ?? request;
  const prepared = await prepareRecipes({ ...(folding?.request ?? request), onProgress: (fraction, what) => progress(foldingShare + (0.7 - foldingShare) * fraction, what) }, engine);
  const plans = new Map(plan.layers.map((layer) => [layer.name, layer]));
  const replaced = new Map<string, Replacement>();
  for (const [name, { recipe, fit }] of prepared) {
    const layer = plans.get(name) as LayerPlan;
    progress(0.7 + (0.3 * replaced.size) / prepared.size, name);
    if (layer.recipe.weights.kind === 'keep') {
      if (layer.recipe.activations.kind !== 'keep' && form === 'packed') {
        throw new ModelError(`${name} keeps its weights and quantizes its activations alone, which a packed checkpoint cannot say. Keep the layer, quantize its weights too, or export to bf16.`);
      }
      continue;
    }
    const solved: Solved = { layer, recipe, relativeMse: fit?.relativeMse ?? null, smoothedBefore: folding?.layers.has(name) ?? false, folder: join(folder, 'layers') };
    replaced.set(name, form === 'packed' ? await pack(solved, engine, { cancellation }) : await dequantize(solved, engine, { cancellation }));
  }
  await requireUnchanged(checkpoint);
  const rescaled = folding?.tensors ?? new Map<string, TensorInfo>();
  const names = new Set(checkpoint.tensors.map((tensor) => tensor.name));
  const sources = [...checkpoint.tensors.map((tensor) => rescaled.get(tensor.name) ?? tensor), ...[...rescaled.values()].filter(({ name }) => !names.has(name))];
  const tensors = sources.flatMap((tensor): OutputTensor[] => {
    const name = tensor.name.replace(/\.weight$/, '');
    const replacement = tensor.name.endsWith('.weight') ? replaced.get(name) : undefined;
    return replacement ? replacement.tensors : [kept(tensor, tensor.name.endsWith('.weight') ? plans.get(name) : undefined)];
  });
  const place = await layoutOf(request);
  const metadata = form === 'packed' ? { format: packedFormat, plan: plan.hash, source: basename(checkpoint.path), ...Object.fromEntries([...replaced].map(([name, { entry }]) => [`layer:${name}`, JSON.stringify(entry)])) } : { format: 'pt' };
  const written = await writeCheckpoint(join(out, place.component), 'diffusion_pytorch_model', tensors, {
    ...(form === 'packed' ? { maxShardBytes: Infinity } : {}), metadata: () => metadata,
    check: () => { if (cancellation?.isCancellationRequested) { throw new EngineError('CANCELLED', 'Cancelled. Solved layers are kept; run it again to go on.'); } },
    onProgress: (fraction) => onProgress?.(solvingShare + (1 - solvingShare) * fraction, 'writing'),
  });
  await writeConfig(request, join(out, place.component));
  const { copied, notCopied } = await copyPipeline(place, out);
  return {
    folder: out, form, files: written.files, bytes: written.bytes, copied, notCopied, fold: folding && { folded: folding.folded, online: folding.online },
    layers: [...replaced].map(([name, { relativeMse, tensors: parts }]) => {
      const layer = plans.get(name) as LayerPlan;
      const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
      return { name, method: layer.recipe.method, relativeMse, bytes, averageBits: (8 * bytes) / layer.params };
    }),
  };
}

interface Replacement { tensors: OutputTensor[]; entry: PackedEntry | null; relativeMse: number }

interface Solved { layer: LayerPlan; recipe: LinearRecipe; /** null where codes come from rounding. */ relativeMse: number | null; /** Its smoothing went into what comes before. */ smoothedBefore: boolean; folder: string }

/** With codes, in the coordinates that its input arrives in. */
async function withCodes({ layer: { name, tensor }, recipe, relativeMse: known, smoothedBefore, folder }: Solved, engine: Engine, job: JobOptions): Promise<{ coded: LinearRecipe; relativeMse: number }> {
  let [coded, relativeMse] = [recipe, known ?? 0];
  if (!coded.packed) {
    const out = await placeFor(folder, 'rtn', [engine.identity(), refOf(tensor), recipe]);
    ({ relativeMse } = await engine.quantizeLayer({ layer: name, weight: refOf(tensor), recipe, solver: { kind: 'rtn' }, secondMoments: null, lowRank: null, out }, job));
    coded = await withFit(recipe, out);
  }
  return { coded: smoothedBefore ? { ...coded, transforms: coded.transforms.slice(1) } : coded, relativeMse };
}

async function pack(solved: Solved, engine: Engine, job: JobOptions): Promise<Replacement> {
  const { layer, layer: { name, tensor } } = solved;
  const { coded, relativeMse } = await withCodes(solved, engine, job);
  const parts: OutputTensor[] = [];
  const add = (part: string, ref: TensorRef): string => {
    parts.push(copyOf(`${name}.weight.${part}`, ref));
    return part;
  };
  const transforms = coded.transforms.map((transform, i): PackedEntry['transforms'][number] => {
    switch (transform.kind) {
      case 'scale': return { kind: 'scale', tensor: add(`transform.${i}`, transform.values) };
      case 'permute': return { kind: 'permute', tensor: add(`transform.${i}`, transform.sources) };
      case 'blocks': return { kind: 'blocks', tensor: add(`transform.${i}`, transform.matrices) };
      default: return transform;
    }
  });
  const { packed, lowRank } = coded;
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
    shape: [layer.outFeatures, layer.inFeatures], dtype: tensor.dtype, recipe: layer.recipe, transforms, tail: coded.tail, activationRange: coded.activationRange,
    sides: Object.keys(packed?.sides ?? {}), lowRank: lowRank !== null, relativeMse,
  };
  return { tensors: parts, entry, relativeMse };
}

async function dequantize(solved: Solved, engine: Engine, job: JobOptions): Promise<Replacement> {
  const { layer: { name, tensor }, recipe, smoothedBefore, folder } = solved;
  const written = smoothedBefore ? await withCodes(solved, engine, job) : null;
  const out = await placeFor(folder, 'bf16', [engine.identity(), refOf(tensor), written?.coded ?? recipe]);
  const { relativeMse } = await engine.dequantizeLayer({ layer: name, weight: refOf(tensor), recipe: written?.coded ?? recipe, out }, job);
  // Where the input arrives smoothed, so does the weight: the stored one is no measure of it.
  return { tensors: [copyOf(`${name}.weight`, await tensorIn(out, 'weight'))], entry: null, relativeMse: written?.relativeMse ?? relativeMse };
}

async function placeFor(folder: string, kind: string, identity: unknown): Promise<string> {
  await mkdir(folder, { recursive: true });
  return join(folder, `${kind}-${createHash('sha256').update(JSON.stringify(identity)).digest('hex')}.safetensors`);
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

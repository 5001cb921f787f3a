/** diffusers folders: a pipeline with model_index.json, or one component with config.json and its weights. */
import { basename, dirname, join } from 'node:path';
import type { Problem } from '../protocol';
import { CheckpointError, problem, quoted, sample, visible } from './errors';
import type { Files } from './files';
import { parseJson } from './json';
import { isNunchakuFolder, mergeNunchaku } from './nunchakuFolder';

const MAX_CONFIG_BYTES = 10_000_000;

export interface Component {
  /** Absolute path of the .safetensors file or of the shard index. */
  weights: string;
  problems: Problem[];
}

/** Usual names of weights, the preferred first. */
const stem = String.raw`^(?:diffusion_pytorch_model|model)`;
const usualNames = [
  new RegExp(String.raw`${stem}\.safetensors\.index\.json$`),
  new RegExp(String.raw`${stem}\.safetensors$`),
  new RegExp(String.raw`${stem}\.(?:safetensors\.index\.[\w-]+|[\w-]+\.safetensors\.index)\.json$`),
  new RegExp(String.raw`${stem}\.[\w-]+\.safetensors$`),
];
const shardName = /-\d+-of-\d+(?:\.[\w-]+)?\.safetensors$/;

/** Whether a file is named as diffusers names a component's weights, so that the config.json beside it is its own. */
export function hasComponentName(path: string): boolean {
  return usualNames.some(pattern => pattern.test(basename(path)));
}

/** Finds the weights of a pipeline's transformer, or of a component folder. */
export async function findComponent(folder: string, files: Files): Promise<Component> {
  const modelIndex = join(folder, 'model_index.json');
  if (!(await files.exists(modelIndex))) {
    return findWeights(folder, files);
  }
  const components = await readObject(modelIndex, files);
  const names = Object.keys(components).filter(name => Array.isArray(components[name]) && components[name][0] !== null);
  if (!names.includes('transformer')) {
    throw new CheckpointError('checkpoint/no-transformer', modelIndex,
      `the pipeline has no "transformer" component, only ${sample(names) || 'none'}. QuantScope reads diffusion transformers; `
        + `name one of its folders yourself if it is one.`);
  }
  const component = await findWeights(join(folder, 'transformer'), files);
  const others = names.filter(name => /^transformer_\d+$/.test(name));
  if (others.length > 0) {
    component.problems.push(problem('checkpoint/several-weights', 'info', modelIndex,
      `the pipeline has more transformers (${sample(others)}); only "transformer" is opened. Name the other folder to open it.`));
  }
  return component;
}

/**
 * The weights of one component. As in diffusers, a shard index comes before a single file, and the plain name before a variant such as `.fp16.`.
 * A single .safetensors file under any other name is taken too.
 */
async function findWeights(folder: string, files: Files): Promise<Component> {
  const entries = await files.list(folder);
  const whole = entries.filter(name => !shardName.test(name));
  const candidates = usualNames.flatMap(pattern => whole.filter(name => pattern.test(name)));
  const others = whole.filter(name => name.endsWith('.safetensors') && !candidates.includes(name));
  const [picked] = candidates.length > 0 ? candidates : others;
  if (picked === undefined) {
    throw withoutWeights(folder, entries);
  }
  if (candidates.length === 0 && isNunchakuFolder(others)) {
    throw new CheckpointError('checkpoint/nunchaku-folder', folder, `holds the older form of a nunchaku model, ${sample(others)}: ${mergeNunchaku}`);
  }
  if (candidates.length === 0 && others.length > 1) {
    throw new CheckpointError('checkpoint/several-weights', folder, `holds ${others.length} weight files (${sample(others)}), `
      + `and none has the usual name. Name the file itself.`);
  }
  const rest = candidates.slice(1);
  const problems = rest.length === 0 ? [] : [problem('checkpoint/several-weights', 'info', join(folder, picked),
    `is opened; the folder also holds ${sample(rest)}. Name the file itself to open another.`)];
  return { weights: join(folder, picked), problems };
}

function withoutWeights(folder: string, entries: readonly string[]): CheckpointError {
  const shards = entries.filter(name => shardName.test(name));
  if (shards.length > 0) {
    return new CheckpointError('checkpoint/index', folder, `holds shards (${sample(shards)}) but not their .safetensors.index.json. `
      + `Download the index too.`);
  }
  const pickles = entries.filter(name => /\.(bin|pt|pth|ckpt)$/.test(name));
  if (pickles.length > 0) {
    return new CheckpointError('checkpoint/pickle', folder,
      `holds only Python pickles (${sample(pickles)}), which can run code when read and are not opened. `
        + `Load it with diffusers and save_pretrained(folder, safe_serialization=True).`);
  }
  const gguf = entries.filter(name => name.endsWith('.gguf'));
  if (gguf.length > 0) {
    return new CheckpointError('checkpoint/gguf', folder, `holds only GGUF files (${sample(gguf)}). `
      + `Name the safetensors file or folder they were made from.`);
  }
  const inside = entries.includes('transformer') ? ' Did you mean its subfolder "transformer"?' : '';
  return new CheckpointError('checkpoint/no-weights', folder, `holds no .safetensors file and no shard index `
    + `(${visible(folder)}).${inside || ' Name the folder that holds the weights.'}`);
}

/**
 * config.json beside the weights, or null. It is not needed to list tensors, so an unreadable one is a warning.
 * Says so when the checkpoint is quantized already.
 */
export async function readConfig(weights: string, files: Files): Promise<{ config: Record<string, unknown> | null; problems: Problem[] }> {
  const path = join(dirname(weights), 'config.json');
  if (!(await files.exists(path))) {
    return { config: null, problems: [] };
  }
  try {
    const config = await readObject(path, files);
    return { config, problems: quantizedBy(path, config) };
  } catch (error) {
    if (error instanceof CheckpointError) {
      return { config: null, problems: [{ ...error.problem, severity: 'warning' }] };
    }
    throw error;
  }
}

function quantizedBy(path: string, config: Record<string, unknown>): Problem[] {
  const quantization = config['quantization_config'];
  if (typeof quantization !== 'object' || quantization === null) {
    return [];
  }
  const method = (quantization as Record<string, unknown>)['quant_method'];
  if (method === 'quantscope') {
    return []; // packed layers carry their errors with them (packed.ts)
  }
  const name = typeof method === 'string' ? `by ${quoted(method)}` : 'by a method it does not name';
  return [problem('checkpoint/quantized', 'info', path, `the weights are already quantized ${name} (quantization_config). `
    + `Errors are measured against these, not against the original.`)];
}

async function readObject(path: string, files: Files): Promise<Record<string, unknown>> {
  const value = parseJson(path, await files.readAll(path, MAX_CONFIG_BYTES, 'checkpoint/config'), 'checkpoint/config');
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new CheckpointError('checkpoint/config', path, 'is not a JSON object. Download it again.');
  }
  return value as Record<string, unknown>;
}

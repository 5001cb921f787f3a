/** The diffusers pipeline folder around a transformer: what its JSON files say. Headers and configs only. */
import { readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ModelError } from '../../models/builder';
import type { Checkpoint } from '../../protocol';

export type Json = Readonly<Record<string, unknown>>;

export interface Source {
  checkpoint: Checkpoint;
  /** The folder with model_index.json. */
  folder: string;
  index: Json | undefined;
  scheduler: Json;
  /** vae/config.json; null where the pipeline has no VAE, so that samples are pixels. */
  vae: Json | null;
}

/** No pipeline's JSON comes near this. */
const maxBytes = 10_000_000;

/** @throws ModelError when the folder is no pipeline */
export async function openSource(checkpoint: Checkpoint): Promise<Source> {
  const folder = dirname(dirname(checkpoint.tensors[0]?.file ?? checkpoint.path));
  const [index, scheduler, vae] = await Promise.all(['model_index.json', 'scheduler/scheduler_config.json', 'vae/config.json'].map((name) => readJson(join(folder, name))));
  if (!scheduler) {
    throw new ModelError(`There is no scheduler/scheduler_config.json in ${folder}: a preview needs the pipeline folder, not the weights alone.`);
  }
  const component = index?.['vae'];
  const without = index ? !Array.isArray(component) || component[0] === null : !vae;
  return { checkpoint, folder, index, scheduler, vae: without ? null : vae ?? {} };
}

/** A whole number of the transformer's config.json. @throws ModelError */
export function configNumber({ checkpoint }: Source, key: string): number {
  const value = checkpoint.config?.[key];
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1) {
    throw new ModelError(`config.json: "${key}" must be a whole number from 1, not ${JSON.stringify(value)}. The model folder needs its own config.json.`);
  }
  return value;
}

/** Python writes infinite defaults of schedulers (lambda_min_clipped) as no JSON knows them. */
const notJson = /([:[,]\s*)(?:-?Infinity|NaN)(?=\s*[,}\]])/g;

async function readJson(path: string): Promise<Json | undefined> {
  try {
    const { size } = await stat(path);
    if (size > maxBytes) {
      throw new Error(`it holds ${size} bytes, more than any such file`);
    }
    const value: unknown = JSON.parse((await readFile(path, 'utf8')).replace(notJson, '$1null'));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new Error('it holds no JSON object');
    }
    return value as Json;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return undefined;
    }
    throw new ModelError(`${path} cannot be read: ${(error as Error).message}. Copy it anew from where the model came from.`);
  }
}

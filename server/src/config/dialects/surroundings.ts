/** What lies around a file of another tool: files by their names, and the versions of packages that the project says. */
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { findFiles } from '../../workspaceFiles';
import { isSafetensors } from './headerFile';
import { packagesAround } from '../../python/packages/files';
import type { Packages } from '../../python/packages/allowed';

export interface Surroundings {
  /** The checkpoint that the file is about unless another is named, absolute. */
  beside?: string | undefined;
  /** The weights that the file describes, absolute: those of its header, or those of the folder in which it is written beside them. */
  component?: string | undefined;
  /** Files of weights, and defaults that a tool merges, in the file's folder and in the folders inside it: relative to it with `/`, sorted. */
  files: readonly string[];
  /** That the file lies in, absolute. */
  folder?: string | undefined;
  packages: Packages;
}

/** Names that say something of the file beside them; no tool leaves more than a few hundred shards. */
const telling = /\.(?:safetensors|bin|pth?|ckpt)$|^__default__\.yaml$/;
const limits = { files: 500, entries: 5000, depth: 1 };

/** @param path of the file, absolute. Bounded; what cannot be read holds nothing. */
export async function surroundingsOf(path: string): Promise<Surroundings> {
  const folder = dirname(path);
  const { paths } = await findFiles([folder], (name) => telling.test(name), () => false, limits);
  return { folder, beside: await checkpointBeside(path), component: isSafetensors(path) ? path : /^(?:config|hf_quant_config)\.json$/.test(basename(path)) ? folder : undefined, files: paths.map((each) => relative(folder, each).split(sep).join('/')), packages: await packagesAround(path) };
}

/** A component's own folder for its config.json; otherwise the pipeline that the file lies in, or the one beside it. */
async function checkpointBeside(path: string): Promise<string | undefined> {
  const folder = dirname(path);
  if (basename(path) === 'config.json') {
    return folder;
  }
  const around = [folder, dirname(folder)];
  for (const each of around) {
    if (await exists(join(each, 'model_index.json'))) {
      return each;
    }
  }
  const names = (await readdir(folder, { withFileTypes: true }).catch(() => [])).filter((entry) => entry.isDirectory()).map(({ name }) => name).sort();
  const pipelines: string[] = [];
  for (const name of names) {
    if (await exists(join(folder, name, 'model_index.json'))) {
      pipelines.push(join(folder, name));
    }
  }
  return pipelines.length === 1 ? pipelines[0] : undefined; // of several, none is the obvious one
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(() => true, () => false);
}

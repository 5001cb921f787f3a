/** `<name>.safetensors.index.json`: {"metadata": {...}, "weight_map": {tensor: shard file}}. */
import { dirname, isAbsolute, join, relative, sep } from 'node:path';
import type { Problem, TensorInfo } from '../protocol';
import { CheckpointError, counted, grouped, problem, quoted, sample } from './errors';
import type { Files } from './files';
import { parseJson } from './json';
import { readHeader } from './safetensors';
import type { Header } from './safetensors';

const MAX_INDEX_BYTES = 100_000_000;
const MAX_SHARDS = 4096;
const PARALLEL_READS = 8;

export interface ShardIndex {
  /** Tensor name → shard file name, as written. */
  weightMap: Map<string, string>;
  /** What metadata.total_size claims; writers often get it wrong. */
  totalSize: number | null;
}

/** Reads the index and the header of every shard. Tensors come sorted by file, then offset; where metadata differ, the first shard's counts. */
export async function readSharded(path: string, files: Files): Promise<Header & { problems: Problem[] }> {
  const index = parseIndex(path, await files.readAll(path, MAX_INDEX_BYTES, 'checkpoint/index'));
  const names = [...new Set(index.weightMap.values())].sort();
  if (names.length > MAX_SHARDS) {
    throw new CheckpointError('checkpoint/index', path, `names ${grouped(names.length)} shards, above the limit of ${grouped(MAX_SHARDS)}. `
      + `Check its weight_map.`);
  }
  for (const name of names) {
    requirePlainName(path, name);
  }
  await requireAllPresent(path, names, files);
  const headers = await mapBounded(names, PARALLEL_READS, async name => {
    await requireInside(path, name, files);
    return readHeader(join(dirname(path), name), files);
  });
  const { tensors, problems } = merge(path, index, names, headers.map(header => header.tensors));
  const metadata = Object.fromEntries(headers.toReversed().flatMap(header => Object.entries(header.metadata)));
  return { tensors, metadata, problems };
}

/** Throws CheckpointError unless the text is {metadata?: object, weight_map: {string: string}}. */
export function parseIndex(path: string, bytes: Buffer): ShardIndex {
  const index = parseJson(path, bytes, 'checkpoint/index');
  const weightMap = isObject(index) ? index['weight_map'] : undefined;
  if (!isObject(index) || !isObject(weightMap)) {
    throw new CheckpointError('checkpoint/index', path, 'has no "weight_map" object, so it is no shard index. '
      + 'Name the index that ends in .safetensors.index.json.');
  }
  for (const [tensor, shard] of Object.entries(weightMap)) {
    if (typeof shard !== 'string') {
      throw new CheckpointError('checkpoint/index', path, `weight_map ${quoted(tensor)} is not a file name. Download the index again.`);
    }
  }
  const metadata = index['metadata'];
  const totalSize = isObject(metadata) ? metadata['total_size'] : undefined;
  return { weightMap: new Map(Object.entries(weightMap as Record<string, string>)), totalSize: typeof totalSize === 'number' ? totalSize : null };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A shard name may not say where to look: no absolute path, no `..`, no backslash, drive letter or control character. */
function requirePlainName(path: string, name: string): void {
  const hostile = name === '' || name.startsWith('/') || name.split('/').includes('..') || /[\\:]|\p{Cc}/u.test(name);
  if (hostile) {
    throw new CheckpointError('checkpoint/shard-path', path,
      `the shard name ${quoted(name)} leads out of the folder of the index, and nothing was read from there. Do not trust this checkpoint; `
        + `a genuine index holds plain file names.`);
  }
}

/** Nor may a symbolic link lead out. The Hugging Face cache links index and shards alike into one folder of blobs, which is fine. */
async function requireInside(path: string, name: string, files: Files): Promise<void> {
  const target = await files.realPath(join(dirname(path), name));
  const homes = [await files.realPath(dirname(path)), dirname(await files.realPath(path))];
  const inside = homes.some(home => {
    const way = relative(home, target);
    return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
  });
  if (!inside) {
    throw new CheckpointError('checkpoint/shard-path', path,
      `the shard ${quoted(name)} is a link that leads out of the folder of the index. Replace the link by the file, `
        + `or open the folder it points into.`);
  }
}

async function requireAllPresent(path: string, names: readonly string[], files: Files): Promise<void> {
  const present = await mapBounded(names, PARALLEL_READS, name => files.exists(join(dirname(path), name)));
  const missing = names.filter((_, i) => !present[i]);
  if (missing.length > 0) {
    throw new CheckpointError('checkpoint/shard-missing', path,
      `${counted(missing.length, 'shard')} of ${grouped(names.length)} not found: ${sample(missing)}. The download is incomplete: `
        + `fetch the rest into the same folder.`);
  }
}

/** What is really in the shards counts; the index only decides between two tensors of one name. */
function merge(
  path: string, index: ShardIndex, names: readonly string[], shards: readonly TensorInfo[][],
): { tensors: TensorInfo[]; problems: Problem[] } {
  const found = new Map<string, TensorInfo>();
  const misplaced: string[] = [];
  const unlisted: string[] = [];
  const twice: string[] = [];
  shards.forEach((tensors, i) => {
    for (const tensor of tensors) {
      const listed = index.weightMap.get(tensor.name);
      if (found.has(tensor.name)) {
        twice.push(tensor.name);
      }
      if (!found.has(tensor.name) || listed === names[i]) {
        found.set(tensor.name, tensor);
      }
      if (listed === undefined) {
        unlisted.push(tensor.name);
      }
    }
  });
  const missing: string[] = [];
  for (const [name, shard] of index.weightMap) {
    const tensor = found.get(name);
    if (tensor === undefined) {
      missing.push(name);
    } else if (tensor.file !== join(dirname(path), shard)) {
      misplaced.push(name);
    }
  }
  const tensors = [...found.values()].sort((a, b) => (a.file === b.file ? a.offset - b.offset : a.file < b.file ? -1 : 1));
  const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
  const problems: Problem[] = [];
  const report = (list: string[], severity: 'error' | 'warning', text: string): void => {
    if (list.length > 0) {
      problems.push(problem('checkpoint/shard-mismatch', severity, path, `${counted(list.length, 'tensor')} (${sample(list)}) ${text}.`));
    }
  };
  report(missing, 'error', 'listed in the index but found in no shard, so layers may be missing. Index and shards are of different versions: '
    + 'download both again');
  report(misplaced, 'warning', 'in another shard than the index says; read from where they are. Other loaders may not find them');
  report(unlisted, 'warning', 'found in the shards but not listed in the index; read all the same. Other loaders may drop them');
  report(twice, 'warning', 'found in more than one shard; the one that the index names counts');
  if (index.totalSize !== null && index.totalSize !== bytes) {
    problems.push(problem('checkpoint/total-size', 'info', path, `says ${counted(index.totalSize, 'byte')} in metadata.total_size; `
      + `the tensors hold ${grouped(bytes)}. Nothing depends on it.`));
  }
  return { tensors, problems };
}

async function mapBounded<T, R>(items: readonly T[], limit: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const queue = items.entries();
  const worker = async (): Promise<void> => {
    for (const [i, item] of queue) {
      results[i] = await work(item);
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  return results;
}

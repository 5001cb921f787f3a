/**
 * Cache folders hold whole files, written under a temporary name and renamed, or one folder per entry. This clears what killed processes left and keeps the rest within bounds.
 * An entry is as old as its last use: whoever finds an entry touches it.
 */
import { randomUUID } from 'node:crypto';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

export interface CacheLimits { files: number; bytes: number }

/** No write takes this long: a temporary file of that age has lost its process. Nor does a job go on so long without a look at an entry it needs. */
const abandonedAfter = 60 * 60_000;

/** Removes abandoned temporary files, and beyond a limit the oldest entries until half of it is free. Concurrent calls, also of other processes, are harmless. */
export async function tidy(folder: string, limits: CacheLimits): Promise<void> {
  const entries = (await Promise.all((await readdir(folder).catch(() => [])).map((name) => entryAt(join(folder, name), name.endsWith('.tmp'))))).flat();
  const old = Date.now() - abandonedAfter;
  const abandoned = entries.filter((entry) => entry.temporary && entry.time < old);
  const kept = entries.filter((entry) => !entry.temporary).sort((a, b) => b.time - a.time);
  const within = (share: number): number => {
    let bytes = 0;
    const first = kept.findIndex((entry, i) => i >= share * limits.files || (bytes += entry.size) > share * limits.bytes);
    return first < 0 ? kept.length : first;
  };
  // A job may be at work in a young folder; a file is read in one go.
  const surplus = (within(1) < kept.length ? kept.slice(within(0.5)) : []).filter((entry) => !entry.folder || entry.time < old);
  await Promise.all([...abandoned, ...surplus].map(discard));
}

interface Entry { path: string; time: number; /** Bytes, of a folder of everything in it. */ size: number; temporary: boolean; folder: boolean }

/** None when it is gone already. */
async function entryAt(path: string, temporary: boolean): Promise<Entry[]> {
  try {
    const found = await stat(path);
    return [{ path, time: found.mtimeMs, size: found.isDirectory() ? await sizeOf(path) : found.size, temporary, folder: found.isDirectory() }];
  } catch {
    return [];
  }
}

async function sizeOf(folder: string): Promise<number> {
  const sizes = await Promise.all((await readdir(folder, { recursive: true })).map((name) => stat(join(folder, name)).then((found) => (found.isFile() ? found.size : 0), () => 0)));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** A folder gets another name first: no process finds half of it. */
async function discard({ path, folder, temporary }: Entry): Promise<void> {
  const doomed = folder && !temporary ? `${path}.${randomUUID()}.tmp` : path;
  if (doomed !== path) {
    await rename(path, doomed).catch(() => undefined); // another process was faster
  }
  await rm(doomed, { recursive: folder, force: true });
}

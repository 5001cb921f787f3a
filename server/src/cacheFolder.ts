/** Cache folders hold whole files, written under a temporary name and renamed. This clears what killed processes left and keeps the rest within bounds. */
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

export interface CacheLimits { files: number; bytes: number }

/** No write takes this long: a temporary file of that age has lost its process. */
const abandonedAfter = 60 * 60_000;

/** Removes abandoned temporary files, and beyond a limit the oldest files until half of it is free. Concurrent calls, also of other processes, are harmless. */
export async function tidy(folder: string, limits: CacheLimits): Promise<void> {
  const found = await Promise.all((await readdir(folder)).map(async (name) => {
    const path = join(folder, name);
    return stat(path).then(({ mtimeMs, size }) => [{ path, time: mtimeMs, size, temporary: name.endsWith('.tmp') }], () => []); // gone already
  }));
  const files = found.flat();
  const abandoned = files.filter((file) => file.temporary && file.time < Date.now() - abandonedAfter);
  const kept = files.filter((file) => !file.temporary).sort((a, b) => b.time - a.time);
  const within = (share: number): number => {
    let bytes = 0;
    const first = kept.findIndex((file, i) => i >= share * limits.files || (bytes += file.size) > share * limits.bytes);
    return first < 0 ? kept.length : first;
  };
  const surplus = within(1) < kept.length ? kept.slice(within(0.5)) : [];
  await Promise.all([...abandoned, ...surplus].map(({ path }) => rm(path, { force: true })));
}

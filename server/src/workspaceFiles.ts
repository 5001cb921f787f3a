/** Files of the workspace by their names, and their texts. Bounded and cancellable: a workspace may hold an archive of checkpoints or a whole disk. */
import { constants } from 'node:fs';
import type { Dirent } from 'node:fs';
import { open, opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** `complete` is false when a limit ended the search or it was cancelled. */
export interface FoundFiles { /** Sorted. */ paths: string[]; complete: boolean }

export interface FindLimits { files: number; /** Names looked at. */ entries: number; depth: number }

export const findLimits: FindLimits = { files: 2000, entries: 200_000, depth: 12 };

/**
 * @param accepts by the name of a file, without its folder
 * Hidden folders and node_modules are left out. A link to a file counts as that file; a link to a folder is not followed, so nothing is found twice and no search leaves
 * the folders. A folder that cannot be read holds nothing.
 */
export type FindFiles = (folders: readonly string[], accepts: (name: string) => boolean, isCancelled: () => boolean, limits?: FindLimits) => Promise<FoundFiles>;

/** Breadth first, so that a limit leaves out what lies deep. */
export const findFiles: FindFiles = async (folders, accepts, isCancelled, limits = findLimits) => {
  const paths = new Set<string>();
  const seen = new Set<string>();
  let entries = 0;
  let complete = true;
  let level = [...folders];
  for (let depth = 0; level.length > 0; depth++) {
    const next: string[] = [];
    for (const folder of level) {
      if (seen.has(folder)) {
        continue; // of workspace folders that lie in each other
      }
      seen.add(folder);
      for await (const entry of entriesOf(folder)) {
        if (isCancelled() || ++entries > limits.entries || paths.size >= limits.files) {
          return { paths: [...paths].sort(), complete: false };
        }
        if (entry.isDirectory() && !entry.name.startsWith('.') && entry.name !== 'node_modules') {
          next.push(join(folder, entry.name));
        } else if (accepts(entry.name) && await isFile(folder, entry)) {
          paths.add(join(folder, entry.name));
        }
      }
    }
    if (depth >= limits.depth && next.length > 0) {
      complete = false;
      break;
    }
    level = next.sort();
  }
  return { paths: [...paths].sort(), complete };
};

async function* entriesOf(folder: string): AsyncGenerator<Dirent> {
  try {
    yield* await opendir(folder, { bufferSize: 256 });
  } catch {
    // not readable, or gone since its parent was read
  }
}

async function isFile(folder: string, entry: Dirent): Promise<boolean> {
  return entry.isFile() || (entry.isSymbolicLink() && await stat(join(folder, entry.name)).then((stats) => stats.isFile(), () => false));
}

/** The whole text of a file and a stamp that changes with it; no text while the stamp is still `known`. Undefined for anything but a readable file of at most `limit` bytes. */
export type ReadText = (path: string, limit: number, known?: string) => Promise<{ stamp: string; text: string | undefined } | undefined>;

export const readText: ReadText = async (path, limit, known) => {
  try {
    // A pipe that took the file's place must not be waited for.
    const handle = await open(path, constants.O_RDONLY | ((constants.O_NONBLOCK as number | undefined) ?? 0));
    try {
      const { size, mtimeMs, ino } = await handle.stat().then((stats) => (stats.isFile() ? stats : { size: Infinity, mtimeMs: 0, ino: 0 }));
      const stamp = `${size} ${mtimeMs} ${ino}`;
      if (size > limit) {
        return undefined;
      }
      return { stamp, text: stamp === known ? undefined : await handle.readFile('utf8') };
    } finally {
      await handle.close();
    }
  } catch {
    return undefined; // gone or not readable: what cannot be read has nothing to show
  }
};

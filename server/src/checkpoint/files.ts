import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { open, readdir, realpath, stat } from 'node:fs/promises';
import { CheckpointError, grouped, visible } from './errors';
import type { CheckpointCode } from './errors';

const ABSENT = 'absent';

/**
 * Reads files and remembers what they looked like (size, mtime and inode; names in a folder), so that the result can be kept
 * for as long as they stay the same.
 * Only regular files are opened: a pipe or a device could block forever.
 */
export class Files {
  private readonly stamps = new Map<string, string>();

  /** Opens a regular file for reading; `use` gets its size in bytes. */
  async withFile<T>(path: string, use: (handle: FileHandle, size: number) => Promise<T>): Promise<T> {
    requireFile(path, await this.stat(path));
    // Should the file be swapped for a pipe in this moment, O_NONBLOCK keeps open() from waiting for a writer. Windows has no such flag.
    const nonBlocking = (constants.O_NONBLOCK as number | undefined) ?? 0;
    try {
      const handle = await open(path, constants.O_RDONLY | nonBlocking);
      try {
        const stats = await handle.stat({ bigint: true });
        requireFile(path, stats);
        this.stamps.set(path, stampOf(stats));
        return await use(handle, Number(stats.size));
      } finally {
        await handle.close();
      }
    } catch (error) {
      throw explained(path, error);
    }
  }

  /** The whole content of a file of at most `limit` bytes. */
  async readAll(path: string, limit: number, code: CheckpointCode): Promise<Buffer> {
    return this.withFile(path, async (handle, size) => {
      if (size > limit) {
        throw new CheckpointError(code, path, `holds ${grouped(size)} bytes, above the limit of ${grouped(limit)}. `
          + `This is not the file it is named as.`);
      }
      return readExactly(path, handle, 0, size);
    });
  }

  /** Names in a folder, sorted. */
  async list(folder: string): Promise<string[]> {
    try {
      const names = (await readdir(folder)).sort();
      this.stamps.set(folder, stampOfFolder(names));
      return names;
    } catch (error) {
      throw explained(folder, error);
    }
  }

  async stat(path: string): Promise<BigIntStats> {
    try {
      return await stat(path, { bigint: true });
    } catch (error) {
      throw explained(path, error);
    }
  }

  /** The path with every symbolic link resolved. */
  async realPath(path: string): Promise<string> {
    try {
      return await realpath(path);
    } catch (error) {
      throw explained(path, error);
    }
  }

  /** Whether something stands at `path`. An absence is remembered too: a file that appears later changes the result. */
  async exists(path: string): Promise<boolean> {
    const found = await stampNow(path);
    if (found === ABSENT) {
      this.stamps.set(path, ABSENT);
    }
    return found !== ABSENT;
  }

  /** Identity of everything that was read. Folders are left out: a new neighbour alone does not make another checkpoint. */
  revision(): string {
    const hash = createHash('sha256');
    for (const [path, stamp] of this.fileStamps().sort(([a], [b]) => (a < b ? -1 : 1))) {
      hash.update(`${path}\0${stamp}\0`);
    }
    return hash.digest('hex').slice(0, 32);
  }

  /** The first file that no longer looks as it did when it was read. */
  async changedFile(): Promise<string | undefined> {
    const current = await Promise.all(this.fileStamps().map(async ([path, stamp]) => ({ path, same: (await stampNow(path)) === stamp })));
    return current.find(({ same }) => !same)?.path;
  }

  private fileStamps(): [path: string, stamp: string][] { return [...this.stamps].filter(([, stamp]) => !stamp.startsWith('folder')); }

  /** True while every file and folder looks as it did when it was read. */
  async unchanged(): Promise<boolean> {
    const current = await Promise.all([...this.stamps].map(async ([path, stamp]) => (await stampNow(path)) === stamp));
    return current.every(Boolean);
  }
}

/** Exactly `length` bytes from `offset`. */
export async function readExactly(path: string, handle: FileHandle, offset: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(buffer, done, length - done, offset + done);
    if (bytesRead === 0) {
      throw new CheckpointError('checkpoint/truncated', path, `became shorter while it was read, at byte ${grouped(offset + done)}. `
        + `Open it again once it is complete.`);
    }
    done += bytesRead;
  }
  return buffer;
}

function requireFile(path: string, stats: BigIntStats): void {
  if (!stats.isFile()) {
    throw new CheckpointError('checkpoint/not-a-file', path, `is ${kindOf(stats)}, not a file. Name the checkpoint file itself.`);
  }
}

function kindOf(stats: BigIntStats): string {
  return stats.isDirectory() ? 'a folder' : stats.isFIFO() ? 'a pipe' : stats.isSocket() ? 'a socket' : 'a device';
}

function stampOf(stats: BigIntStats): string {
  return `file ${stats.size} ${stats.mtimeNs} ${stats.ino}`;
}

/** A folder is what it lists. Its mtime would not do: kernels advance it in steps of milliseconds, so a quick second change could hide. */
function stampOfFolder(names: readonly string[]): string {
  return `folder ${names.join('/')}`;
}

async function stampNow(path: string): Promise<string> {
  try {
    const stats = await stat(path, { bigint: true });
    return stats.isDirectory() ? stampOfFolder((await readdir(path)).sort()) : stampOf(stats);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    return code === 'ENOENT' || code === 'ENOTDIR' ? ABSENT : `unreadable ${code}`;
  }
}

/** What the operating system said, in plain words. */
function explained(path: string, error: unknown): unknown {
  const { code, message, syscall } = error as NodeJS.ErrnoException;
  if (error instanceof CheckpointError || syscall === undefined) {
    return error; // explained already, or a mistake of this program that must not be blamed on the file
  }
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new CheckpointError('checkpoint/not-found', path, `not found (${visible(path)}). Check the path; `
      + `a relative one counts from the file that names it.`);
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new CheckpointError('checkpoint/permission', path, `may not be read (${visible(path)}). Give yourself read permission.`);
  }
  return new CheckpointError('checkpoint/io', path, `cannot be read: ${visible(message)}.`);
}

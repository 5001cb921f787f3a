/** What a report is about, so that somebody else can tell whether they look at the same files. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { CancellationToken } from 'vscode-jsonrpc';
import { requireUnchanged } from '../../checkpoint';
import { Files } from '../../checkpoint/files';
import { EngineError } from '../../engine/client';
import type { Checkpoint } from '../../protocol';

/** Checkpoints up to this size are hashed without being asked, bytes. */
const quick = 2 ** 30;
const chunk = 1 << 22;

export interface ConfigIdentity {
  /** File name. */
  name: string;
  sha256: string;
  /** False when the text in the editor differs from the file: the hash is that of the text. */
  saved: boolean;
}

export interface CheckpointIdentity {
  /** Of paths, sizes, times and inodes: the same files on this machine, which says nothing elsewhere. */
  revision: string;
  /** Files that hold weights. sha256 is of the content; null where it was not asked for. */
  files: { name: string; bytes: number; sha256: string | null }[];
}

/** @param text what was measured */
export async function configIdentity(path: string, text: string): Promise<ConfigIdentity> {
  const bytes = await readFile(path).catch(() => null); // untitled, or gone meanwhile
  const saved = bytes !== null && new TextDecoder().decode(bytes) === text;
  return { name: basename(path), sha256: createHash('sha256').update(saved ? bytes : text).digest('hex'), saved };
}

/** @param whatever hash however large it is. @throws CheckpointError when the files are no longer those of the revision; EngineError when cancelled */
export async function checkpointIdentity(checkpoint: Checkpoint, { whatever, cancellation, onProgress }: { whatever: boolean; cancellation?: CancellationToken | undefined; onProgress?: (fraction: number, what: string) => void }): Promise<CheckpointIdentity> {
  const files = new Files();
  const paths = [...new Set(checkpoint.tensors.map(({ file }) => file))].sort();
  const sizes = await Promise.all(paths.map(async (path) => Number((await files.stat(path)).size)));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const hashed: CheckpointIdentity['files'] = [];
  let done = 0;
  for (const [i, path] of paths.entries()) {
    const name = basename(path);
    const sha256 = whatever || total <= quick ? await hashFile(files, path, cancellation, (bytes) => onProgress?.((done += bytes) / Math.max(1, total), `hashing ${name}`)) : null;
    hashed.push({ name, bytes: sizes[i] ?? 0, sha256 });
  }
  await requireUnchanged(checkpoint);
  return { revision: checkpoint.revision, files: hashed };
}

function hashFile(files: Files, path: string, cancellation: CancellationToken | undefined, read: (bytes: number) => void): Promise<string> {
  return files.withFile(path, async (handle) => {
    const hash = createHash('sha256');
    const buffer = Buffer.allocUnsafe(chunk);
    for (;;) {
      if (cancellation?.isCancellationRequested) {
        throw new EngineError('CANCELLED', 'Cancelled.');
      }
      const { bytesRead } = await handle.read(buffer, 0, chunk);
      if (bytesRead === 0) {
        return hash.digest('hex');
      }
      hash.update(buffer.subarray(0, bytesRead));
      read(bytesRead);
    }
  });
}

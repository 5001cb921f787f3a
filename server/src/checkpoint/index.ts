/** Opens checkpoints by their headers alone, and keeps what was opened for as long as the files stay the same. */
import { basename, dirname, isAbsolute } from 'node:path';
import type { Checkpoint, Problem } from '../protocol';
import { describe } from './architecture';
import { findComponent, hasComponentName, readConfig } from './diffusers';
import { CheckpointError, quoted } from './errors';
import { Files } from './files';
import { nunchakuPart } from './nunchakuFolder';
import { readPacked } from './packed';
import { readHeader } from './safetensors';
import { readSharded } from './sharded';

export { CheckpointError } from './errors';

/**
 * Opens a .safetensors file, a .safetensors.index.json, a diffusers pipeline folder (or its model_index.json) or a component folder.
 * @param path absolute; the caller resolves relative ones.
 * @throws CheckpointError, and nothing else, for whatever is on the disk.
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  return (await open(path)).checkpoint;
}

/** `looked`: when the look at the files began that found them like this. */
interface Opened { checkpoint: Checkpoint; files: Files; looked: number }

async function open(path: string): Promise<Omit<Opened, 'looked'>> {
  if (!isAbsolute(path) || path.includes('\0')) {
    throw new CheckpointError('checkpoint/relative-path', path, `${quoted(path)} is not an absolute path. `
      + `Resolve it against the folder of the file that names it.`);
  }
  const files = new Files();
  const { kind, weights, problems } = await locate(path, files);
  const { tensors, metadata, problems: shardProblems } = weights.endsWith('.json')
    ? await readSharded(weights, files)
    : { ...await readHeader(weights, files), problems: [] };
  const { config, problems: configProblems } = kind === 'diffusers' || hasComponentName(weights)
    ? await readConfig(weights, files)
    : { config: null, problems: [] };
  const packed = readPacked(weights, metadata, tensors);
  // Roles and blocks come from the names of the weights that the packed parts stand for.
  const described = describe(weights, packed ? [...packed.rest, ...packed.weights] : tensors, config);
  const checkpoint: Checkpoint = {
    path,
    kind,
    architecture: described.architecture,
    config,
    metadata,
    tensors,
    layers: described.layers,
    problems: [...problems, ...await nunchakuPart(weights, files), ...shardProblems, ...configProblems, ...(packed?.problems ?? []), ...described.problems],
    revision: files.revision(),
  };
  remember(checkpoint.revision, files);
  return { checkpoint, files };
}

/** What was read for the checkpoints opened last, by revision. */
const readings = new Map<string, Files>();

function remember(revision: string, files: Files): void {
  readings.delete(revision);
  readings.set(revision, files);
  for (const oldest of [...readings.keys()].slice(0, -64)) {
    readings.delete(oldest);
  }
}

/** False when a file that was read for this revision looks different now. */
export async function isUnchanged({ revision }: Pick<Checkpoint, 'revision'>): Promise<boolean> {
  return await changedFile(revision) === undefined;
}

async function changedFile(revision: string): Promise<string | undefined> {
  return readings.get(revision)?.changedFile();
}

/**
 * To be called when numbers have been taken from a checkpoint's weights and before they are kept: they belong to this revision only if the files are still those
 * whose headers were read. @throws CheckpointError when one was written, replaced or removed meanwhile.
 */
export async function requireUnchanged({ revision }: Pick<Checkpoint, 'revision'>): Promise<void> {
  const changed = await changedFile(revision);
  if (changed !== undefined) {
    throw new CheckpointError('checkpoint/changed', changed, `changed during this run, so its numbers would mix two models. Run it again once the file is complete.`);
  }
}

/** Which file to read for a path, and as what. */
async function locate(path: string, files: Files): Promise<{ kind: Checkpoint['kind']; weights: string; problems: Problem[] }> {
  if ((await files.stat(path)).isDirectory()) {
    return { kind: 'diffusers', ...await findComponent(path, files) };
  }
  if (basename(path) === 'model_index.json') {
    return { kind: 'diffusers', ...await findComponent(dirname(path), files) };
  }
  return { kind: path.endsWith('.json') ? 'sharded' : 'safetensors', weights: path, problems: [] };
}

/** How long a look at the files holds for `recent`, in milliseconds. */
const recently = 2000;

/** Keeps the most recently used checkpoints. Every `get` looks at the files again, so an answer is never stale. */
export class CheckpointStore {
  /** In order of use, the latest last. */
  private readonly kept = new Map<string, Opened>();
  private readonly pending = new Map<string, Promise<Opened>>();
  private readonly listeners = new Set<(path: string) => void>();
  /** When somebody said so last. */
  private changed = -Infinity;

  /** @param now in milliseconds, from anywhere on. */
  constructor(private readonly capacity = 8, private readonly now: () => number = () => performance.now()) {}

  /** The checkpoint as it is on the disk now. Concurrent calls share one reading. @throws CheckpointError */
  async get(path: string): Promise<Checkpoint> {
    const running = this.pending.get(path) ?? this.start(path);
    return (await running).checkpoint;
  }

  /**
   * The same for what is asked at every keystroke: a look at the files within the last two seconds still holds, until `lookAgain`. A change right after a keystroke is
   * not seen by `get` either; whoever hears of changes says so. @throws CheckpointError
   */
  async recent(path: string): Promise<Checkpoint> {
    const known = this.kept.get(path);
    return known && known.looked > this.changed && this.now() - known.looked < recently ? known.checkpoint : this.get(path);
  }

  /** Something may have changed on the disk. */
  lookAgain(): void {
    this.changed = this.now();
  }

  /** What the last `get` gave, without a look at the disk. */
  peek(path: string): Checkpoint | undefined {
    return this.kept.get(path)?.checkpoint;
  }

  /** Forgets one checkpoint, or all. Readings under way finish for those who wait, and are not kept. */
  invalidate(path?: string): void {
    const paths = path === undefined ? [...new Set([...this.kept.keys(), ...this.pending.keys()])] : [path];
    for (const each of paths) {
      this.pending.delete(each);
      if (this.kept.delete(each)) {
        this.announce(each);
      }
    }
  }

  /** Called with a checkpoint's path when what was kept for it no longer holds. Returns the way to stop. */
  onDidChange(listener: (path: string) => void): () => void {
    this.listeners.add(listener);
    return () => { this.listeners.delete(listener); };
  }

  private start(path: string): Promise<Opened> {
    const looked = this.now();
    const running = this.current(path).then(
      found => { const opened = { ...found, looked }; this.settle(path, running, opened); return opened; },
      (error: unknown) => { this.settle(path, running, undefined); throw error; },
    );
    this.pending.set(path, running);
    return running;
  }

  private async current(path: string): Promise<Omit<Opened, 'looked'>> {
    const known = this.kept.get(path);
    return known !== undefined && await known.files.unchanged() ? known : open(path);
  }

  private settle(path: string, running: Promise<Opened>, opened: Opened | undefined): void {
    if (this.pending.get(path) !== running) {
      return; // invalidated meanwhile
    }
    this.pending.delete(path);
    const before = this.kept.get(path);
    this.kept.delete(path);
    if (opened !== undefined) {
      this.kept.set(path, opened);
      for (const oldest of [...this.kept.keys()].slice(0, -this.capacity)) {
        this.kept.delete(oldest);
      }
    }
    if (before !== undefined && before.checkpoint.revision !== opened?.checkpoint.revision) {
      this.announce(path);
    }
  }

  private announce(path: string): void {
    for (const listener of [...this.listeners]) {
      listener(path);
    }
  }
}

/** Reports on disk, one small JSON file per key. A file that cannot be read or understood counts as absent; writes go to a temporary file and are renamed. */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tidy } from '../cacheFolder';
import type { MeasureRequest } from '../engine/addon';
import type { LayerReport } from '../protocol';

const maxFiles = 20_000;
const maxBytes = 2 ** 30;

/**
 * Tensor identity, everything that changes the numbers, build of the engine and of what measures. Activation settings are not part of it: they change no weight report.
 * @param fitted what a fitted or packed layer depends on beyond these
 */
export function reportKey(request: MeasureRequest, revision: string, build: string, fitted?: unknown): string {
  return createHash('sha256').update(JSON.stringify([1, build, revision, request, ...(fitted === undefined ? [] : [fitted])])).digest('hex');
}

export class ReportCache {
  private readonly recent = new Map<string, LayerReport>();
  private tidied = false;

  /** @param folder created on first use; null keeps reports in memory only. */
  constructor(private readonly folder: string | null) {}

  async get(key: string): Promise<LayerReport | undefined> {
    const known = this.recent.get(key);
    if (known || this.folder === null) {
      return known;
    }
    try {
      const report = JSON.parse(await readFile(this.path(key), 'utf8')) as Partial<LayerReport>;
      if (report.key === key && typeof report.weight?.relativeMse === 'number' && typeof report.marginal?.ks === 'number') {
        return this.remember(key, report as LayerReport);
      }
    } catch {
      // Absent, half written by a killed process, or not ours: measured again.
    }
    return undefined;
  }

  async put(report: LayerReport): Promise<void> {
    this.remember(report.key, report);
    if (this.folder === null) {
      return;
    }
    await mkdir(this.folder, { recursive: true });
    const temporary = join(this.folder, `${report.key}.${randomUUID()}.tmp`);
    await writeFile(temporary, JSON.stringify(report));
    await rename(temporary, this.path(report.key));
    if (!this.tidied) {
      this.tidied = true;
      await tidy(this.folder, { files: maxFiles, bytes: maxBytes });
    }
  }

  private remember(key: string, report: LayerReport): LayerReport {
    this.recent.delete(key);
    this.recent.set(key, report);
    if (this.recent.size > maxFiles) {
      this.recent.delete(this.recent.keys().next().value ?? '');
    }
    return report;
  }

  private path(key: string): string {
    return join(this.folder ?? '', `${key}.json`);
  }
}

/**
 * Time to open FLUX.1-dev (23.8 GB in three shards, sparse files with real headers). Run: node --import=tsx bench/index.bench.ts
 * cold: the first call in a new process, start of the process not counted. warm: later calls in one process. kept: CheckpointStore.get when nothing changed.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CheckpointStore, openCheckpoint } from '../server/src/checkpoint/index';
import { writeSparseFlux } from '../test/fixtures/sparse';

const TARGET_MS = 150;

async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

async function repeat(times: number, work: () => Promise<unknown>): Promise<number[]> {
  const measured: number[] = [];
  for (let i = 0; i < times; i++) {
    measured.push(await milliseconds(work));
  }
  return measured;
}

function print(name: string, measured: number[]): number {
  const sorted = measured.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
  process.stdout.write(`${name.padEnd(6)} median ${at(0.5).toFixed(3).padStart(8)} ms   p95 ${at(0.95).toFixed(3).padStart(8)} ms   n ${sorted.length}\n`);
  return at(0.5);
}

async function main(): Promise<void> {
  const [only] = process.argv.slice(2);
  if (only !== undefined) {
    process.stdout.write(String(await milliseconds(() => openCheckpoint(only))));
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-bench-'));
  try {
    await writeSparseFlux(folder);
    const cold = Array.from({ length: 10 }, () => Number(execFileSync(process.execPath, ['--import=tsx', __filename, folder], { encoding: 'utf8' })));
    const median = print('cold', cold);
    print('warm', await repeat(100, () => openCheckpoint(folder)));
    const store = new CheckpointStore();
    await store.get(folder);
    print('kept', await repeat(100, () => store.get(folder)));
    process.stdout.write(`target ${TARGET_MS} ms cold: ${median < TARGET_MS ? 'met' : 'MISSED'}\n`);
    process.exitCode = median < TARGET_MS ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

void main();

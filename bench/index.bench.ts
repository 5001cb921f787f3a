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
import { quantile, row } from './row';

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
  const [median, p95] = [quantile(measured, 0.5), quantile(measured, 0.95)];
  process.stdout.write(`${name.padEnd(6)} median ${median.toFixed(3).padStart(8)} ms   p95 ${p95.toFixed(3).padStart(8)} ms   n ${measured.length}\n`);
  return median;
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
    const kept = print('kept', await repeat(100, () => store.get(folder)));
    row({ what: 'open FLUX.1-dev, 24 GB in three shards, new process', measured: `median ${median.toFixed(0)} ms, p95 ${quantile(cold, 0.95).toFixed(0)} ms`, target: `< ${TARGET_MS} ms`, met: median < TARGET_MS });
    row({ what: 'the same, kept and unchanged', measured: `median ${kept.toFixed(2)} ms` });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

void main();

/**
 * Exact allocation of FLUX.1-dev (418 block linears, 5 options, ties of q, k and v) at every size at once, and for one size where sizes have no common divisor.
 * The losses are made up; the sizes are those of the resolver. Run: node --import=tsx bench/allocate.bench.ts
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { solveCore } from '../server/src/analysis/allocate/core';
import { Frontier } from '../server/src/analysis/allocate/frontier';
import { tieLayers } from '../server/src/analysis/allocate/groups';
import { Hull } from '../server/src/analysis/allocate/hull';
import type { Groups } from '../server/src/analysis/allocate/knapsack';
import { layersUnder, readOptions } from '../server/src/analysis/allocate/options';
import { openCheckpoint } from '../server/src/checkpoint';
import type { Checkpoint } from '../server/src/protocol';
import { random } from '../test/fixtures/random';
import { writeSparseFlux } from '../test/fixtures/sparse';
import { quantile, row } from './row';

const TARGET_MS = 200;
const repeats = 9;

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-bench-'));
  try {
    await writeSparseFlux(folder);
    const checkpoint = await openCheckpoint(folder);
    const coarse = problem(checkpoint, ['W2A4', 'W3A4', 'W4A4', 'W6A6', 'W8A8'], (tied) => tied);
    const fine = problem(checkpoint, ['W2A4', 'W3A4', 'rtn:W4A16', 'W8A8', 'keep'], (tied) => tied);
    const single = problem(checkpoint, ['W2A4', 'W3A4', 'W4A4', 'W6A6', 'W8A8'], (tied) => tied.flatMap((layers) => layers.map((layer) => [layer])));
    const every = 'exact allocation, FLUX.1-dev, 418 × 5 options, every size';
    report(`${every}, q/k/v tied`, coarse, () => Frontier.of(coarse)?.points.length);
    report(every, single, () => Frontier.of(single)?.points.length);
    const hull = new Hull(fine);
    const budget = 6e9;
    report('the same for one size, several methods and kept layers', fine, () => { const found = solveCore(fine, hull, budget); return found?.exact ? found.bytes : undefined; });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

type Layers = Checkpoint['layers'];

function problem(checkpoint: Checkpoint, options: string[], split: (tied: Layers[]) => Layers[]): Groups {
  const under = readOptions(options, {}).map((option) => layersUnder(option, { defaults: {}, rules: [] }, checkpoint));
  const next = random(1);
  const free = checkpoint.layers.filter(({ role }) => !['modulation', 'embedder', 'final'].includes(role));
  return split(tieLayers(free)).map((layers) => {
    const importance = Math.exp(3 * next());
    return under.map((plans) => layers.reduce((sum, { name }) => {
      const layer = plans.get(name);
      return { bytes: sum.bytes + (layer?.packedBytes ?? 0), loss: sum.loss + importance * 4 ** -(layer?.weightBits ?? 0) * (1 + 0.3 * next()) };
    }, { bytes: 0, loss: 0 }));
  });
}

function report(what: string, groups: Groups, work: () => number | undefined): void {
  const times: number[] = [];
  let found: number | undefined;
  for (let i = 0; i < repeats; i++) {
    const started = performance.now();
    found = work();
    times.push(performance.now() - started);
  }
  const at = (share: number): string => quantile(times, share).toFixed(0);
  process.stdout.write(`${groups.length} groups, ${found === undefined ? 'NOT EXACT' : found}\n`);
  row({ what, measured: `median ${at(0.5)} ms (${at(0)} to ${at(1)})${found === undefined ? ', NOT EXACT' : ''}`, target: `< ${TARGET_MS} ms`, met: found !== undefined && quantile(times, 0.5) < TARGET_MS });
}

void main();

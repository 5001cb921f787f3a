/**
 * One forward pass of DiT-XL/2 at 256 px (all 28 blocks, random weights in BF16, 237 GFLOP) on the engine, beside torch in float32 on the same number of threads.
 * Run: node --import=tsx bench/forward.bench.ts [threads] — the two take turns, and the ratio is the median over the pairs: above 1, the engine is faster.
 * Without torch only the engine is timed. To compare: python3 -m venv /tmp/torch && /tmp/torch/bin/pip install torch, then PYTHON=/tmp/torch/bin/python3 in front of the command.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { openCheckpoint } from '../server/src/checkpoint';
import { EngineClient } from '../server/src/engine/client';
import { modelFor } from '../server/src/models';
import { prepare } from '../server/src/models/forward';
import { torchRandn } from '../server/src/samplers/noise';
import { writeFullSize } from '../test/fixtures/fullSize';
import { quantile, row } from './row';

const root = resolve(__dirname, '..');
const TARGET = 1;
const rounds = 9;
const image = { shape: [4, 32, 32], data: torchRandn(4 * 32 * 32, 1) };
const given = { hidden_states: image, timestep: { shape: [1], data: Float32Array.of(500) }, class_labels: { shape: [1], data: Float32Array.of(7) } };

/** Runs one forward and tells its seconds. */
interface Side { about: string; forward(): Promise<number>; sample(): Promise<Float32Array>; end(): Promise<void> }

async function engineSide(folder: string, threads: number): Promise<Side> {
  const engine = new EngineClient({ hostPath: join(root, 'dist/engine.js'), addonPath: join(root, 'native/build/quantscope.node'), threads, log: () => undefined });
  const checkpoint = await openCheckpoint(folder);
  const { key, program } = prepare(modelFor(checkpoint), checkpoint, given);
  const graph = await engine.openGraph(key, program);
  const inputs = Object.fromEntries(Object.entries(given).map(([name, { data }]) => [name, data]));
  const sample = async (): Promise<Float32Array> => (await graph.run({ inputs, recipes: {}, capture: null })).outputs['sample'] ?? new Float32Array();
  return {
    about: `engine (${(await engine.info()).cpuLevel})`, sample, end: () => engine.dispose(),
    async forward() {
      const start = performance.now();
      await sample();
      return (performance.now() - start) / 1000;
    },
  };
}

/** undefined when this Python has no torch. */
async function torchSide(folder: string, threads: number): Promise<Side | undefined> {
  const child = spawn(process.env['PYTHON'] ?? 'python3', [join(__dirname, 'forward.py'), folder, String(threads)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'close');
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const answer = async <T>(): Promise<T | undefined> => {
    const { value, done } = await lines.next() as { value: string; done?: boolean };
    return done ? undefined : JSON.parse(value) as T;
  };
  const hello = await answer<{ version: string }>();
  if (!hello) {
    return undefined;
  }
  const ask = async (sample: boolean): Promise<{ seconds: number; sample: number[] }> => {
    child.stdin.write(`${JSON.stringify({ hidden_states: { shape: image.shape, data: [...image.data] }, timestep: 500, class_labels: 7, sample })}\n`);
    const found = await answer<{ seconds: number; sample: number[] }>();
    assert.ok(found, 'torch ended early');
    return found;
  };
  return {
    about: `torch ${hello.version}`, forward: async () => (await ask(false)).seconds, sample: async () => Float32Array.from((await ask(true)).sample),
    async end() {
      child.stdin.end();
      await ended;
    },
  };
}

async function main(): Promise<void> {
  const threads = Number(process.argv[2] ?? availableParallelism());
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-bench-'));
  const sides: Side[] = [];
  try {
    writeFullSize(folder, 'DiT-XL/2-256');
    const engine = await engineSide(folder, threads);
    sides.push(engine);
    const torch = await torchSide(folder, threads);
    sides.push(...(torch ? [torch] : []));
    const [ours, theirs] = await Promise.all(sides.map((side) => side.sample()));
    if (ours && theirs) {
      const worst = ours.reduce((most, value, i) => Math.max(most, Math.abs(value - (theirs[i] ?? NaN))), 0);
      console.log(`largest difference between the two: ${worst.toExponential(1)} on outputs up to ${Math.max(...ours).toFixed(1)}`);
      assert.ok(worst < 1e-3 * Math.max(...ours), 'the two do not compute the same');
    }
    const seconds = sides.map((): number[] => []);
    for (let round = 0; round < rounds; round++) {
      for (const [i, side] of sides.entries()) {
        seconds[i]?.push(await side.forward());
      }
    }
    const what = `forward of DiT-XL/2 at 256 px, ${threads} threads`;
    sides.forEach((side, i) => row({ what: `${what}: ${side.about}`, measured: `median ${quantile(seconds[i] ?? [], 0.5).toFixed(2)} s, fastest ${quantile(seconds[i] ?? [], 0).toFixed(2)} s` }));
    const ratio = quantile((seconds[1] ?? []).map((time, round) => time / (seconds[0]?.[round] ?? NaN)), 0.5);
    row(torch ? { what: `${what}: torch float32 ÷ engine`, measured: `median ${ratio.toFixed(2)} of ${rounds} pairs`, target: `≥ ${TARGET.toFixed(1)}`, met: ratio >= TARGET }
      : { what: `${what}: torch float32 ÷ engine`, measured: 'torch is missing; bench/forward.bench.ts says how to compare', target: `≥ ${TARGET.toFixed(1)}` });
  } finally {
    await Promise.all(sides.map((side) => side.end()));
    rmSync(folder, { recursive: true, force: true });
  }
}

void main();

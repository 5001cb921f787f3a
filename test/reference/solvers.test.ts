/** GPTQ, low-rank branches and second moments held against numpy, and that the engine says when it lost what it added up. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { openCheckpoint } from '../../server/src/checkpoint';
import { readValues } from '../../server/src/checkpoint/values';
import type { TensorRef } from '../../server/src/engine/addon';
import { EngineClient, EngineError } from '../../server/src/engine/client';
import type { LinearRecipe, Program, RunRequest } from '../../server/src/engine/graph';
import { numpy } from './python';

const root = resolve(__dirname, '../..');

interface Cases {
  gptq: Record<string, { file: string; bits: number; group: number; symmetric: boolean; actOrder: boolean; tail: number; loss: number; mse: number }>;
  lowRank: Record<string, { file: string; rank: number; iterations: number; mse: number }>;
  moments: Record<string, { file: string }>;
}

async function load(path: string): Promise<(name: string) => { ref: TensorRef; data: Float32Array }> {
  const { tensors } = await openCheckpoint(path);
  const found = new Map(await Promise.all(tensors.map(async (tensor) => [tensor.name, { ref: { file: tensor.file, offset: tensor.offset, dtype: tensor.dtype, shape: tensor.shape }, data: (await readValues(tensor)).data }] as const)));
  return (name) => {
    const tensor = found.get(name);
    assert.ok(tensor, `${path} holds no "${name}"`);
    return tensor;
  };
}

function within(actual: number, expected: number, tolerance: number): void {
  assert.ok(Math.abs(actual - expected) <= tolerance * Math.abs(expected), `${actual} instead of ${expected}`);
}

const plain = (group: number, bits = 4, symmetric = true): LinearRecipe => ({
  transforms: [], tail: 0, lowRank: null, weights: { kind: 'int', bits, symmetric, group, scale: 'fp16' }, activations: { kind: 'keep', dtype: 'original' }, activationRange: null, packed: null,
});

describe('solvers agree with numpy', function () {
  this.timeout(300_000);
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-'));
  const cases = numpy<Cases>('solvers.py', null, folder);
  const engine = new EngineClient({ hostPath: join(root, 'dist/engine.js'), addonPath: join(root, 'native/build/quantscope.node'), threads: 2, log: () => undefined });
  const out = join(folder, 'out.safetensors');
  after(async () => {
    await engine.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const [name, { file, bits, group, symmetric, actOrder, tail, loss, mse }] of Object.entries(cases.gptq)) {
    it(`GPTQ: ${name}`, async () => {
      const tensors = await load(join(folder, `${file}.safetensors`));
      const recipe = { ...plain(group, bits, symmetric), tail };
      const fit = await engine.quantizeLayer({ layer: name, weight: tensors('w').ref, recipe, solver: { kind: 'gptq', damping: 0.01, actOrder, staticGroups: true }, secondMoments: tensors('h').ref, lowRank: null, out });
      const found = (await load(out))('codes');
      const expected = tensors('codes');
      assert.deepEqual(found.ref.shape, expected.ref.shape);
      // A weight on a threshold may fall either way, and its row goes on differently from there.
      const [rows = 0, width = 0] = expected.ref.shape;
      const differing = Array.from({ length: rows }, (_, row) => row).filter((row) => expected.data.subarray(row * width, (row + 1) * width).some((code, i) => code !== found.data[row * width + i]));
      assert.ok(differing.length <= 1, `${differing.length} of ${rows} rows differ`);
      within(fit.proxyLoss?.solver ?? 0, loss, 1e-3);
      within(fit.relativeMse, mse, 1e-3);
      assert.ok(loss < (fit.proxyLoss?.rtn ?? 0));
      assert.equal(fit.retries, 0);
    });
  }

  for (const [name, { file, rank, iterations, mse }] of Object.entries(cases.lowRank)) {
    it(`low-rank branch: ${name}`, async () => {
      const tensors = await load(join(folder, `${file}.safetensors`));
      const fit = await engine.quantizeLayer({ layer: name, weight: tensors('w').ref, recipe: plain(64), solver: { kind: 'rtn' }, secondMoments: null, lowRank: { rank, iterations }, out });
      // Iterations go their own way where singular values are close: what they reach is the same to a few percent.
      within(fit.relativeMse, mse, iterations === 1 ? 5e-3 : 0.05);
      assert.ok(fit.lowRankIterations <= iterations);
    });
  }

  const graphOf = async (file: string): Promise<{ tensors: (name: string) => { ref: TensorRef; data: Float32Array }; program: Program; request(x: string): RunRequest }> => {
    const tensors = await load(join(folder, `${file}.safetensors`));
    const { ref } = tensors('x0');
    const program: Program = { buffers: [ref.shape, [ref.shape[0] ?? 0, 3]], inputs: { x: 0 }, outputs: { y: 1 }, ops: [{ op: 'linear', name: 'layer', x: 0, weight: tensors('w').ref, bias: null, out: 1 }] };
    return { tensors, program, request: (x) => ({ inputs: { x: tensors(x).data }, recipes: {}, capture: { layers: ['layer'], seed: 0, histogramBins: 8, sampleRows: 0, secondMoments: { maxBytes: 1 << 30 } } }) };
  };

  for (const [name, { file }] of Object.entries(cases.moments)) {
    it(`second moments of two runs: ${name}`, async () => {
      const { tensors, program, request } = await graphOf(file);
      const graph = await engine.openGraph(file, program);
      await graph.run(request('x0'));
      await graph.run(request('x1'));
      const [taken] = await graph.takeSecondMoments(folder);
      assert.ok(taken);
      assert.equal(taken.rows, 2 * (tensors('x0').ref.shape[0] ?? 0));
      const found = (await load(taken.file))('second_moments').data;
      const expected = tensors('expected').data;
      const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      assert.ok(expected.every((value, i) => Math.abs(value - (found[i] ?? NaN)) <= 1e-6 * scale));
      await graph.close();
    });
  }

  it('second moments that the engine lost are an error, not fewer rows', async () => {
    const { program, request } = await graphOf('moments0');
    const lost = (error: unknown): boolean => error instanceof EngineError && error.code === 'NOT_OPEN' && /Collect them again/.test(error.message);
    const graph = await engine.openGraph('lost', program);
    await graph.run(request('x0'));
    await engine.restart();
    await assert.rejects(graph.run(request('x1')), lost);
    await graph.run(request('x0'));
    await assert.rejects(engine.openGraph('lost', { ...program }), lost);
    await graph.run(request('x0'));
    await engine.restart();
    await assert.rejects(graph.takeSecondMoments(folder), lost);
    await graph.close();
  });

  it('dequantized weights are written in their own coordinates, and a full disk or wrong folder is told by name', async () => {
    const tensors = await load(join(folder, 'gptq0.safetensors'));
    const recipe: LinearRecipe = { ...plain(64), transforms: [{ kind: 'rpbh', seed: 4 }, { kind: 'hadamard', seed: 2 }] };
    const { relativeMse } = await engine.dequantizeLayer({ layer: 'layer', weight: tensors('w').ref, recipe, out });
    const [w, found] = [tensors('w').data, (await load(out))('weight')];
    assert.deepEqual(found.ref.shape, tensors('w').ref.shape);
    assert.equal(found.ref.dtype, 'BF16');
    const [error, energy] = [w.reduce((sum, value, i) => sum + (value - (found.data[i] ?? NaN)) ** 2, 0), w.reduce((sum, value) => sum + value ** 2, 0)];
    within(relativeMse, error / energy, 1e-5);
    assert.ok(relativeMse > 1e-3 && relativeMse < 0.03, String(relativeMse));
    mkdirSync(join(folder, 'taken.safetensors'));
    for (const path of [join(folder, 'missing', 'w.safetensors'), join(folder, 'taken.safetensors')]) {
      await assert.rejects(engine.dequantizeLayer({ layer: 'layer', weight: tensors('w').ref, recipe, out: path }), (failure: EngineError) => failure.code === 'IO' && failure.message.includes(path));
    }
  });
});

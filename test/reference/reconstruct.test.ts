/** Learned rounding: a block against numpy, and a block of the trained example through everything that is around it. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { CancellationTokenSource } from 'vscode-jsonrpc';
import { openCheckpoint } from '../../server/src/checkpoint';
import { readValues } from '../../server/src/checkpoint/values';
import type { ReconstructBlockRequest, TensorRef } from '../../server/src/engine/addon';
import { EngineClient } from '../../server/src/engine/client';
import type { LinearRecipe, Program } from '../../server/src/engine/graph';
import { modelFor } from '../../server/src/models';
import { prepare } from '../../server/src/models/forward';
import { BoundarySamples, cutBlock, withBoundaries } from '../../server/src/quantize/blocks';
import { refOf, valuesIn, withFit } from '../../server/src/quantize/files';
import { random } from '../fixtures/random';
import { numpy } from './python';

const root = resolve(__dirname, '../..');

interface Case { before: number; after: number; samples: number; iterations: number; bits: number; group: number; flipped: Record<string, number> }

/** Codes of rows that are streams of bits. */
function unpack(packed: Float32Array, rows: number, width: number, bits: number): number[] {
  const bytes = packed.length / rows;
  return Array.from({ length: rows * width }, (_, i) => Array.from({ length: bits }, (__, bit) => {
    const place = (i % width) * bits + bit;
    return (((packed[Math.floor(i / width) * bytes + (place >> 3)] ?? 0) >> (place & 7)) & 1) << bit;
  }).reduce((code, bit) => code | bit, 0));
}

function within(actual: number, expected: number, tolerance: number): void {
  assert.ok(Math.abs(actual - expected) <= tolerance * Math.abs(expected), `${actual} instead of ${expected}`);
}

describe('learned rounding', function () {
  this.timeout(300_000);
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-'));
  const engine = new EngineClient({ hostPath: join(root, 'dist/engine.js'), addonPath: join(root, 'native/build/quantscope.node'), threads: 2, log: () => undefined });
  after(async () => {
    await engine.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  it('finds the roundings that numpy finds', async () => {
    const expected = numpy<Case>('reconstruct.py', null, folder);
    const { tensors } = await openCheckpoint(join(folder, 'case.safetensors'));
    const found = new Map(tensors.map((tensor) => [tensor.name, tensor]));
    const ref = (name: string): TensorRef => {
      const tensor = found.get(name);
      assert.ok(tensor);
      return refOf(tensor);
    };
    const [, tokens = 0, width = 0] = ref('x').shape;
    const [hidden = 0] = ref('first').shape;
    const program: Program = {
      buffers: [[tokens, width], [tokens, hidden], [tokens, hidden], [tokens, width], [tokens, width]], inputs: { x: 0 }, outputs: { y: 4 },
      ops: [
        { op: 'linear', name: 'first', x: 0, weight: ref('first'), bias: ref('bias'), out: 1 },
        { op: 'unary', kind: 'silu', x: 1, out: 2 },
        { op: 'linear', name: 'second', x: 2, weight: ref('second'), bias: null, out: 3 },
        { op: 'binary', kind: 'add', a: 0, b: 3, out: 4 },
      ],
    };
    const recipe = (transforms: LinearRecipe['transforms']): LinearRecipe => ({
      transforms, tail: 0, lowRank: null, activationRange: null, packed: null,
      weights: { kind: 'int', bits: expected.bits, symmetric: false, group: expected.group, scale: 'fp32' }, activations: { kind: 'int', bits: 8, symmetric: true, group: 'row', scale: 'fp32' },
    });
    const layers = {
      first: { recipe: recipe([{ kind: 'scale', values: ref('scale') }, { kind: 'permute', sources: ref('order') }]), out: join(folder, 'first.safetensors') },
      second: { recipe: recipe([]), out: join(folder, 'second.safetensors') },
    };
    const result = await engine.reconstructBlock({ program, inputs: { x: ref('x') }, outputs: { y: ref('target') }, layers, iterations: expected.iterations, batch: 100, seed: 0 });
    within(result.lossBefore, expected.before, 1e-4);
    within(result.lossAfter, expected.after, 1e-3);
    assert.equal(result.learned, true);
    for (const [name, { out }] of Object.entries(layers)) {
      const [rows = 0, columns = 0] = ref(name).shape;
      const codes = unpack(await valuesIn(out, 'codes'), rows, columns, expected.bits);
      const tensor = found.get(`codes.${name}`);
      assert.ok(tensor);
      const { data } = await readValues(tensor);
      const differing = codes.filter((code, i) => code !== data[i]).length;
      // Float32 beside float64: a gate that ends at one half may fall either way.
      assert.ok(differing <= 1, `${differing} of ${codes.length} codes of ${name} differ`);
      assert.ok((expected.flipped[name] ?? 0) > 0.1 * codes.length, 'many of them are not rounded to nearest');
    }
  });

  describe('of a block of the trained example', () => {
    const samples = 6;
    const path = 'transformer_blocks.2';
    let request: ReconstructBlockRequest;

    before(async () => {
      const checkpoint = await openCheckpoint(join(root, 'examples/glyph-dit'));
      const names = new Map(checkpoint.tensors.map(({ file, offset, name }) => [`${file}:${offset}`, name]));
      const next = random(5);
      const given = { hidden_states: { shape: [3, 16, 16], data: new Float32Array(768) }, timestep: { shape: [1], data: Float32Array.of(1) }, class_labels: { shape: [1], data: Float32Array.of(1) } };
      const { program } = prepare(modelFor(checkpoint), checkpoint, given);
      const block = cutBlock(program, path, ({ file, offset }) => names.get(`${file}:${offset}`));
      const whole = await engine.openGraph('whole', withBoundaries(program, [block]));
      const alone = await engine.openGraph('alone', block);
      const boundary = await BoundarySamples.create(join(folder, 'boundary.f32'), block, samples);
      for (let sample = 0; sample < samples; sample++) {
        const inputs = { hidden_states: Float32Array.from({ length: 768 }, () => 4 * next() - 2), timestep: Float32Array.of(100 + 150 * sample), class_labels: Float32Array.of(sample) };
        const { outputs } = await whole.run({ inputs, recipes: {}, capture: null });
        const run = await alone.run({ inputs: Object.fromEntries(Object.keys(block.inputs).map((name) => [name, outputs[name] ?? new Float32Array()])), recipes: {}, capture: null });
        for (const name of Object.keys(block.outputs)) {
          assert.deepEqual(run.outputs[name], outputs[name], 'the block alone computes what it computes in the model');
        }
        await boundary.add(sample, 'inputs', outputs);
        await boundary.add(sample, 'outputs', outputs);
      }
      const recipe: LinearRecipe = {
        transforms: [{ kind: 'rpbh', seed: 3 }], tail: 0, lowRank: null, activationRange: null, packed: null,
        weights: { kind: 'int', bits: 3, symmetric: true, group: 'row', scale: 'fp16' }, activations: { kind: 'int', bits: 8, symmetric: true, group: 'row', scale: 'fp16' },
      };
      const layers = Object.fromEntries(checkpoint.layers.filter((layer) => layer.block === path && !layer.name.includes('.emb.')).map(({ name }) => [name, { recipe, out: join(folder, `${name}.safetensors`) }]));
      assert.ok(Object.keys(layers).length >= 7);
      request = { program: block, ...boundary.finish(), layers, iterations: 60, batch: 2, seed: 1 };
    });

    it('comes closer to full precision than rounding to nearest, as a run with its files shows', async () => {
      const progress: number[] = [];
      const result = await engine.reconstructBlock(request, { progress: (fraction) => progress.push(fraction) });
      assert.equal(result.learned, true);
      assert.ok(result.lossAfter < 0.9 * result.lossBefore, `${result.lossAfter} after, ${result.lossBefore} before`);
      assert.deepEqual(Object.keys(result.flipped), Object.keys(request.layers).sort());
      assert.ok(progress.length > 2 && progress.every((fraction) => fraction >= 0 && fraction <= 1));
      const graph = await engine.openGraph('alone', request.program);
      const lossOf = async (recipes: Record<string, LinearRecipe>): Promise<number> => {
        let [sum, count] = [0, 0];
        const load = async (refs: Record<string, TensorRef>, sample: number): Promise<Record<string, Float32Array>> => Object.fromEntries(await Promise.all(Object.entries(refs).map(async ([name, { shape: [, ...shape], ...ref }]) => {
          const bytes = 4 * shape.reduce((product, size) => product * size, 1);
          return [name, (await readValues({ ...ref, name, shape, bytes, offset: ref.offset + sample * bytes })).data] as const;
        })));
        for (let sample = 0; sample < samples; sample++) {
          const { outputs } = await graph.run({ inputs: await load(request.inputs, sample), recipes, capture: null });
          for (const [name, target] of Object.entries(await load(request.outputs, sample))) {
            target.forEach((value, i) => { sum += ((outputs[name]?.[i] ?? NaN) - value) ** 2; });
            count += target.length;
          }
        }
        return sum / count;
      };
      within(await lossOf(Object.fromEntries(Object.entries(request.layers).map(([name, { recipe }]) => [name, recipe]))), result.lossBefore, 1e-3);
      const solved = await Promise.all(Object.entries(request.layers).map(async ([name, { recipe, out }]) => [name, await withFit(recipe, out)] as const));
      within(await lossOf(Object.fromEntries(solved)), result.lossAfter, 1e-3);
    });

    it('stops when it is cancelled, and leaves no file', async () => {
      const [[name, layer] = []] = Object.entries(request.layers);
      assert.ok(name !== undefined && layer);
      const out = join(folder, 'cancelled.safetensors');
      const source = new CancellationTokenSource();
      const job = engine.reconstructBlock({ ...request, layers: { [name]: { ...layer, out } }, iterations: 100_000 }, { cancellation: source.token, progress: () => source.cancel() });
      await assert.rejects(job, (error: unknown) => (error as { code?: string }).code === 'CANCELLED');
      assert.ok(!existsSync(out));
    });

    it('says which layer, sample or number is wrong', async () => {
      const [[name, layer] = []] = Object.entries(request.layers);
      assert.ok(name !== undefined && layer);
      const fails = async (changes: Partial<ReconstructBlockRequest>, message: RegExp): Promise<void> => {
        await assert.rejects(engine.reconstructBlock({ ...request, layers: { [name]: layer }, ...changes }), (error: unknown) => {
          assert.equal((error as { code?: string }).code, 'ARGUMENT', String(error));
          assert.match((error as Error).message, message);
          return true;
        });
      };
      await fails({ iterations: 0 }, /iterations/);
      await fails({ inputs: {} }, /inputs\.buffer \d+: expected F32 \[samples/);
      await fails({ layers: { [name]: { ...layer, recipe: { ...layer.recipe, weights: { kind: 'codebook', bits: 4, norm: 'bf16' } } } } }, /AdaRound learns which of two neighbouring integers/);
      await fails({ layers: { [name]: { ...layer, out: '' } } }, /layers\["transformer_blocks\.2\.[^"]+"\]\.out: expected the path of a file/);
    });
  });
});

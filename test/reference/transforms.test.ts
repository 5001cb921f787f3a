/** Transforms, tails, low-rank branches, fixed ranges and fitted rotations, held against numpy on awkward widths with planted outliers. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { openCheckpoint } from '../../server/src/checkpoint';
import { readValues } from '../../server/src/checkpoint/values';
import type { TensorRef } from '../../server/src/engine/addon';
import { EngineClient } from '../../server/src/engine/client';
import type { LinearRecipe, Transform } from '../../server/src/engine/graph';
import { hadamardOrder } from '../../server/src/methods/hadamard';
import { numpy } from './python';

const root = resolve(__dirname, '../..');

interface Cases {
  linears: Record<string, LinearRecipe>;
  outlier: Record<string, { block: number; steps: number; order: 'zigzag' | 'round-robin'; seed: number }>;
  basis: Record<string, { heads: number; high: number; seed: number }>;
}

type File = ReadonlyMap<string, { ref: TensorRef; data: Float32Array }>;

async function load(path: string): Promise<File> {
  const { tensors } = await openCheckpoint(path);
  return new Map(await Promise.all(tensors.map(async (tensor) => [tensor.name, { ref: { file: tensor.file, offset: tensor.offset, dtype: tensor.dtype, shape: tensor.shape }, data: (await readValues(tensor)).data }] as const)));
}

function get(file: File, name: string): { ref: TensorRef; data: Float32Array } {
  const found = file.get(name);
  assert.ok(found, `no tensor "${name}"`);
  return found;
}

/** ‖a − b‖ / ‖b‖ at most 1e-4. */
function close(actual: Float32Array, expected: Float32Array): void {
  assert.equal(actual.length, expected.length);
  const error = Math.hypot(...[0, 1].map((part) => Math.sqrt(expected.reduce((sum, value, i) => (i % 2 === part ? sum + (actual[i]! - value) ** 2 : sum), 0))));
  const size = Math.sqrt(expected.reduce((sum, value) => sum + value ** 2, 0));
  assert.ok(error <= 1e-4 * size, `relative difference ${error / size}`);
}

describe('transforms agree with numpy', function () {
  this.timeout(300_000);
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-'));
  const cases = numpy<Cases>('transforms.py', null, folder);
  const engine = new EngineClient({ hostPath: join(root, 'dist/engine.js'), addonPath: join(root, 'native/build/quantscope.node'), threads: 2, log: () => undefined });
  after(async () => {
    await engine.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const [name, recipe] of Object.entries(cases.linears)) {
    it(`a linear: ${name}`, async () => {
      const file = await load(join(folder, `${name}.safetensors`));
      const named = JSON.parse(JSON.stringify(recipe), (_, value: unknown) => (typeof value === 'string' && value.startsWith('@') ? get(file, value.slice(1)).ref : value)) as LinearRecipe;
      const { ref: x, data } = get(file, 'x');
      const { ref: weight } = get(file, 'w');
      const [rows = 0, outputs = 0] = [x.shape[0], weight.shape[0]];
      const graph = await engine.openGraph(name, { buffers: [x.shape, [rows, outputs]], inputs: { x: 0 }, outputs: { y: 1 }, ops: [{ op: 'linear', name: 'layer', x: 0, weight, bias: null, out: 1 }] });
      const { outputs: found } = await graph.run({ inputs: { x: data }, recipes: { layer: named }, capture: null });
      close(found['y'] ?? new Float32Array(), get(await load(join(folder, `${name}.expected.safetensors`)), 'y').data);
    });
  }

  async function sameTensors(name: string): Promise<void> {
    const expected = await load(join(folder, `${name}.expected.safetensors`));
    const actual = await load(join(folder, `${name}.out.safetensors`));
    assert.deepEqual([...actual.keys()].sort(), [...expected.keys()].sort());
    for (const [tensor, { ref, data }] of expected) {
      assert.deepEqual(get(actual, tensor).ref.shape, ref.shape);
      if (ref.dtype === 'I32') {
        assert.deepEqual(get(actual, tensor).data, data, tensor);
      } else {
        close(get(actual, tensor).data, data);
      }
    }
  }

  for (const [name, request] of Object.entries(cases.outlier)) {
    it(`a rotation of outliers: ${name}`, async () => {
      const sample = get(await load(join(folder, `${name}.safetensors`)), 'sample').ref;
      const { peakBefore, peakAfter } = await engine.fitOutlierRotation({ ...request, sample, out: join(folder, `${name}.out.safetensors`) });
      assert.ok(peakAfter <= peakBefore);
      await sameTensors(name);
    });
  }

  for (const [name, request] of Object.entries(cases.basis)) {
    it(`a basis of second moments: ${name}`, async () => {
      const secondMoments = get(await load(join(folder, `${name}.safetensors`)), 'moments').ref;
      await engine.fitBasis({ ...request, secondMoments, out: join(folder, `${name}.out.safetensors`) });
      await sameTensors(name);
    });
  }

  it('a transformed sample is what the layer sees', async () => {
    const file = await load(join(folder, 'everything.safetensors'));
    const { ref: sample, data } = get(file, 'x');
    const transforms: Transform[] = [{ kind: 'scale', values: get(file, 'scale').ref }, { kind: 'permute', sources: get(file, 'order').ref }];
    const out = join(folder, 'transformed.safetensors');
    assert.deepEqual(await engine.applyTransforms({ sample, transforms, out }), { rows: sample.shape[0] });
    const [scale, order, width] = [get(file, 'scale').data, get(file, 'order').data, sample.shape[1] ?? 0];
    const expected = data.map((_, i) => Math.fround(data[i - (i % width) + order[i % width]!]! * scale[order[i % width]!]!));
    assert.deepEqual(get(await load(out), 'sample').data, expected);
  });

  it('the engine has a Hadamard matrix where the config language says so', async () => {
    const file = get(await load(join(folder, 'everything.safetensors')), 'w').ref;
    for (const width of [1, 2, 3, 12, 18, 20, 36, 40, 44, 52, 76, 92, 140, 156, 172, 188, 312, 700, 1152, 1153, 2309]) {
      const sample: TensorRef = { ...file, shape: [1, width] };
      const made = await engine.applyTransforms({ sample, transforms: [{ kind: 'hadamard', seed: 0 }], out: join(folder, 'hadamard.safetensors') }).then(() => true, (error: Error) => {
        assert.match(error.message, /Use rpbh/);
        return false;
      });
      assert.equal(made, hadamardOrder(width) !== null, String(width));
    }
  });

  it('requests that make no sense are refused by name', async () => {
    const sample = get(await load(join(folder, 'zigzag-35.safetensors')), 'sample').ref;
    const out = join(folder, 'refused.safetensors');
    const fit = { sample, block: 7, steps: 2, order: 'zigzag', seed: 0, out } as const;
    await assert.rejects(engine.fitOutlierRotation({ ...fit, block: 8 }), /blocks of 8 do not divide 35 inputs/);
    await assert.rejects(engine.fitOutlierRotation({ ...fit, steps: 0 }), /steps: expected an integer from 1/);
    await assert.rejects(engine.fitOutlierRotation({ ...fit, out: join(folder, 'none', 'x.safetensors') }), /Check that the folder exists/);
    await assert.rejects(engine.fitBasis({ secondMoments: sample, heads: 1, high: 0, seed: 0, out }), /expected a square matrix/);
    await assert.rejects(engine.applyTransforms({ sample: { ...sample, file: join(folder, 'gone') }, transforms: [], out }), /gone/);
  });
});

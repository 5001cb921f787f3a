/** What holds for every method whatever the numbers are, on widths that no block divides well and a prime. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { randomOrder } from '../../server/src/calibration/permutation';
import { readValues } from '../../server/src/checkpoint/values';
import type { TensorRef } from '../../server/src/engine/addon';
import { EngineClient } from '../../server/src/engine/client';
import type { LinearRecipe, Transform } from '../../server/src/engine/graph';
import { hadamardOrder } from '../../server/src/methods/hadamard';
import { refOf, tensorIn, writeTensor } from '../../server/src/quantize/files';
import { torchRandn } from '../../server/src/samplers/noise';

const root = resolve(__dirname, '../..');

describe('identities of the methods', function () {
  this.timeout(300_000);
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-'));
  const engine = new EngineClient({ hostPath: join(root, 'dist/engine.js'), addonPath: join(root, 'native/build/quantscope.node'), threads: 2, log: () => undefined });
  after(async () => {
    await engine.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  const keep = { kind: 'keep', dtype: 'original' } as const;
  const plain: LinearRecipe = { transforms: [], tail: 0, lowRank: null, weights: keep, activations: keep, activationRange: null, packed: null };
  const [rows, outputs] = [40, 24];

  /** Rows with six channels 40 times as large as the others. */
  function outliers(width: number): Float32Array {
    return torchRandn(rows * width, 1).map((value, i) => ([7, 99, 256, 300, 611, 1150].includes(i % width) ? 40 * value : value));
  }

  for (const width of [1152, 1153, 1920, 4608, 8960]) {
    it(`transforms leave x Wᵀ as it is: ${width}`, async () => {
      const [x, weight] = [outliers(width), await writeTensor(folder, `w-${width}`, 'F32', [outputs, width], torchRandn(outputs * width, 2))];
      const sample = await writeTensor(folder, `x-${width}`, 'F32', [rows, width], x);
      const fitted = join(folder, `rotation-${width}.safetensors`);
      await engine.fitOutlierRotation({ sample, block: width % 128 === 0 ? 128 : width, steps: 8, order: 'zigzag', seed: 3, out: fitted });
      const part = async (name: string): Promise<TensorRef> => refOf(await tensorIn(fitted, name));
      const duquant: Transform[] = [{ kind: 'blocks', matrices: await part('first') }, { kind: 'permute', sources: await part('sources') }, { kind: 'blocks', matrices: await part('second') }];
      const scale: Transform = { kind: 'scale', values: await writeTensor(folder, `scale-${width}`, 'F32', [width], torchRandn(width, 4).map(Math.exp)) };
      const order: Transform = { kind: 'permute', sources: await writeTensor(folder, `order-${width}`, 'I32', [width], randomOrder(width, 5)) };
      const chains: Transform[][] = [
        [scale, order, { kind: 'rpbh', seed: 6 }], [scale, ...duquant], [order, ...duquant, { kind: 'rpbh', seed: 1 }],
        ...(hadamardOrder(width) === null ? [] : [[scale, { kind: 'hadamard', seed: 7 }, order] satisfies Transform[]]), ...(width <= 1920 ? [[scale, { kind: 'random', seed: 8 }] satisfies Transform[]] : []),
      ];
      const graph = await engine.openGraph(`x ${width}`, { buffers: [[rows, width], [rows, outputs]], inputs: { x: 0 }, outputs: { y: 1 }, ops: [{ op: 'linear', name: 'layer', x: 0, weight, bias: null, out: 1 }] });
      const run = async (recipe: LinearRecipe | null): Promise<Float32Array> => (await graph.run({ inputs: { x }, recipes: recipe ? { layer: recipe } : {}, capture: null })).outputs['y'] ?? assert.fail();
      const expected = await run(null);
      const norm = (values: Float32Array): number => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
      for (const transforms of chains) {
        const found = await run({ ...plain, transforms });
        const difference = norm(found.map((value, i) => value - (expected[i] ?? NaN))) / norm(expected);
        assert.ok(difference <= 1e-5, `${transforms.map(({ kind }) => kind).join(', ')}: ${difference}`);
      }
      await graph.close();
    });
  }

  it('GPTQ is never worse than rounding to nearest where it looks', async () => {
    for (const width of [577, 768]) {
      const x = outliers(width);
      const moments = Float32Array.from({ length: width * width }, (_, k) => {
        const [i, j] = [Math.floor(k / width), k % width];
        let sum = 0;
        for (let row = 0; row < rows; row++) {
          sum += (x[row * width + i] ?? 0) * (x[row * width + j] ?? 0);
        }
        return sum / rows;
      });
      const secondMoments = await writeTensor(folder, `moments-${width}`, 'F32', [width, width], moments);
      const weight = await writeTensor(folder, `g-${width}`, 'F32', [outputs, width], torchRandn(outputs * width, 9));
      for (const weights of [{ kind: 'int', bits: 3, symmetric: true, group: 'row', scale: 'fp16' }, { kind: 'codebook', bits: 2, norm: 'bf16' }, { kind: 'twin-log', bits: 3, form: 'corrected' }] as const) {
        const { proxyLoss } = await engine.quantizeLayer({
          layer: 'layer', weight, recipe: { ...plain, transforms: [{ kind: 'rpbh', seed: 0 }], weights }, solver: { kind: 'gptq', damping: 0.01, actOrder: true, staticGroups: true }, secondMoments, lowRank: null, out: join(folder, 'gptq.safetensors'),
        });
        assert.ok(proxyLoss && proxyLoss.solver < proxyLoss.rtn, `${width} ${weights.kind}: ${proxyLoss?.solver}, to nearest ${proxyLoss?.rtn}`);
      }
    }
  });

  it('twin-log never turns a sign', async () => {
    const values = torchRandn(outputs * 1153, 10).map((value) => value ** 3 / 30);
    const weight = await writeTensor(folder, 'signs', 'F32', [outputs, 1153], values);
    for (const form of ['corrected', 'released'] as const) {
      for (const bits of [3, 4]) {
        const out = join(folder, 'decoded.safetensors');
        await engine.dequantizeLayer({ layer: 'layer', weight, recipe: { ...plain, weights: { kind: 'twin-log', bits, form } }, out });
        const { data } = await readValues(await tensorIn(out, 'weight'));
        assert.equal(data.filter((value, i) => value * (values[i] ?? NaN) < 0).length, 0, `${form} ${bits}`);
        assert.ok(data.some((value) => value < 0) && data.some((value) => value > 0));
      }
    }
  });
});

/** Every quantizer against numpy (quantizers.py) on widths of real models and a prime, with planted outliers, a row of zeros and a nearly empty one. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { EngineClient } from '../../server/src/engine/client';
import type { LinearRecipe } from '../../server/src/engine/graph';
import type { Quantizer } from '../../server/src/protocol';
import { numpy } from './python';

const root = resolve(__dirname, '../..');
const int = { kind: 'int', bits: 4, symmetric: true, group: 'row', scale: 'fp16' } as const;
interface Case { side: 'weights' | 'activations'; quantizer: Quantizer; rows: number; width: number }
const both = ['weights', 'activations'] as const;
const cases: Case[] = [
  ...([1152, 1920, 257] as const).flatMap((width) => both.flatMap((side) => ([
    { ...int, clip: 0.8 }, { ...int, bits: 3, symmetric: false }, { kind: 'midrise', bits: 2, norm: 'bf16' }, { kind: 'midrise', bits: 5, norm: 'fp32' },
    { kind: 'float', format: 'fp4', group: 'row' }, { kind: 'float', format: 'fp8', group: 'row' },
  ] as const).map((quantizer) => ({ side, quantizer, rows: 6, width })))),
  ...([1152, 1920] as const).flatMap((width) => both.flatMap((side) => ([
    { kind: 'float', format: 'nvfp4', group: 16 }, { kind: 'float', format: 'mxfp4', group: 32 }, { kind: 'float', format: 'mxfp8', group: 32 }, { kind: 'float', format: 'fp4', group: 64 },
  ] as const).map((quantizer) => ({ side, quantizer, rows: 6, width })))),
  ...([1152, 257] as const).flatMap((width) => ([
    { ...int, clip: 'mse' }, { ...int, bits: 3, symmetric: false, clip: 'mse' }, { kind: 'twin-log', bits: 3, form: 'corrected' }, { kind: 'twin-log', bits: 4, form: 'corrected' },
    { kind: 'twin-log', bits: 3, form: 'released' }, { kind: 'twin-log', bits: 4, form: 'released' },
  ] as const).map((quantizer) => ({ side: 'weights' as const, quantizer, rows: 6, width }))),
  { side: 'activations', quantizer: { ...int, shift: 0.171875 }, rows: 6, width: 1152 },
  { side: 'activations', quantizer: { ...int, group: 64, shift: 0.171875 }, rows: 6, width: 1152 },
];

const keep: Quantizer = { kind: 'keep', dtype: 'original' };

describe('quantizers agree with numpy', function () {
  this.timeout(300_000);
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-'));
  const engine = new EngineClient({ hostPath: join(root, 'dist/engine.js'), addonPath: join(root, 'native/build/quantscope.node'), threads: 2, log: () => undefined });
  const answers = numpy<{ weights: number[]; values: number[] }[]>('quantizers.py', { seed: 7, cases });
  after(async () => {
    await engine.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  cases.forEach(({ side, quantizer, rows, width }, index) => {
    it(`${side} ${width}: ${JSON.stringify(quantizer)}`, async () => {
      const { weights = [], values = [] } = answers[index] ?? {};
      const identity = Float32Array.from({ length: width * width }, (_, i) => (i % (width + 1) === 0 ? 1 : 0));
      // The unquantized side is the identity, so that the product is what a decoder gives: its transpose for weights.
      const stored = side === 'weights' ? Float32Array.from(weights) : identity;
      const x = side === 'weights' ? identity : Float32Array.from(weights);
      const [tokens, outputs] = side === 'weights' ? [width, rows] : [rows, width];
      const file = join(folder, `${index}.bin`);
      writeFileSync(file, new Uint8Array(stored.buffer));
      const weight = { file, offset: 0, dtype: 'F32' as const, shape: [outputs, width] };
      const graph = await engine.openGraph(String(index), { buffers: [[tokens, width], [tokens, outputs]], inputs: { x: 0 }, outputs: { y: 1 }, ops: [{ op: 'linear', name: 'layer', x: 0, weight, bias: null, out: 1 }] });
      const recipe: LinearRecipe = { transforms: [], tail: 0, lowRank: null, activationRange: null, packed: null, weights: keep, activations: keep, [side]: quantizer };
      const { outputs: { y = new Float32Array() } } = await graph.run({ inputs: { x }, recipes: { layer: recipe }, capture: null });
      const found = (row: number, column: number): number => (side === 'weights' ? y[column * rows + row] : y[row * width + column]) ?? NaN;
      let error = 0;
      let energy = 0;
      let foreign = 0;
      for (let i = 0; i < rows * width; i++) {
        const difference = found(Math.floor(i / width), i % width) - (values[i] ?? NaN);
        error += difference ** 2;
        energy += (values[i] ?? NaN) ** 2;
        foreign += Math.abs(difference) > 1e-4 * Math.abs(values[i] ?? NaN) + 1e-6 ? 1 : 0;
      }
      // A value within rounding of an edge between two levels may fall to either side.
      assert.ok(foreign <= 1, `${foreign} of ${rows * width} values differ`);
      assert.ok(foreign > 0 || Math.sqrt(error / energy) <= 1e-4, `relative difference ${Math.sqrt(error / energy)}`);
    });
  });
});

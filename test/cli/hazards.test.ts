/** Weights that no quantizer was made for, and layers that a pass over their weights cannot judge, through the command line. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { openCheckpoint } from '../../server/src/checkpoint';
import { readValues, writeSafetensors } from '../../server/src/checkpoint/values';
import type { TensorValues } from '../../server/src/checkpoint/values';
import type { LayerReport } from '../../server/src/protocol';
import type { WrittenCheckpoint } from '../../server/src/quantize/checkpoint';
import { temporaryFolders } from '../fixtures/folder';
import { examples } from '../fixtures/plans';

const root = resolve(__dirname, '../..');

function quantscope(...args: string[]): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'bin/quantscope.js'), ...args], { encoding: 'utf8', maxBuffer: 1 << 28 });
  return { code: status, out: stdout, err: stderr };
}

interface Analyzed { layers: LayerReport[]; failures: { name: string; message: string }[]; cached: number }

const small = {
  rtn: '{ method: rtn, scheme: W4A4 }', gptq: '{ method: gptq, scheme: W4A4 }', svdquant: '{ method: { name: svdquant, smooth: { kind: search, steps: 2 }, lowRank: { rank: 4, iterations: 2 } }, scheme: W4A4 }',
  dirotq: '{ method: dirotq, scheme: W4A4 }', 'lrq-dit': '{ method: lrq-dit, scheme: W4A4 }',
} as const;
/** Few layers are enough, and quick. */
const rules = ['rules:', '  - layers: ["**", "!transformer_blocks.0.attn1.to_*"]', '    keep: original'];
const layers = ['to_k', 'to_q', 'to_v'].map((name) => `transformer_blocks.0.attn1.${name}`);

describe('quantized layers, measured and damaged', function () {
  this.timeout(120_000);
  const folder = temporaryFolders();

  async function workplace(defaults: string, change?: (name: string, values: TensorValues) => void): Promise<{ place: string; config: string; cache: string[] }> {
    const place = folder();
    cpSync(join(examples, 'glyph-dit'), join(place, 'model'), { recursive: true });
    if (change) {
      const [weights = ''] = readdirSync(join(place, 'model/transformer')).filter((each) => each.endsWith('.safetensors')).map((each) => join(place, 'model/transformer', each));
      const tensors = await Promise.all((await openCheckpoint(weights)).tensors.map(async (tensor) => [tensor.name, await readValues(tensor)] as const));
      tensors.forEach(([name, values]) => change(name, values));
      await writeSafetensors(weights, Object.fromEntries(tensors));
    }
    return { place, config: write(place, 'q', './model', `defaults: ${defaults}`, ...rules), cache: ['--cache', join(place, 'cache')] };
  }
  function write(place: string, name: string, checkpoint: string, ...lines: string[]): string {
    const path = join(place, `${name}.quant.yaml`);
    writeFileSync(path, ['version: 1', `checkpoint: ${checkpoint}`, ...lines, 'calibration: { trajectories: 1, steps: 2, rows: 32 }', 'preview: { classes: [3], steps: 2, compareSteps: 1, guidance: 1 }', ''].join('\n'));
    return path;
  }
  function analyzed(...args: string[]): Analyzed {
    const { code, out, err } = quantscope('analyze', ...args, '--layers', '**.0.attn1.to_*', '--json');
    assert.equal(code, 0, err);
    return JSON.parse(out) as Analyzed;
  }

  it('plan says which statistics are needed, how many runs they take, and when they are there', async () => {
    const { config, cache } = await workplace(small.gptq);
    const plan = (): { layers: { name: string; statistics: string[]; gathered: boolean | null }[]; calibration: { runs: number; flops: number; impossible: string | null } } => {
      const { code, out, err } = quantscope('plan', config, '--json', ...cache);
      assert.equal(code, 0, err);
      return JSON.parse(out) as ReturnType<typeof plan>;
    };
    const before = plan();
    assert.deepEqual(before.layers.filter((layer) => layer.gathered !== null).map((layer) => [layer.name, layer.statistics.at(-1), layer.gathered]), layers.map((layer) => [layer, 'activation-second-moments', false]));
    assert.ok(before.calibration.runs === 1 && before.calibration.flops > 0 && before.calibration.impossible === null);
    assert.match(quantscope('plan', config, ...cache).out, /gptq needs second moments of inputs \(3 layers, not gathered yet\)\nTo be gathered when first needed: 1 sampling runs, /);
    analyzed(config, ...cache);
    const after = plan();
    assert.deepEqual([after.layers.filter((layer) => layer.gathered).map((layer) => layer.name), after.calibration], [layers, { runs: 0, flops: 0, impossible: null }]);
    assert.match(quantscope('plan', config, ...cache).out, /gptq needs second moments of inputs \(3 layers, gathered\)\n$/);
  });

  for (const [name, defaults] of Object.entries(small)) {
    it(`${name}: analyze gives the error that is written down when the plan is packed, before and after`, async () => {
      const { place, config, cache } = await workplace(defaults);
      const first = analyzed(config, ...cache);
      assert.deepEqual([first.layers.map((layer) => layer.name), first.failures, first.cached], [layers, [], 0]);
      for (const { marginal, weight: { relativeMse } } of first.layers) {
        assert.ok(relativeMse > 0 && Number.isFinite(relativeMse));
        assert.equal(marginal.rotated, name === 'dirotq' || name === 'lrq-dit');
        assert.equal(marginal.ks, (marginal.rotated ? marginal.after : marginal.before).ks);
        assert.ok(marginal.after.ks < 0.1, `KS ${marginal.after.ks}`);
      }
      const again = analyzed(config, ...cache);
      assert.deepEqual([again.cached, again.layers], [3, first.layers]);

      const { code, out, err } = quantscope('quantize', config, '--out', join(place, 'packed'), '--json', ...cache);
      assert.equal(code, 0, err);
      const written = new Map((JSON.parse(out) as WrittenCheckpoint).layers.map((layer) => [layer.name, layer.relativeMse]));
      const errorOf = (all: Analyzed): [string, number][] => all.layers.map((layer) => [layer.name, layer.weight.relativeMse]);
      if (name === 'rtn') { // measured in one pass, added up in another order
        errorOf(first).forEach(([layer, error]) => assert.ok(Math.abs(error / (written.get(layer) ?? 0) - 1) < 1e-5));
      } else {
        assert.deepEqual(errorOf(first), layers.map((layer) => [layer, written.get(layer)]));
      }
      const packed = analyzed(write(place, 'packed', './packed'), ...cache);
      assert.deepEqual([errorOf(packed), packed.failures], [layers.map((layer) => [layer, written.get(layer)]), []]);
      assert.ok(packed.layers.every(({ marginal, rows }) => !marginal.rotated && marginal.before.ks < 0.2 && rows === 128));
    });

    it(`${name}: rows of zeros and constant columns are quantized to finite numbers`, async () => {
      const { place, config, cache } = await workplace(defaults, (tensor, { shape: [rows = 0, width = 0], data }) => {
        if (layers.includes(tensor.replace(/\.weight$/, ''))) {
          data.fill(0, 0, 3 * width);
          for (let row = 3; row < rows; row++) {
            data[row * width + 5] = 0;
            data[row * width + 6] = 0.25;
          }
        }
      });
      const { layers: found, failures } = analyzed(config, ...cache);
      assert.deepEqual([failures, found.map((layer) => [layer.zeroRows, Number.isFinite(layer.weight.relativeMse)])], [[], layers.map(() => [3, true])]);
      const { code, err } = quantscope('preview', config, '--out', join(place, 'pictures'), ...cache);
      assert.equal(code, 0, err);
    });

    it(`${name}: a NaN in one weight is named with its layer and what to do`, async () => {
      const { place, config, cache } = await workplace(defaults, (tensor, { data }) => {
        if (tensor === 'transformer_blocks.0.attn1.to_k.weight') {
          data[1000] = NaN;
        }
      });
      const { code, out, err } = quantscope('analyze', config, '--layers', '**.0.attn1.to_*', '--json', ...cache);
      const { layers: found, failures } = JSON.parse(out) as Analyzed;
      if (name === 'rtn') {
        assert.deepEqual([code, found.map((layer) => layer.nonFinite)], [0, [1, 0, 0]]);
      } else {
        assert.equal(code, 1, err);
        failures.forEach((failure) => assert.match(failure.message, /NaN.*(epair the checkpoint|eep)/));
        assert.ok(failures.length > 0 && failures[0]?.name === 'transformer_blocks.0.attn1.to_k');
      }
      const quantized = quantscope('quantize', config, '--out', join(place, 'packed'), ...cache);
      assert.equal(quantized.code, 2, quantized.err);
      assert.match(quantized.err, /transformer_blocks\.0\.attn1\.to_.*NaN.*(epair the checkpoint|eep)/);
    });
  }
});

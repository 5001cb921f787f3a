/** All methods, from statistics to the outputs of a layer, against numpy programs written from the papers (methods.py): on layers of a trained model and on one with planted outliers. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { gatherStatistics } from '../../server/src/calibration/statistics';
import type { LayerStatistics } from '../../server/src/calibration/statistics';
import { CheckpointStore } from '../../server/src/checkpoint';
import { readValues, writeSafetensors } from '../../server/src/checkpoint/values';
import { loadConfig } from '../../server/src/config/load';
import type { LayerFit } from '../../server/src/engine/addon';
import { EngineClient } from '../../server/src/engine/client';
import type { LinearRecipe } from '../../server/src/engine/graph';
import { methods } from '../../server/src/methods';
import { hadamardOrder } from '../../server/src/methods/hadamard';
import { openPipeline } from '../../server/src/preview/pipelines';
import type { LayerPlan } from '../../server/src/protocol';
import { refOf, tensorIn, withFit } from '../../server/src/quantize/files';
import { prepareLayer } from '../../server/src/quantize/prepare';
import { examples } from '../fixtures/plans';
import { numpy } from './python';

const root = resolve(__dirname, '../..');

/** What methods.py is asked; it reads the rest by name. */
interface Case { name: string; /** Of its weight. */ columns: number; proxyLoss: LayerFit['proxyLoss']; [rest: string]: unknown }

/** What methods.py found. */
interface Found {
  /** The first thing that is not as it should be, instead of all others. */
  failed?: string;
  /** |R Rᵀ − I| and the relative difference of x Wᵀ that the transforms make. */
  orthogonality: number; product: number;
  /** Weights that differ: at a tie, and elsewhere; how far from the edge ties were, in steps; codes that differ where values do not. */
  ties: number; foreign: number; farthest: number; codes?: number; of: number;
  /** Relative differences, and activations at a tie that went the other way. */
  weights: number; dequantized: number; outputs: number; flips: number; range?: number;
  /** Error of the low-rank branch over that of exact singular vectors. */
  branch?: number;
  /** tr(Δ C Δᵀ): of the codes, of numpy's own loop, of rounding to nearest; share of codes in which the loops differ. */
  gptq?: { foreign: number; loss: number; own: number; rtn: number };
  /** ‖y − x Wᵀ‖ / ‖x Wᵀ‖ */
  error: number;
}

describe('methods agree with numpy', function () {
  this.timeout(300_000);
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-'));
  const engine = new EngineClient({ hostPath: join(root, 'dist/engine.js'), addonPath: join(root, 'native/build/quantscope.node'), threads: 2, log: () => undefined });
  after(async () => {
    await engine.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  const store = new CheckpointStore();

  /** The layers of a checkpoint under one preset. AdaRound learns whole blocks: the codes of its own tests; here ptq4dit rounds to nearest. Behind GELU svdquant shifts, as its policy says. */
  async function planOf(checkpoint: string, method: string, scheme: string, layer: string): Promise<LayerPlan[]> {
    const shifted = method === 'svdquant' && layer.endsWith('ff.net.2');
    const written = method === 'ptq4dit' ? `{ name: ${method}, solver: { kind: rtn } }` : shifted ? `{ name: ${method}, activations: { shift: 0.171875 } }` : method;
    const text = `version: 1\ncheckpoint: ${checkpoint}\ndefaults: { method: ${written}, scheme: ${scheme} }`;
    const { plan, problems } = await loadConfig(TextDocument.create('file:///x.quant.yaml', 'quantconfig', 1, text), join(folder, 'x.quant.yaml'), store);
    assert.ok(plan, problems.map(({ message }) => message).join('\n'));
    return plan.layers;
  }

  async function outputOf(plan: LayerPlan, recipe: LinearRecipe, x: Float32Array): Promise<Float32Array> {
    const rows = x.length / plan.inFeatures;
    const graph = await engine.openGraph('layer', {
      buffers: [[rows, plan.inFeatures], [rows, plan.outFeatures]], inputs: { x: 0 }, outputs: { y: 1 },
      ops: [{ op: 'linear', name: plan.name, x: 0, weight: refOf(plan.tensor), bias: null, out: 1 }],
    });
    const { outputs } = await graph.run({ inputs: { x }, recipes: { [plan.name]: recipe }, capture: null });
    await graph.close();
    return outputs['y'] ?? new Float32Array();
  }

  /** Runs the chain of one preset on a layer; what methods.py is asked about it. */
  async function run(name: string, plan: LayerPlan, peers: LayerPlan[], statistics: LayerStatistics): Promise<Case> {
    const home = join(folder, name);
    mkdirSync(home, { recursive: true });
    const { recipe, fit, rotation } = await prepareLayer({ plan, peers, revision: '', statistics, folder: home, job: {} }, engine);
    const [codes, dequantized, output] = ['codes', 'dequantized', 'output'].map((file) => join(home, `${file}.safetensors`)) as [string, string, string];
    const weight = refOf(plan.tensor);
    const sample = statistics.sample;
    assert.ok(sample);
    const { data: x } = await readValues({ name: 'sample', bytes: 4 * sample.shape.reduce((product, size) => product * size), ...sample });
    const y = await outputOf(plan, recipe, x);
    if (!recipe.packed) {
      await engine.quantizeLayer({ layer: plan.name, weight, recipe, solver: { kind: 'rtn' }, secondMoments: null, lowRank: null, out: codes });
      assert.deepEqual(await outputOf(plan, await withFit(recipe, codes), x), y, 'stored codes compute what codes found at run time do');
    }
    await engine.dequantizeLayer({ layer: plan.name, weight, recipe, out: dequantized });
    await writeSafetensors(output, { y: { shape: [x.length / plan.inFeatures, plan.outFeatures], data: y } });
    return {
      name, columns: plan.inFeatures, recipe: plan.recipe, linear: recipe, rotation, tail: plan.tail, order: hadamardOrder(plan.inFeatures), weight, peers: peers.map(({ tensor }) => refOf(tensor)),
      absMax: statistics.absMax.map((values) => [...values]), sample, moments: statistics.secondMoments, codes: recipe.packed?.codes.file ?? codes, dequantized, output, proxyLoss: fit?.proxyLoss ?? null,
    };
  }

  /** @param row weights that may be a tie together */
  function agrees({ failed, ...found }: Found, proxyLoss: LayerFit['proxyLoss'], row: number): void {
    assert.equal(failed, undefined);
    const least = (name: 'orthogonality' | 'product' | 'weights' | 'dequantized' | 'outputs' | 'range', bound: number): void => assert.ok((found[name] ?? 0) <= bound, `${name}: ${found[name]}`);
    least('orthogonality', 1e-6);
    least('product', 1e-6);
    assert.equal(found.foreign, 0, `${found.foreign} of ${found.of} weights differ`);
    assert.equal(found.codes ?? 0, 0, 'codes that stand for the same values differ');
    // They are rare, but for those of one row.
    assert.ok(found.ties <= Math.max(5e-3 * found.of, row), `${found.ties} ties among ${found.of} weights`);
    least('weights', 1e-4);
    least('outputs', 1e-4);
    // Rounding to BF16 makes 2⁻⁸ of a difference in the last bit.
    least('dequantized', 2e-4);
    least('range', 1e-6);
    // Singular vectors come from a subspace iteration, and the engine may stop one factorisation earlier.
    assert.ok((found.branch ?? 1) <= 1.1, `the error of the branch is ${found.branch} of that of exact singular vectors`);
    if (found.gptq) {
      const { loss, own, rtn } = found.gptq;
      assert.ok(loss <= rtn && Math.abs(loss / own - 1) <= 0.01, `${loss}, of numpy's loop ${own}, rounded to nearest ${rtn}`);
      assert.ok(Math.abs((proxyLoss?.solver ?? NaN) / loss - 1) <= 1e-3, `reported: ${proxyLoss?.solver}, found: ${loss}`);
      assert.ok(Math.abs((proxyLoss?.rtn ?? NaN) / rtn - 1) <= 1e-3, `reported: ${proxyLoss?.rtn}, found: ${rtn}`);
    }
  }

  async function planted(): Promise<{ checkpoint: string; statistics: LayerStatistics }> {
    numpy('methods.py', null, 'make', folder);
    const file = join(folder, 'statistics.safetensors');
    const { shape: [steps = 0, width = 0], data } = await readValues(await tensorIn(file, 'absMax'));
    const { data: sample } = await readValues(await tensorIn(file, 'sample'));
    const rms = Math.sqrt(sample.reduce((sum, value) => sum + value * value, 0) / sample.length);
    const statistics: LayerStatistics = {
      key: 'planted', absMax: Array.from({ length: steps }, (_, step) => data.subarray(step * width, (step + 1) * width)), rms, peakToRms: Math.max(...data) / rms,
      sample: refOf(await tensorIn(file, 'sample')), secondMoments: refOf(await tensorIn(file, 'moments')),
    };
    return { checkpoint: join(folder, 'planted.safetensors'), statistics };
  }

  async function trained(layers: string[]): Promise<ReadonlyMap<string, LayerStatistics>> {
    const checkpoint = await store.get(join(examples, 'glyph-dit'));
    const pipelines = await Promise.all([3, 8].map((digit) => openPipeline(checkpoint, { classes: [digit], steps: 4, compareSteps: 4, seed: digit }, examples)));
    const needs = new Map(layers.map((layer) => [layer, new Set(['activation-absmax', 'activation-samples', 'activation-second-moments'] as const)]));
    return gatherStatistics({ pipelines, settings: { trajectories: 2, steps: 4, rows: 48, seed: 3 }, needs, folder: join(folder, 'calibration'), job: {} }, engine);
  }

  /** Methods whose papers show W8A8. */
  const forEight = ['rtn', 'q-dit', 'smoothquant', 'vidit-q', 'ptq4dit'];
  const layers = [
    { title: 'attention query of a trained model', layer: 'transformer_blocks.0.attn1.to_q', peers: ['to_q', 'to_k', 'to_v'].map((name) => `transformer_blocks.0.attn1.${name}`), eight: true },
    { title: 'layer behind GELU of a trained model', layer: 'transformer_blocks.2.ff.net.2', peers: ['transformer_blocks.2.ff.net.2'], eight: false },
    { title: 'planted outliers', layer: 'layer', peers: ['layer'], eight: false },
  ];
  for (const { title, layer, peers, eight } of layers) {
    describe(title, () => {
      const schemesOf = (method: string): string[] => ['W4A4', 'W3A3', ...(eight && forEight.includes(method) ? ['W8A8'] : [])];
      const cases: Case[] = [];
      let answers: Record<string, Found> = {};
      const answer = (name: string): Found => answers[name] ?? assert.fail(`no answer for ${name}`);
      before(async () => {
        const { checkpoint, statistics } = layer === 'layer' ? await planted() : { checkpoint: join(examples, 'glyph-dit'), statistics: (await trained([layer])).get(layer) };
        assert.ok(statistics);
        for (const method of methods.keys()) {
          for (const scheme of schemesOf(method)) {
            const plans = await planOf(checkpoint, method, scheme, layer);
            const named = (name: string): LayerPlan => plans.find((plan) => plan.name === name) ?? assert.fail(`no layer ${name}`);
            cases.push(await run(`${method} ${scheme}`, named(layer), peers.map(named), statistics));
          }
        }
        answers = numpy('methods.py', { cases }, 'check');
      });
      for (const method of methods.keys()) {
        for (const scheme of schemesOf(method)) {
          it(`${method} ${scheme}`, () => {
            const { proxyLoss, columns } = cases.find(({ name }) => name === `${method} ${scheme}`) ?? assert.fail('not run');
            // The scale of a twin-log row may be a tie, which moves all of its codes.
            agrees(answer(`${method} ${scheme}`), proxyLoss, method === 'lrq-dit' ? columns : 0);
          });
        }
      }
      if (layer === 'layer') {
        it('at W4A4 every rotation beats plain rounding by far, and high-precision parts beat rotations', () => {
          const error = (method: string): number => answer(`${method} W4A4`).error;
          for (const rotated of ['orbitquant', 'vidit-q', 'quarot', 'duquant', 'lrq-dit']) {
            assert.ok(error(rotated) < 0.4 * error('rtn'), `${rotated}: ${error(rotated)}, rtn: ${error('rtn')}`);
            assert.ok(error('dirotq') < 0.7 * error(rotated) && error('svdquant') < error(rotated), `${rotated}: ${error(rotated)}, dirotq: ${error('dirotq')}, svdquant: ${error('svdquant')}`);
          }
        });
      }
    });
  }
});

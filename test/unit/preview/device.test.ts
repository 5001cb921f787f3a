/** Previews on a CUDA device: the library of the tests, which runs kernels on the processor. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import { gatherStatistics, knownStatistics, missingStatistics } from '../../../server/src/calibration/statistics';
import { sensitivity } from '../../../server/src/analysis/sensitivity';
import { CheckpointStore } from '../../../server/src/checkpoint';
import { loadConfig } from '../../../server/src/config/load';
import { EngineClient, EngineError } from '../../../server/src/engine/client';
import type { LinearRecipe } from '../../../server/src/engine/graph';
import type { Statistic } from '../../../server/src/methods/statistics';
import { readCapture } from '../../../server/src/preview/captureFile';
import { openPipeline } from '../../../server/src/preview/pipelines';
import type { Pipeline } from '../../../server/src/preview/pipelines';
import { runPreview } from '../../../server/src/preview/preview';
import { capture, estimate, preview } from '../../../server/src/preview/service';
import type { PreviewConfig } from '../../../server/src/preview/service';
import type { EngineDevice, PreviewResult } from '../../../server/src/protocol';
import { sampleValues } from '../../../server/src/quantize/recipes';
import { temporaryFolders } from '../../fixtures/folder';

const root = resolve(__dirname, '../../..');

describe('preview on a device', function () {
  this.timeout(60_000);
  const folder = temporaryFolders();
  const log: string[] = [];
  const engines: EngineClient[] = [];
  before(() => { process.env['QUANTSCOPE_CUDA_LIBRARY'] = join(root, 'native/build/libquantscope_cuda_emulated.so'); });
  after(async () => {
    delete process.env['QUANTSCOPE_CUDA_LIBRARY'];
    await Promise.all(engines.map((engine) => engine.dispose()));
  });

  function client(device: EngineDevice): EngineClient {
    const engine = new EngineClient({ hostPath: join(root, 'dist/engine.js'), addonPath: join(root, 'native/build/quantscope.node'), threads: 1, device, log: (line) => log.push(line) });
    engines.push(engine);
    return engine;
  }

  async function config(...rule: string[]): Promise<PreviewConfig> {
    const path = join(root, 'a.quant.yaml');
    const text = ['version: 1', `checkpoint: ${JSON.stringify(join(root, 'examples/glyph-dit'))}`, 'rules:', '  - name: blocks', '    layers: ["**.attn1.**", "**.ff.**"]', ...rule,
      'preview: { classes: [2], steps: 1, guidance: 1, compareSteps: 1 }'].join('\n');
    const loaded = await loadConfig(TextDocument.create('file:///x', 'quantconfig', 1, text), path, new CheckpointStore());
    assert.deepEqual(loaded.problems.filter((problem) => problem.severity === 'error'), []);
    return { uri: URI.file(path).toString(), loaded };
  }

  it('gives the numbers of the processor up to bfloat16, kept apart from those', async () => {
    const place = folder();
    const engine = client('auto');
    const configs = await Promise.all([['    method: orbitquant', '    scheme: W4A4'], ['    keep: original'], ['    method: { name: rtn, activations: { kind: int, group: tensor } }', '    scheme: W4A4'],
      ['    method: { name: rtn, activations: { kind: float, format: fp8, group: row } }', '    scheme: W4A8']].map((rule) => config(...rule)));
    const onDevice = await preview(configs, { cacheFolder: place }, engine);
    const onProcessor = await preview(configs, { cacheFolder: place }, client('cpu'));
    assert.deepEqual([onDevice.device, onProcessor.device], [{ name: 'emulated device', processor: [] }, null]);
    assert.deepEqual([onDevice.reference.cached, onProcessor.reference.cached], [false, false]);
    assert.equal(readdirSync(join(place, 'trajectories')).length, 2);
    const errors = ({ candidates }: PreviewResult): number[] => candidates.map(({ perStep: [step] }) => step?.outputRelativeMse ?? NaN);
    const [[rotated = NaN, kept, whole = NaN, floats = NaN], [expected = NaN, , wholeExpected = NaN, floatsExpected = NaN]] = [errors(onDevice), errors(onProcessor)];
    assert.equal(kept, 0);
    for (const [found, wanted] of [[rotated, expected], [whole, wholeExpected], [floats, floatsExpected]] as const) {
      assert.ok(Math.abs(found / wanted - 1) < 0.2, `${found} and ${wanted}`);
    }
    const [first] = configs;
    assert.ok(first);
    assert.equal((await estimate([first], place, engine)).referenceCached, true);
  });

  it('runs on the processor what the device does not take, and says so', async () => {
    const { uri, loaded: { checkpoint, plan } } = await config('    keep: original');
    assert.ok(checkpoint && plan);
    const pipeline = await openPipeline(checkpoint, { classes: [2], steps: 1, guidance: 1, compareSteps: 1 }, root);
    const names = plan.layers.map(({ name }) => name).filter((name) => name.includes('.ff.'));
    const recipe: LinearRecipe = {
      transforms: [], tail: 0, lowRank: null, weights: { kind: 'keep', dtype: 'original' }, activations: { kind: 'int', bits: 8, symmetric: true, group: 'row', scale: 'fp16', clip: 'mse' },
      activationRange: null, packed: null,
    };
    const candidate = { label: 'clipped', uri, plan, rule: null, layers: new Set(names), recipes: Object.fromEntries(names.map((name) => [name, recipe])) };
    const { device } = await runPreview({ pipeline, candidates: [candidate], folder: null }, client('auto'));
    const reason = 'has inputs that are prepared on the processor: clipping by search';
    assert.deepEqual(device?.processor.map(({ name }) => name).sort(), [...names].sort());
    assert.ok(device.processor.every((each) => each.reason === reason), JSON.stringify(device));
    const said = log.filter((line) => line.startsWith('engine: forward passes on the processor: '));
    assert.deepEqual(said, [`engine: forward passes on the processor: ${device.processor[0]?.name} ${reason}, likewise ${names.length - 1} more`]);
  });

  it('captures what goes into layers there, and the file says where', async () => {
    const [where, path] = [await config('    keep: original'), join(folder(), 'stats.safetensors')];
    const layers = where.loaded.plan?.layers.map(({ name }) => name).filter((name) => /blocks\.[02]\.(attn1\.to_q|ff)/.test(name)) ?? [];
    const [onDevice, onProcessor] = [await capture(where, path, { layers }, client('auto')), await capture(where, join(folder(), 'stats.safetensors'), { layers }, client('cpu'))];
    assert.deepEqual([onDevice.device, onProcessor.device, (await readCapture(path)).device], [{ name: 'emulated device', processor: [] }, null, onDevice.device]);
    assert.equal(onDevice.layers.length, layers.length);
    for (const [i, found] of onDevice.layers.entries()) {
      const wanted = onProcessor.layers[i];
      assert.ok(wanted);
      assert.deepEqual([found.layer, found.rows, found.nonFinite, found.channels[0]?.channel], [wanted.layer, wanted.rows, 0, wanted.channels[0]?.channel]);
      for (const [a, b] of [[found.absMax, wanted.absMax], [found.rho, wanted.rho], [found.topEnergy.share, wanted.topEnergy.share], [found.before.maxAbs, wanted.before.maxAbs], [found.after.maxAbs, wanted.after.maxAbs]] as const) {
        assert.ok(Math.abs(a / b - 1) < 0.03, `${found.layer}: ${a} and ${b}`);
      }
      assert.ok(Math.abs(found.before.ks - wanted.before.ks) < 0.005, `${found.layer}: ${found.before.ks} and ${wanted.before.ks}`);
    }
  });

  it('gathers the statistics of calibrations there, second moments among them, and keeps them apart from those of the processor', async () => {
    const { loaded: { checkpoint } } = await config('    keep: original');
    assert.ok(checkpoint);
    const pipelines = [await openPipeline(checkpoint, { classes: [2], steps: 2, guidance: 1, compareSteps: 1 }, root)];
    const place = folder();
    const layers = ['transformer_blocks.0.attn1.to_q', 'transformer_blocks.1.ff.net.2'];
    const request = { pipelines, settings: { trajectories: 1, steps: 2, rows: 32, seed: 3 }, needs: new Map(layers.map((name) => [name, new Set<Statistic>(['activation-samples', 'activation-second-moments'])])), folder: place };
    const [auto, cpu] = [client('auto'), client('cpu')];
    const onProcessor = await gatherStatistics({ ...request, job: {} }, cpu);
    assert.equal((await missingStatistics(request, auto)).runs, 0, 'those of the processor will do');
    const elsewhere = { ...request, folder: folder() };
    const onDevice = await gatherStatistics({ ...elsewhere, job: {} }, auto);
    assert.deepEqual([(await missingStatistics(elsewhere, auto)).runs, (await missingStatistics(elsewhere, cpu)).runs], [0, 1]);
    assert.deepEqual([...(await knownStatistics(elsewhere, auto)).keys()].filter((name) => layers.includes(name)), layers);
    for (const layer of layers) {
      const [found, wanted] = [onDevice.get(layer), onProcessor.get(layer)];
      assert.ok(found?.secondMoments && wanted?.secondMoments && found.sample);
      assert.deepEqual([found.sample.shape, found.absMax.length], [wanted.sample?.shape, wanted.absMax.length]);
      assert.ok(Math.abs(found.rms / wanted.rms - 1) < 0.01 && Math.abs(found.peakToRms / wanted.peakToRms - 1) < 0.03, `${found.rms}, ${wanted.rms}, ${found.peakToRms}, ${wanted.peakToRms}`);
      const [a, b] = await Promise.all([found, wanted].map(({ secondMoments }) => sampleValues(secondMoments ?? assert.fail())));
      assert.ok(a && b);
      const off = Math.sqrt(a.reduce((sum, value, i) => sum + (value - (b[i] ?? NaN)) ** 2, 0) / b.reduce((sum, value) => sum + value ** 2, 0));
      assert.ok(off > 0 && off < 0.02, `${layer}: ${off}`);
    }
  });

  it('finds sensitivities there in float32: the numbers of the processor, and nothing that differs where nothing is swapped', async () => {
    const { loaded } = await config('    method: orbitquant', '    scheme: W4A4');
    const only = new Set(loaded.plan?.layers.map(({ name }) => name).filter((name) => /blocks\.[15]\.(attn1\.to_q|ff\.net\.2)/.test(name)));
    const [onDevice, onProcessor] = await Promise.all((['auto', 'cpu'] as const).map((device) => sensitivity({ loaded, base: root, by: 'layer', only, cacheFolder: folder() }, client(device))));
    assert.ok(onDevice && onProcessor);
    assert.deepEqual([onDevice.layers.map(({ name }) => name), onDevice.controls.zeroSwap.differing], [onProcessor.layers.map(({ name }) => name), 0]);
    assert.equal(onDevice.layers.length, only.size);
    for (const [i, { name, score }] of onDevice.layers.entries()) {
      const wanted = onProcessor.layers[i]?.score ?? NaN;
      assert.ok(score !== null && score !== wanted && Math.abs(score / wanted - 1) < 0.02, `${name}: ${score} and ${wanted}`);
    }
  });

  it('decodes on the processor what does not fit the device, and says so', async () => {
    const { loaded: { checkpoint } } = await config('    keep: original');
    assert.ok(checkpoint);
    const pipeline = await openPipeline(checkpoint, { classes: [2, 3], steps: 1, guidance: 1, compareSteps: 1 }, root);
    const tried: unknown[] = [];
    const decode: Pipeline['decode'] = (x, engine, options) => {
      tried.push(options?.device);
      return options?.device ? Promise.reject(new EngineError('MEMORY', 'out of memory')) : pipeline.decode(x, engine, options);
    };
    const { device, frames } = await runPreview({ pipeline: { ...pipeline, decode }, candidates: [], folder: null }, client('auto'));
    assert.deepEqual(tried, ['float32', undefined, undefined]);
    assert.deepEqual(device, { name: 'emulated device', processor: [{ name: 'the decoder', reason: 'does not fit the device: out of memory' }] });
    assert.equal(frames.length, 2);
  });
});

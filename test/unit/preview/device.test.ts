/** Previews on a CUDA device: the library of the tests, which runs kernels on the processor. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import { CheckpointStore } from '../../../server/src/checkpoint';
import { loadConfig } from '../../../server/src/config/load';
import { EngineClient, EngineError } from '../../../server/src/engine/client';
import type { LinearRecipe } from '../../../server/src/engine/graph';
import { openPipeline } from '../../../server/src/preview/pipelines';
import type { Pipeline } from '../../../server/src/preview/pipelines';
import { runPreview } from '../../../server/src/preview/preview';
import { estimate, preview } from '../../../server/src/preview/service';
import type { PreviewConfig } from '../../../server/src/preview/service';
import type { EngineDevice, PreviewResult } from '../../../server/src/protocol';
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

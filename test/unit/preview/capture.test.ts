/** Captured activations of the bundled example: what the file says is what was measured, and anything else is refused with the reason. */
import assert from 'node:assert/strict';
import { cpSync, readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CancellationTokenSource } from 'vscode-jsonrpc';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import { CheckpointStore, openCheckpoint } from '../../../server/src/checkpoint';
import { readValues, writeSafetensors } from '../../../server/src/checkpoint/values';
import { loadConfig } from '../../../server/src/config/load';
import { EngineClient } from '../../../server/src/engine/client';
import { captureNumbers } from '../../../server/src/preview/capture';
import { readCapture } from '../../../server/src/preview/captureFile';
import { capture } from '../../../server/src/preview/service';
import type { PreviewConfig } from '../../../server/src/preview/service';
import type { Capture, CaptureNumbers } from '../../../server/src/protocol';
import { temporaryFolders } from '../../fixtures/folder';

const root = resolve(__dirname, '../../..');
const layers = ['transformer_blocks.0.attn1.to_q', 'transformer_blocks.5.ff.net.2'];

describe('capture', function () {
  this.timeout(60_000);
  const folder = temporaryFolders();
  let engine: EngineClient;
  let made: Capture;
  let file: string;

  async function config(model: string): Promise<PreviewConfig> {
    const path = join(root, 'a.quant.yaml');
    const text = `version: 1\ncheckpoint: ${JSON.stringify(model)}\npreview: { classes: [2, 7], steps: 4, guidance: 2, compareSteps: 2 }\n`;
    return { uri: URI.file(path).toString(), loaded: await loadConfig(TextDocument.create('file:///x', 'quantconfig', 1, text), path, new CheckpointStore()) };
  }
  const glyph = (): Promise<PreviewConfig> => config(join(root, 'examples/glyph-dit'));

  before(() => { engine = new EngineClient({ hostPath: join(root, 'dist/engine.js'), addonPath: join(root, 'native/build/quantscope.node'), threads: 0, log: () => undefined }); });
  beforeEach(async () => {
    file = join(folder(), 'a.activations.safetensors');
    made = await capture(await glyph(), file, { layers }, engine);
  });
  after(() => engine.dispose());

  it('measures each layer at the compared steps, both halves of guidance apart', () => {
    assert.deepEqual(made.layers.map(({ layer, half, step }) => `${layer} ${half} ${step}`).sort(),
      layers.flatMap((layer) => ['conditional', 'unconditional'].flatMap((half) => [1, 3].map((step) => `${layer} ${half} ${step}`))).sort());
    assert.deepEqual([made.items, made.steps], [['class 2: digit 2', 'class 7: digit 7'], 4]);
    const [conditional, unconditional] = ['conditional', 'unconditional'].map((half) => made.layers.find((each) => each.layer === layers[0] && each.half === half && each.step === 3));
    assert.notEqual(conditional?.absMax, unconditional?.absMax);
  });

  it('reads back what it measured, which agrees with the tensors beside it', async () => {
    assert.deepEqual(await readCapture(file), made);
    const { tensors } = await openCheckpoint(file);
    for (const { layer, half, step, absMax, channelRange } of made.layers) {
      const tensor = tensors.find(({ name }) => name === `${layer}/${half}/step${step}/absmax`);
      assert.ok(tensor);
      const channels = [...(await readValues(tensor)).data].sort((a, b) => a - b);
      const [median, most] = [channels[channels.length / 2] ?? NaN, channels.at(-1) ?? NaN];
      assert.equal(absMax, most);
      assert.equal(channelRange, most / median);
    }
  });

  it('has no dynamic range where the median channel is silent', () => {
    const numbers = { layer: 'a', half: 'conditional' as const, step: 0, timestep: 1, rows: 1, nonFinite: 0, rho: 0 };
    const shape = { ks: 0, wasserstein1: 0, excessKurtosis: 0, maxAbs: 0 };
    const of = (...channels: number[]): CaptureNumbers => captureNumbers({ ...numbers, before: shape, after: shape, absMax: Float32Array.from(channels), meanSquare: new Float32Array(), sample: new Float32Array(), histograms: { before: new Float32Array(3), after: new Float32Array(3) } }, undefined);
    assert.deepEqual([of(0, 0, 5).channelRange, of(0, 0, 5).absMax], [null, 5]);
    assert.equal(of(10, 2, 100).channelRange, 10);
  });

  it('never writes over the weights it captures from', async () => {
    const model = folder();
    cpSync(join(root, 'examples/glyph-dit'), model, { recursive: true });
    const weights = join(model, 'transformer/diffusion_pytorch_model.safetensors');
    await assert.rejects(capture(await config(model), join(model, 'transformer/../transformer/diffusion_pytorch_model.safetensors'), {}, engine), /holds the weights.*another name/);
    assert.deepEqual(readFileSync(weights), readFileSync(join(root, 'examples/glyph-dit/transformer/diffusion_pytorch_model.safetensors')));
  });

  it('leaves no file behind when it is cancelled', async () => {
    const place = folder();
    const source = new CancellationTokenSource();
    await assert.rejects(capture(await glyph(), join(place, 'x.safetensors'), { cancellation: source.token, onProgress: () => source.cancel() }, engine), { code: 'CANCELLED' });
    assert.deepEqual(readdirSync(place), []);
  });

  it('refuses files that are no captures, and damaged ones, by name and place', async () => {
    await assert.rejects(readCapture(join(root, 'examples/glyph-dit/transformer/diffusion_pytorch_model.safetensors')), /diffusion_pytorch_model.*no capture.*quantscope capture/);
    await assert.rejects(readCapture(join(folder(), 'gone.safetensors')), /gone\.safetensors/);
    const { metadata } = await openCheckpoint(file);
    const about = JSON.parse(metadata['about'] ?? '') as Record<string, unknown>;
    const [entry] = JSON.parse(metadata['layers'] ?? '') as [Record<string, unknown>];
    const bad: [Record<string, string>, RegExp][] = [
      [{ layers: '{' }, /"layers" is no JSON/], [{ layers: '{}' }, /"layers" is no list/], [{ about: '[]' }, /"about" needs/], [{ about: JSON.stringify({ ...about, steps: -1 }) }, /"about" needs/],
      [{ layers: '[null]' }, /entry 1 has no usable "layer"/], [{ layers: JSON.stringify([entry, { ...entry, half: 'both' }]) }, /entry 2 has no usable "half"/],
      [{ layers: JSON.stringify([{ ...entry, before: { ks: 'x' } }]) }, /entry 1 has no usable "ks"/], [{ layers: JSON.stringify([{ ...entry, step: 1.5 }]) }, /"step"/],
    ];
    for (const [change, message] of bad) {
      const damaged = join(folder(), 'damaged.safetensors');
      await writeSafetensors(damaged, { x: { shape: [1], data: Float32Array.of(1) } }, { ...metadata, ...change });
      await assert.rejects(readCapture(damaged), (error: Error) => message.test(error.message) && /^damaged\.safetensors: .*Capture again\.$/.test(error.message));
    }
  });
});

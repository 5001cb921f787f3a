/** Captured activations of the bundled example: what the file says is what was measured, and anything else is refused with the reason. */
import assert from 'node:assert/strict';
import { cpSync, readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CancellationTokenSource } from 'vscode-jsonrpc';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import { largestPerChannel } from '../../../server/src/analysis/firstBadReason';
import { spearman } from '../../../server/src/calibration/smoothing';
import { CheckpointStore, openCheckpoint } from '../../../server/src/checkpoint';
import { readValues, writeSafetensors } from '../../../server/src/checkpoint/values';
import { loadConfig } from '../../../server/src/config/load';
import { EngineClient } from '../../../server/src/engine/client';
import { captureNumbers } from '../../../server/src/preview/capture';
import { readCapture, readCell } from '../../../server/src/preview/captureFile';
import { fixedMarginal } from '../../../server/src/preview/marginal';
import { capture } from '../../../server/src/preview/service';
import type { PreviewConfig } from '../../../server/src/preview/service';
import type { Capture, CaptureNumbers, TensorInfo } from '../../../server/src/protocol';
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

  it('counts, correlates and ranks what is in the sample', async () => {
    const { loaded, uri } = await glyph();
    loaded.parsed.config.preview = { ...loaded.parsed.config.preview as NonNullable<typeof loaded.parsed.config.preview>, value: { classes: [2], steps: 4, guidance: 2, compareSteps: 2 } };
    const whole = await capture({ loaded, uri }, file, { layers, sampleRows: 64 }, engine);
    const { tensors } = await openCheckpoint(file);
    const values = async (name: string): Promise<Float32Array> => (await readValues(tensors.find((each) => each.name === name) as TensorInfo)).data;
    for (const { layer, half, step, width, rows, tails, topEnergy, channels, before } of whole.layers) {
      const at = `${layer}/${half}/step${step}`;
      const sample = await values(`${at}/sample`);
      assert.deepEqual([sample.length, rows], [64 * width, 64], 'all rows of the one item');
      const coordinates = Array.from({ length: 64 }, (_, i) => sample.subarray(i * width, (i + 1) * width)).flatMap((row) => {
        const scale = Math.sqrt(width) / Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
        return [...row].map((value) => value * scale);
      }).sort((a, b) => a - b);
      const share = (limit: number): number => coordinates.filter((value) => Math.abs(value) > limit).length / coordinates.length;
      // A coordinate within rounding of an edge may fall on either side of it.
      assert.ok(Math.abs(tails.before.beyond3 - share(3)) <= 2 / coordinates.length && Math.abs(tails.before.beyond4 - share(4)) <= 2 / coordinates.length, at);
      const { cdf } = fixedMarginal(width);
      const ks = coordinates.reduce((most, value, i) => (i % 64 === 0 || i === coordinates.length - 1 ? Math.max(most, Math.abs(i / coordinates.length - cdf(value))) : most), 0);
      assert.ok(Math.abs(before.ks - ks) < 2e-3, `${at}: ${before.ks} is not ${ks}`);
      const cell = await readCell(file, layer, half, step);
      assert.deepEqual([cell.width, cell.before.histogram.counts.reduce((sum, count) => sum + count, 0), cell.channels.length], [width, 64 * width, 8]);
      const measured = cell.before.quantiles.find(({ measured: edge }) => edge === 1);
      assert.ok(measured && Math.abs(cdf(measured.expected) - coordinates.filter((value) => value < 1).length / coordinates.length) <= 2 / coordinates.length, at);
      assert.deepEqual(cell.channels.map(({ weight: _weight, ...each }) => each), channels);
      const energy = await values(`${at}/mean_square`);
      const direct = new Array<number>(width).fill(0);
      sample.forEach((value, i) => { direct[i % width] = (direct[i % width] ?? 0) + value * value; });
      assert.equal(topEnergy.channel, direct.indexOf(Math.max(...direct)));
      assert.ok(Math.abs(topEnergy.share - Math.max(...direct) / direct.reduce((sum, value) => sum + value, 0)) < 1e-5 && energy.length === width, at);
    }
    const weight = loaded.checkpoint?.tensors.find(({ name }) => name === `${layers[0]}.weight`);
    assert.ok(weight);
    const { data, shape: [, width = 0] } = await readValues(weight);
    const columns = largestPerChannel(data, width);
    assert.deepEqual(await values(`${layers[0]}/weight_absmax`), columns);
    const first = whole.layers.find(({ layer }) => layer === layers[0]);
    assert.equal(first?.salienceCorrelation, spearman(await values(`${layers[0]}/${first?.half}/step${first?.step}/absmax`), columns));
    await assert.rejects(readCell(file, 'nothing', 'conditional', 1), /holds no "absmax" of nothing, conditional, step 1/);
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
    const older = join(folder(), 'older.safetensors');
    await writeSafetensors(older, { x: { shape: [1], data: Float32Array.of(1) } }, { format: 'quantscope-capture-1' });
    await assert.rejects(readCapture(older), /form quantscope-capture-1; this version reads quantscope-capture-2\. Capture again\./);
    const about = JSON.parse(metadata['about'] ?? '') as Record<string, unknown>;
    const [entry] = JSON.parse(metadata['layers'] ?? '') as [Record<string, unknown>];
    const bad: [Record<string, string>, RegExp][] = [
      [{ layers: '{' }, /"layers" is no JSON/], [{ weights: '[{}]' }, /"weights" entry 1 has no usable "layer"/], [{ about: JSON.stringify({ ...about, thresholds: {} }) }, /thresholds has no usable "deviation"/],
      [{ layers: JSON.stringify([{ ...entry, channels: [{}] }]) }, /"channels" has no usable "channel"/], [{ layers: '{}' }, /"layers" is no list/], [{ about: '[]' }, /"about" needs/], [{ about: JSON.stringify({ ...about, steps: -1 }) }, /"about" needs/],
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

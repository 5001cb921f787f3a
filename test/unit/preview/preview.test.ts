/** Previews of the bundled example on the native engine: what the numbers must say, whatever their size. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { decode } from 'fast-png';
import { CancellationTokenSource } from 'vscode-jsonrpc';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import { CheckpointStore } from '../../../server/src/checkpoint';
import { writeSafetensors } from '../../../server/src/checkpoint/values';
import { loadConfig } from '../../../server/src/config/load';
import { EngineClient } from '../../../server/src/engine/client';
import { preview } from '../../../server/src/preview/service';
import type { PreviewConfig } from '../../../server/src/preview/service';
import { comparedSteps } from '../../../server/src/preview/preview';
import type { PreviewFrame, PreviewResult } from '../../../server/src/protocol';
import { torchRandn } from '../../../server/src/samplers/noise';
import { temporaryFolders } from '../../fixtures/folder';

const root = resolve(__dirname, '../../..');
const rules = ['rules:', '  - name: blocks', '    layers: ["**.attn1.**", "**.ff.**"]'];
const short = 'preview: { classes: [2, 7], steps: 6, guidance: 2, compareSteps: 3';

describe('preview', function () {
  this.timeout(60_000);
  const folder = temporaryFolders();
  let engine: EngineClient;
  before(() => { engine = new EngineClient({ hostPath: join(root, 'dist/engine.js'), addonPath: join(root, 'native/build/quantscope.node'), threads: 0, log: () => undefined }); });
  after(() => engine.dispose());

  async function config(name: string, model: string, ...lines: string[]): Promise<PreviewConfig> {
    const path = join(root, `${name}.quant.yaml`);
    const text = ['version: 1', `checkpoint: ${JSON.stringify(model)}`, ...lines].join('\n');
    const loaded = await loadConfig(TextDocument.create('file:///x', 'quantconfig', 1, text), path, new CheckpointStore());
    assert.deepEqual(loaded.problems.filter((problem) => problem.severity === 'error'), []);
    return { uri: URI.file(path).toString(), loaded };
  }
  const glyph = join(root, 'examples/glyph-dit');
  const quantized = (settings: string, end = '}'): Promise<PreviewConfig> => config('a', glyph, ...rules, `    ${settings}`, `${short}${end}`);

  it('full precision against itself is exactly equal, in both modes', async () => {
    for (const end of ['}', ', mode: free }']) {
      const { candidates: [candidate] } = await preview([await quantized('keep: original', end)], { cacheFolder: null }, engine);
      assert.equal(candidate?.scope.quantizedLayers, 0);
      assert.deepEqual([candidate?.metrics.psnrDb, candidate?.metrics.latentPsnrDb], [null, null]);
      assert.deepEqual(candidate?.perStep.map((step) => step.outputRelativeMse), [0, 0, 0]);
    }
  });

  it('orders W8A8, rotated W4A4 and plain W4A4 as they look', async () => {
    const run = async (settings: string): Promise<number> => (await preview([await quantized(settings, ', mode: free }')], { cacheFolder: null }, engine)).candidates[0]?.metrics.psnrDb ?? Infinity;
    const [w8, rotated, plain] = [await run('method: rtn\n    scheme: W8A8'), await run('method: orbitquant\n    scheme: W4A4'), await run('method: rtn\n    scheme: W4A4')];
    assert.ok(w8 > 40 && w8 > rotated + 5 && rotated > plain + 3, `W8A8 ${w8} dB, OrbitQuant W4A4 ${rotated} dB, RTN W4A4 ${plain} dB`);
  });

  it('keeps the reference on disk, and gives the same numbers from there', async () => {
    const place = folder();
    const kept = join(place, 'trajectories');
    const run = async (): Promise<PreviewResult> => preview([await quantized('method: orbitquant\n    scheme: W4A4')], { cacheFolder: place }, engine);
    const [first, second] = [await run(), await run()];
    assert.deepEqual([first.reference.cached, second.reference.cached], [false, true]);
    assert.deepEqual({ ...second, milliseconds: 0, reference: 0 }, { ...first, milliseconds: 0, reference: 0 });
    assert.equal(readdirSync(kept).length, 2);
    // A damaged file is as good as none.
    readdirSync(kept).forEach((name) => writeFileSync(join(kept, name), readFileSync(join(kept, name)).subarray(0, 3000)));
    const third = await run();
    assert.deepEqual([third.reference.cached, third.candidates], [false, first.candidates]);
  });

  it('shows every compared step of reference and candidates as it becomes known', async () => {
    const seen: PreviewFrame[] = [];
    const progress: number[] = [];
    const one = await quantized('method: rtn\n    scheme: W4A4');
    const result = await preview([one, { ...one, rule: 0 }], { cacheFolder: null, onFrame: (frame) => seen.push(frame), onProgress: (fraction) => progress.push(fraction) }, engine);
    assert.deepEqual(seen, result.frames);
    assert.deepEqual([...new Set(seen.map((frame) => `${frame.candidate} ${frame.item} ${frame.step}`))].length, 3 * 2 * 3);
    assert.ok(seen.every((frame) => decode(Buffer.from(frame.png, 'base64')).width === 16));
    assert.ok(progress.every((fraction, i) => fraction >= (progress[i - 1] ?? 0) && fraction <= 1), 'progress never goes back');
    assert.deepEqual(result.candidates[1]?.metrics, result.candidates[0]?.metrics, 'the only rule is the whole plan');
    assert.deepEqual(result.items, ['class 2: digit 2', 'class 7: digit 7']);
  });

  it('as deployed stands beside fake quantization of the same config, step by step', async () => {
    for (const mode of ['forced', 'free']) {
      const { candidates, frames } = await preview([await quantized('method: orbitquant\n    scheme: W4A4', `, mode: ${mode} }`)], { cacheFolder: null }, engine, {}, true);
      assert.deepEqual(candidates.map(({ label, deployed }) => [label, deployed !== undefined]), [['a.quant.yaml', false], ['a.quant.yaml, as deployed', true]]);
      const [fake, own] = candidates;
      const { deployed } = own ?? {};
      assert.ok(fake && own && deployed);
      assert.deepEqual(deployed.perStep.map(({ step, timestep }) => [step, timestep]), fake.perStep.map(({ step, timestep }) => [step, timestep]));
      assert.ok(deployed.perStep.every(({ outputRelativeMse, ssim }) => outputRelativeMse > 0 && ssim < 1), 'codebooks run on integers near their levels');
      // The two have almost everything in common; each of them is farther from full precision than from the other.
      deployed.perStep.forEach(({ outputRelativeMse }, index) => assert.ok(outputRelativeMse < (fake.perStep[index]?.outputRelativeMse ?? 0), `${mode}, ${JSON.stringify(deployed.perStep[index])}`));
      const mean = deployed.perStep.reduce((sum, { outputRelativeMse }) => sum + outputRelativeMse, 0) / deployed.perStep.length;
      assert.ok(Math.abs(deployed.relativeMse - mean) < 1e-9 * mean);
      assert.ok((deployed.metrics.psnrDb ?? 0) > (own.metrics.psnrDb ?? Infinity));
      assert.deepEqual([...new Set(frames.map(({ candidate }) => candidate))], [-1, 0, 1]);
    }
  });

  it('as deployed without a layer on integers equals fake quantization, and every layer has its reason', async () => {
    const { candidates: [, own] } = await preview([await quantized('method: rtn\n    scheme: W4A16')], { cacheFolder: null }, engine, {}, true);
    assert.deepEqual(own?.deployed?.metrics, { latentCosine: 1, latentPsnrDb: null, psnrDb: null, ssim: 1 });
    assert.deepEqual([own?.deployed?.integerLayers, own?.deployed?.floatLayers.length, own?.deployed?.relativeMse], [0, own?.scope.quantizedLayers, 0]);
    assert.ok(own?.deployed?.floatLayers.every(({ reason }) => reason === 'keeps its activations as floats'));
  });

  it('cancels within a step and leaves no half-written reference', async () => {
    const place = folder();
    const source = new CancellationTokenSource();
    const run = preview([await quantized('method: rtn\n    scheme: W4A4')], { cacheFolder: place, cancellation: source.token, onProgress: () => source.cancel() }, engine);
    await assert.rejects(run, { code: 'CANCELLED' });
    assert.deepEqual(readdirSync(place), []);
  });

  it('says what cannot be previewed, and why', async () => {
    await assert.rejects(preview([await config('a', glyph, 'preview: { classes: [10] }')], { cacheFolder: null }, engine), /no class 10.*0 to 9/);
    const one = await quantized('keep: bf16');
    await assert.rejects(preview([{ ...one, rule: 4 }], { cacheFolder: null }, engine), /no rule 5; it has 1/);
    const alone = folder();
    cpSync(join(glyph, 'transformer'), join(alone, 'model/transformer'), { recursive: true });
    await assert.rejects(preview([await config('a', join(alone, 'model/transformer'))], { cacheFolder: null }, engine), /no scheduler\/scheduler_config\.json/);
  });

  it('finds a broken reference before anything is compared', async () => {
    const broken = folder();
    cpSync(glyph, join(broken, 'model'), { recursive: true });
    const weights = join(broken, 'model/transformer/diffusion_pytorch_model.safetensors');
    const bytes = readFileSync(weights);
    bytes.writeUInt16LE(0x7fc0, bytes.length - 2); // a NaN in the last tensor
    bytes.writeUInt16LE(0x7fc0, bytes.length / 2);
    writeFileSync(weights, bytes);
    const { reference } = await preview([await config('a', join(broken, 'model'), ...rules, '    keep: original', `${short} }`)], { cacheFolder: null }, engine);
    assert.equal(reference.finite, false);
  });

  it('decodes latents with the VAE of the pipeline', async () => {
    const place = folder();
    cpSync(glyph, join(place, 'model'), { recursive: true });
    const index = join(place, 'model/model_index.json');
    writeFileSync(index, JSON.stringify({ ...JSON.parse(readFileSync(index, 'utf8')) as object, vae: ['diffusers', 'AutoencoderTiny'] }));
    mkdirSync(join(place, 'model/vae'));
    writeFileSync(join(place, 'model/vae/config.json'), JSON.stringify({ _class_name: 'AutoencoderTiny', num_decoder_blocks: [1, 1], latent_channels: 3 }));
    const conv = (out: number, width: number, seed: number): { shape: number[]; data: Float32Array } => ({ shape: [out, width, 3, 3], data: torchRandn(out * width * 9, seed).map((value) => value / Math.sqrt(9 * width)) });
    const block = (layer: number): Record<string, ReturnType<typeof conv>> => Object.fromEntries([0, 2, 4].map((i) => [`decoder.layers.${layer}.conv.${i}.weight`, conv(8, 8, layer + i)]));
    await writeSafetensors(join(place, 'model/vae/diffusion_pytorch_model.safetensors'), {
      'decoder.layers.0.weight': conv(8, 3, 1), ...block(2), 'decoder.layers.4.weight': conv(8, 8, 3), ...block(5), 'decoder.layers.6.weight': conv(3, 8, 5),
    });
    const { frames } = await preview([await config('a', join(place, 'model'), ...rules, '    scheme: W4A4', '    method: rtn', `${short} }`)], { cacheFolder: null }, engine);
    assert.deepEqual([...new Set(frames.map((frame) => `${frame.width} × ${frame.height}`))], ['32 × 32']);
  });

  it('spreads the compared steps and always takes the last', () => {
    const settings = { classes: [0], prompts: [], seed: 0, guidance: 1, width: 16, height: 16, frames: 1, decoder: 'vae', mode: 'forced' as const };
    assert.deepEqual(comparedSteps({ ...settings, steps: 20, compareSteps: 4 }), [4, 9, 14, 19]);
    assert.deepEqual(comparedSteps({ ...settings, steps: 3, compareSteps: 3 }), [0, 1, 2]);
    assert.deepEqual(comparedSteps({ ...settings, steps: 7, compareSteps: 1 }), [6]);
  });
});

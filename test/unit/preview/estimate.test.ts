/** What a preview is said to cost: operations of model and decoder, the shared reference once, and what would be cheaper. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { CheckpointStore, openCheckpoint } from '../../../server/src/checkpoint';
import { loadConfig } from '../../../server/src/config/load';
import type { EngineGraph } from '../../../server/src/engine/client';
import { estimatePreview } from '../../../server/src/preview/estimate';
import { openPipeline } from '../../../server/src/preview/pipelines';
import type { Pipeline } from '../../../server/src/preview/pipelines';
import { estimate as estimateConfigs } from '../../../server/src/preview/service';
import type { PreviewConfig } from '../../../server/src/preview/service';
import type { PreviewEstimate, PreviewSettings } from '../../../server/src/protocol';
import { FakeEngine } from '../../fixtures/fakeEngine';
import { temporaryFolders } from '../../fixtures/folder';
import { tinyPixart, tinyWan } from '../../fixtures/pipelines';
import { examples } from '../../fixtures/plans';

/** Takes a while for the program that measures the rate, so that tiny models look expensive. */
class SlowEngine extends FakeEngine {
  override openGraph(): Promise<EngineGraph> {
    const run: EngineGraph['run'] = () => new Promise((done) => { setTimeout(() => done({ outputs: {}, captured: [], firstNonFinite: null, flops: 0 } as unknown as Awaited<ReturnType<EngineGraph['run']>>), 150); });
    return Promise.resolve({ run, close: () => Promise.resolve() } as EngineGraph);
  }
}

describe('preview estimate', () => {
  const folder = temporaryFolders();
  async function pipeline(make: (folder: string) => Promise<void>, written: Partial<PreviewSettings>): Promise<Pipeline> {
    const place = folder();
    await make(place);
    return openPipeline(await openCheckpoint(join(place, 'model')), { prompts: ['a red fox'], ...written }, place);
  }
  const estimate = (made: Pipeline, candidates: number): Promise<PreviewEstimate> => estimatePreview(made, candidates, null, new SlowEngine());

  it('counts the reference once, every candidate and every decoded picture', async () => {
    const forced = await pipeline(tinyPixart, { steps: 10, compareSteps: 2 });
    assert.equal((await estimate(forced, 1)).flops, 12 * forced.flops(0) + 4 * forced.decodeFlops());
    assert.equal((await estimate(forced, 2)).flops, 14 * forced.flops(0) + 6 * forced.decodeFlops());
    const free = await pipeline(tinyPixart, { steps: 10, compareSteps: 2, mode: 'free' });
    assert.equal((await estimate(free, 1)).flops, 20 * free.flops(0) + 6 * free.decodeFlops());
    const unguided = await pipeline(tinyPixart, { steps: 10, compareSteps: 2, guidance: 1 });
    assert.equal(unguided.flops(0), forced.flops(0) / 2, 'one call instead of two');
  });

  it('adds the calibration runs that are still missing, and says so', async () => {
    const text = (method: string): string => `version: 1\ncheckpoint: ./glyph-dit\ndefaults: { method: ${method}, scheme: W4A4 }\ncalibration: { trajectories: 3, steps: 5 }\npreview: { classes: [3, 7], steps: 4, compareSteps: 2 }\n`;
    const config = async (method: string): Promise<PreviewConfig> => {
      const path = join(examples, 'x.quant.yaml');
      return { uri: pathToFileURL(path).toString(), loaded: await loadConfig(TextDocument.create(path, 'quantconfig', 1, text(method)), path, new CheckpointStore()) };
    };
    const [rtn, gptq] = [await config('rtn'), await config('gptq')];
    const [without, needed] = [await estimateConfigs([rtn], null, new SlowEngine()), await estimateConfigs([gptq], null, new SlowEngine())];
    assert.deepEqual([without.calibrationFlops, /calibration/.test(without.suggestion ?? '')], [0, false]);
    const perStep = (await openPipeline(await openCheckpoint(join(examples, 'glyph-dit')), { classes: [3] }, examples)).flops(0);
    assert.equal(needed.calibrationFlops, 3 * 5 * perStep);
    assert.equal(needed.flops, without.flops + needed.calibrationFlops);
    assert.match(needed.suggestion ?? '', /^About \d+ % of it is calibration, done once and kept\./);
    assert.equal((await estimateConfigs([gptq, gptq], null, new SlowEngine())).calibrationFlops, needed.calibrationFlops, 'both use the same statistics');
  });

  it('names what would be cheaper, and only what would', async () => {
    const video = await pipeline(tinyWan, { decoder: 'taehv.safetensors', width: 1024, height: 512, steps: 200, mode: 'free' });
    const { suggestion, seconds } = await estimate(video, 2);
    assert.ok(seconds > 20, `${seconds} s`);
    assert.match(suggestion ?? '', /mode: forced.*without guidance.*frames: 1 instead of 5.*width: 512 and height: 256 instead of 1024 × 512.*steps: 10 instead of 200/);
    assert.doesNotMatch(suggestion ?? '', /tiny decoder|classes|prompts/);
    const image = await pipeline(tinyPixart, { width: 512, height: 512, steps: 10, guidance: 1, compareSteps: 10 });
    assert.equal((await estimate(image, 1)).suggestion, 'Nothing in the settings makes this cheaper.', 'PixArt is trained for one size');
    const slowlyDecoded = { ...image, decodeFlops: () => image.flops(0) };
    assert.equal((await estimate(slowlyDecoded, 1)).suggestion, 'Cheaper: a tiny decoder saves most of the 50 % spent on decoding.');
    assert.equal((await estimate(await pipeline(tinyPixart, { steps: 2, compareSteps: 1 }), 1)).suggestion, null);
  });
});

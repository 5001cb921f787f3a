/** What a preview is said to cost: operations of model and decoder, the shared reference once, and what would be cheaper. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { openCheckpoint } from '../../../server/src/checkpoint';
import type { EngineGraph } from '../../../server/src/engine/client';
import { estimatePreview } from '../../../server/src/preview/estimate';
import { openPipeline } from '../../../server/src/preview/pipelines';
import type { Pipeline } from '../../../server/src/preview/pipelines';
import type { PreviewEstimate, PreviewSettings } from '../../../server/src/protocol';
import { FakeEngine } from '../../fixtures/fakeEngine';
import { temporaryFolders } from '../../fixtures/folder';
import { tinyPixart, tinyWan } from '../../fixtures/pipelines';

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

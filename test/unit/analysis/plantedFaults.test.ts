/** Faults planted into the bundled example: what captures, reports and the search for the first bad layer say of them. The example itself gives no alarm. */
import assert from 'node:assert/strict';
import { join, resolve } from 'node:path';
import { ReportCache } from '../../../server/src/analysis/cache';
import { evidenceLayers } from '../../../server/src/analysis/evidence';
import { captureResult, weightFindings } from '../../../server/src/analysis/findings';
import { firstBad } from '../../../server/src/analysis/firstBad';
import { analyze } from '../../../server/src/analysis/report';
import { thresholdsOf } from '../../../server/src/config/thresholds';
import { EngineClient } from '../../../server/src/engine/client';
import { readCapture } from '../../../server/src/preview/captureFile';
import { capture } from '../../../server/src/preview/service';
import type { CaptureResult, Finding } from '../../../server/src/protocol';
import { requestFor } from '../../../server/src/quantize/recipes';
import { temporaryFolders } from '../../fixtures/folder';
import { grownChannel, modulatedChannel, plant } from '../../fixtures/planted';
import type { Change } from '../../fixtures/planted';

const root = resolve(__dirname, '../../..');
const block = 'transformer_blocks.2';
const orbit = 'defaults: { method: orbitquant, scheme: W4A4 }';
const rtn = 'defaults: { method: rtn, scheme: W4A4 }';

describe('planted faults', function () {
  this.timeout(120_000);
  const folder = temporaryFolders();
  let engine: EngineClient;
  before(() => { engine = new EngineClient({ hostPath: join(root, 'dist/engine.js'), addonPath: join(root, 'native/build/quantscope.node'), threads: 0, log: () => undefined }); });
  after(() => engine.dispose());

  async function captured(changes: Record<string, Change>, ...lines: string[]): Promise<CaptureResult> {
    const place = folder();
    const file = join(place, 'a.safetensors');
    const made = await capture(await plant(place, changes, orbit, ...lines), file, {}, engine);
    assert.deepEqual(await readCapture(file), made);
    return captureResult(made);
  }
  async function reported(changes: Record<string, Change>, ...lines: string[]): Promise<Finding[]> {
    const { loaded, base } = await plant(folder(), changes, ...lines);
    const request = requestFor(loaded, base, { folder: folder() });
    const thresholds = thresholdsOf(loaded.parsed.config.findings?.value);
    return evidenceLayers(request.plan, await analyze(request, engine, new ReportCache(null))).flatMap((layer) => weightFindings(layer, thresholds));
  }
  const named = (findings: readonly Finding[]): string[] => [...new Set(findings.map(({ layer, code }) => `${layer} ${code}`))].sort();

  it('the example has no finding, in every layer rotated and quantized', async () => {
    const { findings, overTime } = await captured({});
    assert.deepEqual(findings, []);
    assert.deepEqual(overTime.flatMap(({ outliers }) => outliers).filter(({ kind }) => kind === 'salient'), []);
    assert.deepEqual(await reported({}, orbit), []);
  });

  describe('one channel × 200, made by a modulation', () => {
    const scaled = modulatedChannel(block, 7, 200);

    it('is named with layer, channel, share of the energy and what helps, both halves of guidance apart', async () => {
      const { findings, overTime } = await captured(scaled);
      assert.deepEqual(named(findings), [`${block}.ff.net.0.proj activation/rotation`]);
      assert.deepEqual(findings.map(({ where, threshold }) => [where, threshold]), ['conditional', 'unconditional'].map((half) => [{ half, steps: [1, 3] }, 0.05]));
      assert.match(findings[0]?.text ?? '', /^rotation does not Gaussianise its inputs: KS 0\.\d{3} behind it \(conditional, all 2 steps; threshold 0\.05\), channel 7 holds > 99 % of the energy, 2\d\d × the median channel → smooth it or keep it$/);
      const [outlier] = overTime.find(({ layer, half }) => layer === `${block}.ff.net.0.proj` && half === 'conditional')?.outliers ?? [];
      assert.deepEqual([outlier?.channel, outlier?.kind, outlier?.steps, outlier?.persistent], [7, 'salient', [1, 3], true]);
    });

    it('thresholds of the config decide', async () => {
      const { findings } = await captured(scaled, 'findings: { activationKs: 0.9, energyShare: 1, salientChannel: 150 }');
      assert.deepEqual(named(findings), [`${block}.ff.net.0.proj activation/outlier`]);
      assert.match(findings[0]?.text ?? '', /^channel 7 is a salient outlier: 2\d\d × the median channel \(conditional, all 2 steps; threshold 150\), > 99 % of the energy; .* → rotate it, smooth it or keep it$/);
    });
  });

  it('one channel × 200 between two projections, though full precision gives the same', async () => {
    const { findings } = await captured(grownChannel(block, 7, 200));
    assert.deepEqual(named(findings), [`${block}.attn1.to_out.0 activation/rotation`]);
    assert.match(findings[0]?.text ?? '', /channel 7 holds 9\d % of the energy/);
    const { first } = await firstBad(await plant(folder(), grownChannel(block, 7, 200), rtn), engine);
    assert.deepEqual([first?.layer, first?.range?.channel], [`${block}.attn1.to_out.0`, 7]);
  });

  describe('a heavy-tailed weight', () => {
    const spikes: Record<string, Change> = { [`${block}.ff.net.0.proj.weight`]: (value, row, column) => (column === (row * 37) % 128 ? 5 : value) };

    it('that the rotation cannot tame', async () => {
      const found = await reported(spikes, orbit);
      assert.deepEqual(named(found), [`${block}.ff.net.0.proj weight/rho`, `${block}.ff.net.0.proj weight/rotation`]);
      assert.match(found[0]?.text ?? '', /^rotation does not bring the rows to the marginal: KS 0\.2\d\d after, .*excess kurtosis 1\d\d\.\d before → /);
    });

    it('that an integer per row cannot hold', async () => {
      const found = (await reported(spikes, rtn)).filter(({ layer }) => layer === `${block}.ff.net.0.proj`);
      assert.deepEqual(found.map(({ code }) => code), ['weight/deviation']);
      assert.match(found[0]?.text ?? '', /: heavy tails, excess kurtosis 1\d\d\.\d → rotate it, /);
      assert.ok((found[0]?.value ?? 0) > (found[0]?.threshold ?? Infinity));
    });
  });

  it('a layer of zeros, and what it leaves without input', async () => {
    const zeros: Record<string, Change> = { [`${block}.attn1.to_v.weight`]: () => 0, [`${block}.attn1.to_v.bias`]: () => 0 };
    assert.deepEqual(named((await captured(zeros)).findings), [`${block}.attn1.to_out.0 activation/silent`, `${block}.attn1.to_v weight/zero`]);
    assert.deepEqual(named(await reported(zeros, orbit)), [`${block}.attn1.to_v weight/zero`]);
    assert.deepEqual((await firstBad(await plant(folder(), zeros, orbit), engine)).findings.map(({ layer, kind }) => [layer, kind]), [[`${block}.attn1.to_v`, 'zero']]);
  });

  it('an infinite weight: its layer, not the many behind it', async () => {
    const infinite: Record<string, Change> = { [`${block}.attn1.to_k.weight`]: (value, row, column) => (row === 5 && column === 9 ? Infinity : value) };
    const { findings, layers } = await captured(infinite);
    assert.deepEqual(named(findings), [`${block}.attn1.to_k weight/not-finite`]);
    assert.ok(layers.some(({ nonFinite }) => nonFinite > 0), 'though their inputs are lost');
    assert.deepEqual(named(await reported(infinite, orbit)), [`${block}.attn1.to_k weight/not-finite`]);
    assert.equal((await firstBad(await plant(folder(), infinite, orbit), engine)).first?.layer, `${block}.attn1.to_k`);
  });

  it('a NaN in a bias, which only activations show', async () => {
    const { findings } = await captured({ [`${block}.attn1.to_out.0.bias`]: (value, _row, column) => (column === 7 ? NaN : value) });
    assert.deepEqual([...new Set(findings.map(({ code }) => code))], ['activation/not-finite']);
    assert.match(findings[0]?.text ?? '', /inputs are NaN or infinite \(conditional, t = \d+\).*\d+ more have them → "sensitivity --first-bad" names/);
  });
});

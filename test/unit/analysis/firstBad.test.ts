/** Faults planted into the bundled example are found, named and explained; the example itself gives no alarm. */
import assert from 'node:assert/strict';
import { join, resolve } from 'node:path';
import { bounds, firstBad, stepsToLookAt } from '../../../server/src/analysis/firstBad';
import type { FirstBad } from '../../../server/src/protocol';
import { describeDeparture, largestPerChannel, rangeOf } from '../../../server/src/analysis/firstBadReason';
import { sensitivity } from '../../../server/src/analysis/sensitivity';
import { EngineClient } from '../../../server/src/engine/client';
import { ModelError } from '../../../server/src/models/builder';
import { seededRecipe } from '../../../server/src/models/forward';
import type { IntQuantizer } from '../../../server/src/protocol';
import { temporaryFolders } from '../../fixtures/folder';
import { glyphPlan } from '../../fixtures/plans';
import { grownChannel, plant } from '../../fixtures/planted';
import type { Change } from '../../fixtures/planted';

const root = resolve(__dirname, '../../..');
const at = 'transformer_blocks.2';

describe('first bad operation', function () {
  this.timeout(120_000);
  const folder = temporaryFolders();
  let engine: EngineClient;
  before(() => { engine = new EngineClient({ hostPath: join(root, 'dist/engine.js'), addonPath: join(root, 'native/build/quantscope.node'), threads: 0, log: () => undefined }); });
  after(() => engine.dispose());

  const look = async (changes: Record<string, Change>, ...lines: string[]): Promise<FirstBad> => firstBad(await plant(folder(), changes, ...lines), engine);
  const w4 = 'defaults: { method: rtn, scheme: W4A4 }';

  const value = (name: string): string => `${at}.attn1.${name}.weight`;
  const grown = (factor: number): Record<string, Change> => grownChannel(at, 7, factor);

  for (const [name, scheme] of Object.entries({ 'in full precision': 'defaults: { keep: original }', 'RTN W8A8': 'defaults: { method: rtn, scheme: W8A8 }', 'OrbitQuant W4A4': 'defaults: { method: orbitquant, scheme: W4A4 }' })) {
    it(`the example gives no alarm: ${name}`, async () => assert.deepEqual(await look({}, scheme), { first: null, findings: [], bounds }));
  }

  it('errors that add up are called drift, and no layer is blamed', async () => {
    const { first, findings } = await look({}, w4);
    assert.deepEqual(findings.map(({ kind }) => kind), ['drift']);
    assert.match(first?.explanation ?? '', /errs by [\d.]+ % only: the errors of earlier layers add up/);
    assert.ok((first?.outputError ?? 0) > bounds.relativeMse && (first?.inputError ?? 1) <= bounds.relativeMse);
  });

  it('an infinite weight', async () => {
    const { first, findings } = await look({ [value('to_k')]: (v, row, column) => (row === 5 && column === 9 ? Infinity : v) }, w4);
    assert.deepEqual([first?.layer, first?.kind], [`${at}.attn1.to_k`, 'weights']);
    assert.match(first?.explanation ?? '', /1 of the 128 columns.*the first is column 9/);
    assert.deepEqual(findings.map(({ layer, kind }) => [layer, kind]).at(-1), [`${at}.attn1.to_k`, 'not finite'], 'and the run shows where it comes out');
  });

  it('a NaN in a bias, which only the run shows', async () => {
    const { first, findings } = await look({ [`${at}.attn1.to_out.0.bias`]: (v, _, column) => (column === 7 ? NaN : v) }, 'defaults: { keep: original }');
    assert.deepEqual([findings.length, first?.layer, first?.kind, first?.at], [1, `${at}.attn1.to_out.0`, 'not finite', { item: 0, step: 0, half: 'conditional' }]);
    assert.match(first?.explanation ?? '', /Its input is finite.*weight and bias/);
  });

  it('a layer of zeros', async () => {
    const { first } = await look({ [value('to_q')]: () => 0 }, 'defaults: { method: orbitquant, scheme: W4A4 }');
    assert.deepEqual([first?.layer, first?.kind], [`${at}.attn1.to_q`, 'zero']);
    assert.match(first?.explanation ?? '', /All of its weight is zero/);
  });

  it('one channel × 200 in the activations: the layer, the channel, the quantizer', async () => {
    const { first, findings } = await look(grown(200), w4);
    assert.deepEqual([first?.layer, first?.kind, first?.range?.channel], [`${at}.attn1.to_out.0`, 'departs', 7]);
    assert.match(first?.explanation ?? '', /Its activations \(int4 per row\) do it: weights alone give 0\.\d+ %.*Channel 7 reaches .* × the median channel, and sets the scale: 9\d.* % of the values round to zero/);
    assert.deepEqual(findings.map(({ layer, kind }) => [layer, kind]).at(-1), [`${at}.attn1.to_out.0`, 'outlier']);
    assert.deepEqual((await look(grown(200), 'defaults: { keep: original }')).findings, [], 'in full precision it is the same model');
  });

  it('one channel × 200 in a weight', async () => {
    const { findings } = await look({ [`${at}.ff.net.2.weight`]: (v, _, column) => (column === 7 ? 200 * v : v) }, w4);
    const outlier = findings.find(({ kind }) => kind === 'outlier');
    assert.deepEqual([outlier?.layer, outlier?.range?.channel], [`${at}.ff.net.2`, 7]);
    assert.match(outlier?.explanation ?? '', /weights of input channel 7 reach .* × what the median channel does/);
  });

  it('scales beyond FP16 clip; wider ones still lose the other channels', async () => {
    const { first } = await look(grown(1e7), w4);
    assert.deepEqual([first?.layer, first?.kind], [`${at}.attn1.to_out.0`, 'clips']);
    assert.match(first?.explanation ?? '', /scale of its activations would be .*e\+5, FP16 stops at 65504.*"scale: fp32"/);
    const wide = await look(grown(1e7), 'defaults: { method: { name: rtn, activations: { scale: fp32 } }, scheme: W4A4 }');
    assert.deepEqual([wide.first?.layer, wide.first?.kind], [`${at}.attn1.to_out.0`, 'departs']);
  });

  it('a static range that is too narrow', async () => {
    const layer = (await glyphPlan('defaults: { method: rtn, scheme: W8A8 }')).layers.find(({ name }) => name === `${at}.attn1.to_q`);
    assert.ok(layer);
    const { activations, ...rest } = seededRecipe(layer);
    assert.equal(activations.kind, 'int');
    const recipe = { ...rest, activations: { ...activations, group: 'tensor', range: 'static' } as IntQuantizer, activationRange: { low: -0.5, high: 0.5 } };
    const input = Float32Array.from({ length: 4 * layer.inFeatures }, (_, i) => 3 * Math.sin(i));
    const range = rangeOf(largestPerChannel(input, layer.inFeatures));
    const { kind, explanation } = await describeDeparture({ layer, recipe, input, output: 0.8, inputError: 0, range, finite: true }, 0.25, folder(), engine, {});
    assert.equal(kind, 'clips');
    assert.match(explanation, /static range.*clips: -0\.500 to 0\.500.*from -3\.00 to 3\.00; 89\.\d % of the values lie outside/);
  });

  it('weights with too few bits', async () => {
    const { first } = await look({}, 'defaults: { method: rtn, scheme: W2A16 }');
    assert.equal(first?.kind, 'departs');
    assert.match(first?.explanation ?? '', /Its weights \(int2 per row\) alone give/);
  });

  it('looks at the step where a run breaks, and at none behind it', () => {
    const [good, bad] = [Float32Array.of(1), Float32Array.of(NaN)];
    assert.deepEqual(stepsToLookAt([1, 3], [good, good, good, good]), [0, 1, 3]);
    assert.deepEqual(stepsToLookAt([1, 3], [good, good, bad, bad]), [0, 1, 2]);
    assert.deepEqual(stepsToLookAt([1, 3], [bad, bad, bad, bad]), [0]);
  });

  it('sensitivity has nothing to compare with in a broken model, and says where to look', async () => {
    const planted = await plant(folder(), { [`${at}.attn1.to_out.0.bias`]: () => NaN }, w4);
    await assert.rejects(sensitivity({ ...planted, by: 'layer' }, engine), (error: unknown) => error instanceof ModelError && /not finite at step 1 .*--first-bad/.test(error.message));
  });

  it('a broken model is named before anything is calibrated on it', async () => {
    const { first } = await look({ [`${at}.attn1.to_out.0.bias`]: () => NaN }, 'defaults: { method: smoothquant, scheme: W8A8 }');
    assert.deepEqual([first?.layer, first?.kind], [`${at}.attn1.to_out.0`, 'not finite']);
  });

  it('ranges name the largest channel', () => {
    assert.deepEqual(rangeOf(largestPerChannel(Float32Array.of(1, -8, 2, -2, 4, 0), 3)), { absMax: 8, channel: 1, ratio: 4 });
    assert.deepEqual(rangeOf(new Float32Array(3)), { absMax: 0, channel: 0, ratio: null });
  });
});

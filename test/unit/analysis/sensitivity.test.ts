/** Sensitivities of the bundled example on the native engine: suffixes are exact, controls hold, nothing is measured twice. */
import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CancellationTokenSource } from 'vscode-jsonrpc';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { sensitivity } from '../../../server/src/analysis/sensitivity';
import type { SensitivityRequest } from '../../../server/src/analysis/sensitivity';
import { matchedNoise, weightsAlone } from '../../../server/src/analysis/sensitivity/controls';
import { Walk, cutsOf, liveAt } from '../../../server/src/analysis/sensitivity/sections';
import { unitOf } from '../../../server/src/analysis/sensitivity/units';
import { CheckpointStore, openCheckpoint } from '../../../server/src/checkpoint';
import { readValues } from '../../../server/src/checkpoint/values';
import { loadConfig } from '../../../server/src/config/load';
import type { LoadedConfig } from '../../../server/src/config/load';
import { EngineClient } from '../../../server/src/engine/client';
import type { LinearRecipe } from '../../../server/src/engine/graph';
import { ModelError } from '../../../server/src/models/builder';
import { runForward, seededRecipe } from '../../../server/src/models/forward';
import { openPipeline } from '../../../server/src/preview/pipelines';
import type { Plan, PreviewSettings, Score, Sensitivity } from '../../../server/src/protocol';
import { temporaryFolders } from '../../fixtures/folder';
import { tinyPixart, tinyWan } from '../../fixtures/pipelines';

const root = resolve(__dirname, '../../..');
const glyph = join(root, 'examples/glyph-dit');
const addonPath = join(root, 'native/build/quantscope.node');

describe('sensitivity', function () {
  this.timeout(120_000);
  const folder = temporaryFolders();
  let engine: EngineClient;
  before(() => { engine = new EngineClient({ hostPath: join(root, 'dist/engine.js'), addonPath, threads: 0, log: () => undefined }); });
  after(() => engine.dispose());

  async function load(model: string, ...lines: string[]): Promise<LoadedConfig & { plan: Plan }> {
    const text = ['version: 1', `checkpoint: ${JSON.stringify(model)}`, ...lines].join('\n');
    const loaded = await loadConfig(TextDocument.create('file:///x', 'quantconfig', 1, text), join(model, '../a.quant.yaml'), new CheckpointStore());
    assert.ok(loaded.plan, loaded.problems.map(({ message }) => message).join('\n'));
    return { ...loaded, plan: loaded.plan };
  }
  const example = (): Promise<LoadedConfig & { plan: Plan }> => load(glyph, 'defaults: { method: orbitquant, scheme: W4A4 }', 'preview: { classes: [3], steps: 6, guidance: 2, compareSteps: 2 }');
  const run = async (changes: Partial<SensitivityRequest> = {}, by = engine): Promise<Sensitivity> => sensitivity({ loaded: await example(), base: root, by: 'layer', cacheFolder: null, ...changes }, by);

  const models: Record<string, { make(place: string): Promise<void>; settings: Partial<PreviewSettings> }> = {
    'glyph-dit': { make: () => Promise.resolve(), settings: { classes: [3], steps: 4 } },
    PixArt: { make: tinyPixart, settings: { prompts: ['a red fox'], steps: 2, width: 24, height: 16 } },
    Wan: { make: tinyWan, settings: { prompts: ['a red fox'], steps: 2, width: 32, height: 16, frames: 5, decoder: 'taehv.safetensors' } },
  };
  for (const [name, { make, settings }] of Object.entries(models)) {
    it(`${name}: a suffix from cached values gives bit for bit what the whole model gives`, async () => {
      const place = folder();
      await make(place);
      const model = name === 'glyph-dit' ? glyph : join(place, 'model');
      const { plan } = await load(model, 'defaults: { method: orbitquant, scheme: W4A4 }');
      const pipeline = await openPipeline(await openCheckpoint(model), settings, place);
      const [call] = pipeline.callsAt(0, pipeline.noise(), 500);
      assert.ok(call);
      const blocks = new Map(plan.layers.map((layer) => [layer.name, layer.block]));
      const cuts = cutsOf(call.program.program, (layer) => blocks.get(layer) ?? null);
      assert.ok(cuts.length > 3);
      const walk = new Walk(call, engine);
      for (const { op, layers } of cuts) {
        await walk.advance(op, {});
        const suffix = await walk.suffix({});
        const swapped = Object.fromEntries(plan.layers.filter(({ name: layer }) => layers.includes(layer)).map((layer): [string, LinearRecipe] => [layer.name, seededRecipe(layer)]));
        for (const recipes of [{}, swapped]) {
          assert.deepEqual(await suffix.run(recipes, {}), (await runForward(call.program, call.inputs, engine, { recipes })).sample.data, `${layers.join()}, ${Object.keys(recipes).length} swapped`);
        }
        await suffix.close();
      }
    });
  }

  it('cuts before the first linear of every block, and needs there what is read later and is no data', () => {
    const linear = (name: string, x: number, out: number) => ({ op: 'linear' as const, name, x, weight: null, bias: null, out });
    const program = {
      buffers: Array.from({ length: 6 }, () => [1]), inputs: { x: 0 }, outputs: { sample: 5 },
      ops: [linear('a.1', 0, 1), { op: 'constant' as const, data: new Float32Array(1), out: 2 }, linear('a.2', 1, 3), linear('b.1', 3, 4), { op: 'binary' as const, kind: 'add' as const, a: 4, b: 2, out: 5 }, linear('a.1', 1, 1)],
    };
    assert.deepEqual(cutsOf(program, (layer) => layer.slice(0, 1)).map(({ op, layers }) => [op, layers]), [[0, ['a.1', 'a.2']], [3, ['b.1']]]);
    assert.deepEqual(liveAt({ ...program, ops: program.ops.slice(0, 5) }, 3), [3]);
  });

  it('measures every layer with controls, and again from the cache without an engine', async () => {
    const cacheFolder = folder();
    const first = await run({ cacheFolder });
    assert.equal(first.layers.length, 56);
    assert.deepEqual(first.layers.map(({ score }) => score), first.layers.map(({ score }) => score).sort((a, b) => (b ?? 0) - (a ?? 0)), 'worst first');
    for (const { name, score, direction, perStep, estimate } of first.layers) {
      assert.deepEqual([direction, estimate, perStep.map(({ step }) => step)], ['lower is better', false, [2, 5]], name);
      assert.ok(score !== null && score > 0 && perStep.every((each) => each.relativeMse !== null && each.relativeMse > 0 && each.latentPsnrDb !== null), name);
    }
    const { additivity, controls } = first;
    assert.deepEqual([controls.zeroSwap.differing, controls.zeroSwap.runs], [0, 2 * (56 + 1 + 2 * 3)]);
    assert.ok(additivity?.ratio && additivity.ratio > 0.5 && additivity.ratio < 2, JSON.stringify(additivity));
    assert.deepEqual(controls.noise.map(({ name }) => name), first.layers.slice(0, 3).map(({ name }) => name));
    controls.noise.forEach(({ name, ratio }) => assert.ok(ratio && ratio > 0.2 && ratio < 5, `${name}: × ${ratio}`));
    const none = new EngineClient({ hostPath: join(root, 'no-such-host.js'), addonPath, threads: 0, log: () => undefined });
    assert.deepEqual(await run({ cacheFolder }, none), first);
    await assert.rejects(run({ cacheFolder, steps: 3 }, none), { code: 'UNAVAILABLE' });
  });

  it('more bits hurt less; blocks and roles have the effect of all their layers', async () => {
    const only = new Set(['transformer_blocks.0.ff.net.0.proj', 'transformer_blocks.0.ff.net.2', 'transformer_blocks.3.ff.net.0.proj']);
    const fine = await sensitivity({ loaded: await load(glyph, 'defaults: { method: orbitquant, scheme: W8A8 }', 'preview: { classes: [3], steps: 6, guidance: 2, compareSteps: 2 }'), base: root, by: 'layer', only, cacheFolder: null }, engine);
    const [coarse, blocks, roles] = [await run({ only }), await run({ only, by: 'block' }), await run({ only, by: 'role' })];
    coarse.layers.forEach(({ name, score }) => assert.ok((score ?? 0) > 20 * (fine.layers.find((each) => each.name === name)?.score ?? Infinity), name));
    assert.deepEqual(blocks.layers.map(({ name, layers }) => [name, layers.length]).sort(), [['transformer_blocks.0', 2], ['transformer_blocks.3', 1]]);
    assert.deepEqual(roles.layers.map(({ layers }) => layers.length).sort(), [1, 2]);
    const one = (from: Sensitivity, name: string): number | null | undefined => from.layers.find((each) => each.name === name)?.score;
    assert.equal(one(blocks, 'transformer_blocks.3'), one(coarse, 'transformer_blocks.3.ff.net.0.proj'));
    assert.equal(blocks.additivity?.whole, coarse.additivity?.whole);
  });

  it('a layer looked at alone runs as in the whole plan: learned rounding depends on its neighbours', async () => {
    const loaded = await load(glyph, 'defaults: { keep: original }', 'rules: [{ layers: ["transformer_blocks.1.attn1.to_*"], method: { name: rtn, solver: { kind: adaround, iterations: 50 } }, scheme: W4A16 }]',
      'calibration: { trajectories: 1, steps: 2 }', 'preview: { classes: [3], steps: 2, guidance: 1, compareSteps: 1 }');
    const scoreOf = async (names: string[]): Promise<number | null | undefined> =>
      (await run({ loaded, only: new Set(names.map((name) => `transformer_blocks.1.attn1.${name}`)) })).layers.find(({ name }) => name.endsWith('to_q'))?.score;
    assert.equal(await scoreOf(['to_q']), await scoreOf(['to_q', 'to_k', 'to_v']));
  });

  it('estimates come first and measured scores take their place', async () => {
    const rankings: Score[][] = [];
    const cacheFolder = folder();
    const { layers } = await run({ cacheFolder, onRanking: (scores) => rankings.push(structuredClone(scores)) });
    assert.ok(rankings[0]?.every(({ estimate }) => estimate));
    assert.equal(rankings.length, 1 + 56);
    assert.deepEqual(rankings.at(-1), layers);
    const estimates = await run({ cacheFolder, estimateOnly: true });
    assert.deepEqual([estimates.layers, estimates.additivity], [rankings[0], null]);
    const places = (scores: readonly Score[] = []): Map<string, number> => new Map(scores.map(({ name }, i) => [name, i]));
    const [guess, truth] = [places(rankings[0]), places(layers)];
    const distance = [...truth].reduce((sum, [name, place]) => sum + (place - (guess.get(name) ?? 0)) ** 2, 0);
    const spearman = 1 - (6 * distance) / (56 * (56 * 56 - 1));
    assert.ok(spearman > 0.4, `Spearman ${spearman}`);
  });

  it('goes on where it was cancelled', async () => {
    const cacheFolder = folder();
    const source = new CancellationTokenSource();
    let seen = 0;
    await assert.rejects(run({ cacheFolder, cancellation: source.token, onProgress: (_, what) => { if (what.includes('attn1') && ++seen === 10) { source.cancel(); } } }), { code: 'CANCELLED' });
    const kept = readdirSync(join(cacheFolder, 'sensitivity'));
    assert.ok(kept.length >= 10 && kept.length < 56, `${kept.length} measurements are kept`);
    const stamps = (): number[] => kept.map((name) => statSync(join(cacheFolder, 'sensitivity', name)).mtimeMs);
    const before = stamps();
    assert.deepEqual(await run({ cacheFolder }), await run());
    assert.deepEqual(stamps(), before, 'none was measured again');
  });

  it('noise has the Frobenius norm of the quantization error', async () => {
    const { plan } = await example();
    const layer = plan.layers.find(({ name }) => name === 'transformer_blocks.1.attn1.to_q');
    assert.ok(layer);
    const unit = unitOf('q', [layer], { [layer.name]: seededRecipe(layer) });
    const place = folder();
    const noise = matchedNoise(unit, place, engine, {});
    const ref = (await noise.weights?.make())?.get(layer.name);
    assert.ok(ref);
    const [before, after] = [(await readValues(layer.tensor)).data, (await readValues({ name: 'noisy', bytes: 4 * layer.params, ...ref })).data];
    const energy = (values: Float32Array): number => values.reduce((sum, value) => sum + value * value, 0);
    const { relativeMse } = await engine.dequantizeLayer({ layer: layer.name, weight: layer.tensor, recipe: seededRecipe(layer), out: join(place, 'x.safetensors') });
    const found = energy(after.map((value, i) => value - (before[i] ?? 0))) / energy(before);
    assert.ok(relativeMse > 0.005 && Math.abs(found / relativeMse - 1) < 1e-4, `${found}, quantized ${relativeMse}`);
    assert.deepEqual(weightsAlone(unit).recipes[layer.name]?.activations, { kind: 'keep', dtype: 'original' });
    await noise.dispose();
  });

  it('says when there is nothing to swap', async () => {
    await assert.rejects(run({ only: new Set() }), (error: unknown) => error instanceof ModelError && /nothing to swap.*rules and --layers/.test(error.message));
  });
});

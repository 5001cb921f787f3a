/** Plans run end to end on the bundled example: the numbers are those of previews, the order of them counts, and nothing is run twice. */
import assert from 'node:assert/strict';
import { join, resolve } from 'node:path';
import { CancellationTokenSource } from 'vscode-jsonrpc';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { allocatable, allocate, layersToMeasure } from '../../../../server/src/analysis/allocate/allocation';
import type { Allocatable } from '../../../../server/src/analysis/allocate/allocation';
import { planOf } from '../../../../server/src/analysis/allocate/choices';
import type { Losses } from '../../../../server/src/analysis/allocate/losses';
import { readOptions } from '../../../../server/src/analysis/allocate/options';
import { rewriteConfig } from '../../../../server/src/analysis/allocate/patterns/rewrite';
import { average, ranked, verify } from '../../../../server/src/analysis/allocate/verify';
import type { VerifyRequest } from '../../../../server/src/analysis/allocate/verify';
import { CheckpointStore } from '../../../../server/src/checkpoint';
import { loadConfig } from '../../../../server/src/config/load';
import type { LoadedConfig } from '../../../../server/src/config/load';
import { EngineClient, EngineError } from '../../../../server/src/engine/client';
import { preview } from '../../../../server/src/preview/service';
import type { Allocation, Finalist, NamedPlan, Plan } from '../../../../server/src/protocol';
import { temporaryFolders } from '../../../fixtures/folder';
import { examples } from '../../../fixtures/plans';

const root = resolve(__dirname, '../../../..');
const addonPath = join(root, 'native/build/quantscope.node');
const text = 'version: 1\ncheckpoint: ./glyph-dit\ndefaults: { method: orbitquant, scheme: W4A8 }\nrules:\n  - layers: ["**.norm1.**", "proj_out_*", "**.attn1.**"]\n    keep: original\npreview: { classes: [3, 7], steps: 6, guidance: 2, seed: 4, compareSteps: 2 }\n';

interface Case { loaded: LoadedConfig & { plan: Plan }; document: TextDocument; possible: Allocatable; losses: Losses; allocation: Allocation }

/** @param lossOf of a layer at so many bits */
async function open(lossOf: (name: string, bits: number) => number): Promise<Case> {
  const document = TextDocument.create('file:///x.quant.yaml', 'quantconfig', 1, text);
  const { plan, checkpoint, ...rest } = await loadConfig(document, join(examples, 'x.quant.yaml'), new CheckpointStore());
  assert.ok(plan && checkpoint);
  const possible = allocatable(plan, rest.parsed.config, checkpoint, readOptions(['W2A8', 'W3A8', 'W4A8', 'W6A8'], rest.parsed.config.defaults), undefined);
  const losses: Losses = { kind: 'given', description: 'made up', values: new Map([...layersToMeasure(possible)].map(([label, layers]) => [label, new Map(layers.map(({ name, weightBits }) => [name, lossOf(name, weightBits)]))])) };
  const largest = allocate(possible, losses, 1e12);
  const [low, high] = [largest.pareto[0]?.bytes ?? 0, largest.pareto.at(-1)?.bytes ?? 0];
  return { loaded: { ...rest, plan, checkpoint }, document, possible, losses, allocation: allocate(possible, losses, Math.floor(0.6 * low + 0.4 * high)) };
}

/** Rounding, a little different in every layer. */
const plausible = (name: string, bits: number): number => (1 + 0.2 * ((7 * Number(/\d/.exec(name)?.[0]) + name.length) % 5)) * 4 ** -bits;
/** Says that blocks 0 to 3 do not matter; they do. */
const misled = (name: string, bits: number): number => (/blocks\.[0-3]\./.test(name) ? 1e-6 : 1) * 4 ** -bits;

describe('verified allocation', function () {
  this.timeout(120_000);
  const folder = temporaryFolders();
  const client = (hostPath = join(root, 'dist/engine.js')): EngineClient => new EngineClient({ hostPath, addonPath, threads: 0, log: () => undefined });
  const engine = client();
  after(() => engine.dispose());
  const request = (found: Case, changes: Partial<VerifyRequest> = {}): VerifyRequest => ({ ...found, base: examples, folder: folder(), others: [], finalists: 10, seeds: 1, ...changes });

  it('measures what previews show, keeps to the budget, and starts no engine for what it knows', async () => {
    const found = await open(plausible);
    const place = folder();
    const rankings: Finalist[][] = [];
    const result = await verify(request(found, { folder: place, seeds: 2, onRanking: (finalists) => rankings.push(finalists) }), engine);
    const { finalists, verification } = result;
    assert.deepEqual(verification, { items: ['class 3: digit 3', 'class 7: digit 7'].map((name, i) => verification?.items[i] ?? name), seeds: [5, 6], steps: [2, 5], leftOut: [] });
    assert.deepEqual(rankings.map(({ length }) => length), finalists.map((_, i) => i + 1), 'the order so far after every plan');
    assert.deepEqual(rankings.at(-1), finalists);
    assert.ok(finalists.length >= 4 && finalists.every(({ bytes }) => bytes <= result.budgetBytes) && new Set(finalists.map(({ layers }) => JSON.stringify(Object.entries(layers).sort()))).size === finalists.length);
    const means = finalists.map(({ measured: { latentPsnrDb } }) => latentPsnrDb?.mean ?? NaN);
    assert.deepEqual(means, [...means].sort((a, b) => b - a));
    finalists.forEach(({ measured: { latentPsnrDb, behind, notFinite } }, i) => {
      assert.deepEqual([latentPsnrDb?.n, notFinite, behind?.n], [4, 0, i === 0 ? undefined : 4]);
      assert.ok(i === 0 ? behind === null : behind && Math.abs(behind.mean - ((means[0] ?? 0) - (means[i] ?? 0))) < 1e-9 && behind.wins >= (behind.mean > 0 ? 1 : 0));
    });
    const uniform = finalists.find(({ name }) => name === 'uniform') as NamedPlan & Finalist;
    const plan = planOf(found.possible, new Map(Object.entries(uniform.layers)));
    const shown = await Promise.all([5, 6].map((seed) => preview([{ uri: 'file:///x.quant.yaml', loaded: { ...found.loaded, plan } }], { cacheFolder: place }, engine, { seed })));
    const seen = average(shown.map(({ candidates: [candidate] }) => candidate?.metrics.latentPsnrDb ?? NaN))?.mean ?? NaN;
    assert.ok(Math.abs(seen - (uniform.measured.latentPsnrDb?.mean ?? 0)) < 1e-9, `${seen} in previews, ${uniform.measured.latentPsnrDb?.mean ?? 0} here`);
    const stopped = client(join(root, 'nowhere.js'));
    assert.deepEqual(await verify(request(found, { folder: place, seeds: 2 }), stopped), result);
    await stopped.dispose();
  });

  it('recommends a simple rule where the losses mislead, and writes it', async () => {
    const found = await open(misled);
    const result = await verify(request(found), engine);
    const { recommended, finalists: [best], certificate, plan, objective, bytes } = result;
    assert.ok(best && recommended === best.name && recommended !== 'allocated' && result.baselines.some(({ name }) => best.name === name), recommended ?? '');
    assert.deepEqual([certificate.optimal, objective, bytes], [false, best.objective, best.bytes]);
    assert.ok(certificate.gap === objective - found.allocation.objective && certificate.gap > 0 && certificate.method.includes(`end to end "${recommended}" is better`));
    assert.deepEqual(Object.fromEntries(plan.layers.map(({ name, option }) => [name, option])), best.layers);
    assert.equal(rewriteConfig(found.document, found.loaded.checkpoint as NonNullable<LoadedConfig['checkpoint']>, found.possible, result).plan.totals.checkpointBytes, best.bytes);
    const least = result.finalists.find(({ name }) => name === 'allocated');
    assert.ok((least?.measured.behind?.mean ?? 0) > 1, 'the misled plan is far behind');
  });

  it('runs no more plans than asked for, and says which it left out', async () => {
    const found = await open(plausible);
    const { finalists, verification } = await verify(request(found, { finalists: 2, leftOut: [{ name: 'x', reason: 'y' }] }), engine);
    assert.equal(finalists.length, 2);
    assert.deepEqual(verification?.leftOut[0], { name: 'x', reason: 'y' });
    assert.ok((verification?.leftOut.length ?? 0) > 2 && verification?.leftOut.slice(1).every(({ reason }) => reason === 'There were to be 2 finalists.'));
  });

  it('ends when cancelled, and goes on from there', async () => {
    const found = await open(plausible);
    const [place, source, names]: [string, CancellationTokenSource, string[]] = [folder(), new CancellationTokenSource(), []];
    const cancelled = verify(request(found, { folder: place, cancellation: source.token, onRanking: () => source.cancel() }), engine);
    await assert.rejects(cancelled, (error: unknown) => error instanceof EngineError && error.code === 'CANCELLED');
    const result = await verify(request(found, { folder: place, onProgress: (fraction, what) => { assert.ok(fraction >= 0 && fraction <= 1); names.push(what); } }), engine);
    assert.ok(result.finalists.length >= 4 && names.some((name) => name.startsWith('uniform: class 3')), names.join('\n'));
  });

  it('puts plans that are equal to full precision first and those that are not finite last', () => {
    const plan = (name: string, bytes: number): NamedPlan => ({ name, description: '', bytes, averageBits: 4, objective: 1, counts: {}, layers: {} });
    const samples = (...values: (number | null | undefined)[]): { item: number; seed: number; latentPsnrDb: number | null; finite: boolean }[] => values.map((value, item) => ({ item, seed: 0, latentPsnrDb: value ?? null, finite: value !== undefined }));
    const order = ranked([[plan('good', 5), samples(30, 20)], [plan('not finite', 1), samples(90, undefined)], [plan('equal', 9), samples(null, null)], [plan('as good and smaller', 4), samples(20, 30)]]);
    assert.deepEqual(order.map(({ name }) => name), ['equal', 'as good and smaller', 'good', 'not finite']);
    assert.deepEqual(order.map(({ measured }) => [measured.latentPsnrDb, measured.notFinite]), [[null, 0], [{ mean: 25, spread: Math.sqrt(50), n: 2 }, 0], [{ mean: 25, spread: Math.sqrt(50), n: 2 }, 0], [{ mean: 90, spread: 0, n: 1 }, 1]]);
    const [, second] = ranked([[plan('a', 1), samples(30, 20, 20)], [plan('b', 1), samples(28, 21, 10)]]);
    assert.deepEqual([second?.measured.behind?.mean, second?.measured.behind?.wins, second?.measured.behind?.n], [11 / 3, 2, 3]);
  });
});

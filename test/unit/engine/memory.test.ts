/** What a forward pass takes of the machine's memory: activations, a panel of weights per thread and the codes of quantized weights, never the model. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { openCheckpoint } from '../../../server/src/checkpoint';
import { writeSafetensors } from '../../../server/src/checkpoint/values';
import { EngineClient } from '../../../server/src/engine/client';
import type { LinearRecipe, Program } from '../../../server/src/engine/graph';
import { modelFor } from '../../../server/src/models';
import type { Given } from '../../../server/src/models/builder';
import { prepare, runForward } from '../../../server/src/models/forward';
import { torchRandn } from '../../../server/src/samplers/noise';
import { writeFullSize } from '../../fixtures/fullSize';
import type { Blocks, FullSize } from '../../fixtures/fullSize';

const root = resolve(__dirname, '../../..');
const MiB = 2 ** 20;
const threads = 2;
/** BLAS buffers, codebooks, rotations, JavaScript's heap: whatever the model. */
const fixed = 48 * MiB;
/** A panel of weights as float32 (native/src/linear) and as stored. */
const panels = threads * 1.5 * 16 * MiB;

const random = (seed: number, ...shape: number[]): Given => ({ shape, data: torchRandn(shape.reduce((product, each) => product * each, 1), seed) });
const w4a4: LinearRecipe = { transforms: [{ kind: 'rpbh', seed: 0 }], tail: 0, lowRank: null, weights: { kind: 'codebook', bits: 4, norm: 'bf16' }, activations: { kind: 'codebook', bits: 4, norm: 'bf16' }, activationRange: null, packed: null };

const value = (number: number): Given => ({ shape: [1], data: Float32Array.of(number) });

describe('memory of the engine', function () {
  this.timeout(120_000);
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-test-'));
  const engines: EngineClient[] = [];
  afterEach(async () => { await Promise.all(engines.splice(0).map((engine) => engine.dispose())); });
  after(() => rmSync(folder, { recursive: true, force: true }));

  function start(): EngineClient {
    const engine = new EngineClient({ hostPath: join(root, 'dist/engine.js'), addonPath: join(root, 'native/build/quantscope.node'), threads, log: () => undefined });
    engines.push(engine);
    return engine;
  }

  /** Largest resident memory of the engine so far. Reads are positioned, so no page of a checkpoint is in it. */
  async function peak(engine: EngineClient): Promise<number> {
    const { pid } = await engine.info();
    return 1024 * Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  }

  /** How much `work` raises it, in a fresh process. */
  async function growth(work: (engine: EngineClient) => Promise<void>): Promise<number> {
    const engine = start();
    const before = await peak(engine);
    await work(engine);
    const grown = await peak(engine) - before;
    assert.ok(grown >= 0, 'the engine went down and was started again');
    return grown;
  }

  interface Case { name: string; blocks: Blocks; width: number; tokens: number; given: Record<string, Given> }
  const dit: Case = {
    name: 'DiT-XL/2-256', blocks: { num_layers: 4 }, width: 1152, tokens: 256,
    given: { hidden_states: random(1, 4, 32, 32), timestep: value(500), class_labels: value(7) },
  };
  const [text, image] = [48, 144];
  const flux: Case = {
    name: 'FLUX.1-dev', blocks: { num_layers: 1, num_single_layers: 1 }, width: 3072, tokens: text + image,
    given: {
      hidden_states: random(2, image, 64), encoder_hidden_states: random(3, text, 4096), pooled_projections: random(4, 768), timestep: value(0.5), guidance: value(3.5),
      txt_ids: { shape: [text, 3], data: new Float32Array(3 * text) },
      img_ids: { shape: [image, 3], data: Float32Array.from({ length: 3 * image }, (_, i) => [0, Math.floor(i / 36), Math.floor(i / 3) % 12][i % 3] ?? 0) },
    },
  };

  const written = new Map<Case, FullSize>();
  function write(model: Case): FullSize {
    const found = written.get(model) ?? writeFullSize(join(folder, model.name), model.name, model.blocks);
    written.set(model, found);
    return found;
  }

  for (const model of [dit, flux]) {
    const { name, blocks, width, tokens, given } = model;
    it(`${name} with ${Object.values(blocks).join(' + ')} blocks runs in far less than its weights, quantized too`, async () => {
      const { params, folder: place } = write(model);
      const checkpoint = await openCheckpoint(place);
      const prepared = prepare(modelFor(checkpoint), checkpoint, given);
      const run = async (engine: EngineClient, recipes: Record<string, LinearRecipe> = {}): Promise<Float32Array> => {
        const { sample, firstNonFinite } = await runForward(prepared, given, engine, { recipes });
        assert.equal(firstNonFinite, null);
        return sample.data;
      };
      // Within a block some 24 vectors of the model's width live at once for each token.
      const bound = 4 * 24 * width * tokens + panels + fixed;
      assert.ok(3 * bound < 4 * params, 'the weights in float32 would be far more');

      let full: Float32Array = new Float32Array();
      assertBelow(await growth(async (engine) => { full = await run(engine); }), bound);

      const recipes = Object.fromEntries(checkpoint.layers.filter((layer) => layer.name.includes('blocks')).map((layer) => [layer.name, w4a4]));
      const codes = checkpoint.layers.filter((layer) => layer.name in recipes).reduce((sum, layer) => sum + layer.params, 0);
      let quantized: Float32Array = new Float32Array();
      assertBelow(await growth(async (engine) => { quantized = await run(engine, recipes); }), bound + codes);

      const [error, energy] = [full.reduce((sum, each, i) => sum + (each - (quantized[i] ?? NaN)) ** 2, 0), full.reduce((sum, each) => sum + each ** 2, 0)];
      assert.ok(error > 1e-4 * energy && error < energy, `four bits change the output, by ${error / energy}`);
    });
  }

  it('a checkpoint larger than the memory a process may have runs', async () => {
    const { folder: place, weights } = write(flux);
    const inputs = join(folder, 'inputs.safetensors');
    await writeSafetensors(inputs, Object.fromEntries(Object.entries(flux.given).map(([name, { shape, data }]) => [name, { shape: [1, ...shape], data }])));
    const limit = 700 * MiB;
    assert.ok(statSync(weights).size > 1.4 * limit);
    const command = ['bin/quantscope.js', 'forward', place, '--inputs', inputs, '--out', join(folder, 'out.safetensors'), '--threads', String(threads)];
    const { status, stderr } = spawnSync('sh', ['-c', `ulimit -d ${limit / 1024} && exec "$@"`, 'sh', process.execPath, ...command], { cwd: root, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  });

  it('attention grows linearly with the number of tokens', async () => {
    const d = 64;
    const run = (tokens: number): Promise<number> => growth(async (engine) => {
      const shape = [tokens, d];
      const program: Program = { buffers: [shape, shape, shape, shape], inputs: { q: 0, k: 1, v: 2 }, outputs: { y: 3 }, ops: [{ op: 'attention', q: 0, k: 1, v: 2, heads: 1, bias: null, out: 3 }] };
      const [q, k, v] = [1, 2, 3].map((seed) => random(seed, tokens, d).data) as [Float32Array, Float32Array, Float32Array];
      await (await engine.openGraph('attention', program)).run({ inputs: { q, k, v }, recipes: {}, capture: null });
    });
    const [once, twice] = [await run(8192), await run(16384)];
    assertBelow(twice, 2 * once + 16 * MiB);
    assertBelow(twice, 4 * 16384 * 16384 / 8);
  });
});

function assertBelow(bytes: number, bound: number): void {
  assert.ok(bytes < bound, `${Math.round(bytes / MiB)} MiB, expected less than ${Math.round(bound / MiB)}`);
}

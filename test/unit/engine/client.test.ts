import assert from 'node:assert/strict';
import { openSync, closeSync, ftruncateSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { CancellationTokenSource } from 'vscode-jsonrpc';
import { EngineClient } from '../../../server/src/engine/client';
import type { EngineErrorCode, EngineOptions } from '../../../server/src/engine/client';
import type { MeasureRequest } from '../../../server/src/engine/addon';
import type { LinearRecipe, Program, RunRequest } from '../../../server/src/engine/graph';
import type { StatusParams } from '../../../server/src/protocol';

const root = resolve(__dirname, '../../..');
const hostPath = join(root, 'dist/engine.js');
const fakeAddon = join(root, 'test/fixtures/addons/fake.cjs');
const realAddon = join(root, 'native/build/quantscope.node');

function request(file: string, rows = 4, width = 8): MeasureRequest {
  return { tensor: { file, offset: 0, dtype: 'F32', shape: [rows, width] }, rotate: null, diagnosticSeed: 0, weights: { kind: 'keep', dtype: 'original' }, histogramBins: 8, sampleRows: 0 };
}

/** y = relu(x), 4 values. */
const program: Program = { buffers: [[4], [4]], inputs: { x: 0 }, outputs: { y: 1 }, ops: [{ op: 'unary', kind: 'relu', x: 0, out: 1 }] };
const keep: LinearRecipe = { transforms: [], tail: 0, lowRank: null, weights: { kind: 'keep', dtype: 'original' }, activations: { kind: 'keep', dtype: 'original' }, activationRange: null, packed: null };

/** The fake addon goes by the name of the recipe. */
function runRequest(recipe?: string): RunRequest {
  return { inputs: { x: new Float32Array([1, -2, Number.NaN, 0.1]) }, recipes: recipe === undefined ? {} : { [recipe]: keep }, capture: null };
}

function failsWith(code: EngineErrorCode, message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.equal((error as { code?: string }).code, code, String(error));
    assert.match((error as Error).message, message);
    return true;
  };
}

describe('engine client', () => {
  const clients: EngineClient[] = [];
  const states: StatusParams['engine'][] = [];
  const log: string[] = [];

  function client(options: Partial<EngineOptions> = {}): EngineClient {
    const made = new EngineClient({ hostPath, addonPath: fakeAddon, threads: 3, log: (line) => log.push(line), onState: (state) => states.push(state), ...options });
    clients.push(made);
    return made;
  }

  afterEach(async () => {
    await Promise.all(clients.splice(0).map((each) => each.dispose()));
    states.length = 0;
    log.length = 0;
  });

  it('starts on the first call, passes the number of threads, reports progress', async () => {
    const engine = client();
    assert.deepEqual(states, []);
    const fractions: number[] = [];
    const measured = await engine.measure(request('ok.bin'), { progress: (fraction) => fractions.push(fraction) });
    assert.equal(measured.rows, 4);
    assert.deepEqual(fractions, [0.5, 1]);
    assert.equal((await engine.info()).threads, 3);
    assert.deepEqual(states, ['starting', 'running']);
  });

  it('hands on what the addon refuses, with its code', async () => {
    const engine = client();
    await assert.rejects(engine.measure(request('io.bin')), failsWith('IO', /io\.bin: refused/));
    await assert.rejects(engine.measure(request('argument.bin')), failsWith('ARGUMENT', /refused/));
    await assert.rejects(engine.stats({ tensor: request('memory.bin').tensor, histogramBins: 4 }), failsWith('MEMORY', /refused/));
    assert.equal((await engine.measure(request('ok.bin'))).rows, 4);
  });

  it('fails the job of a crashing engine with the reason, and the next job starts it again', async () => {
    const engine = client();
    await assert.rejects(engine.measure(request('crash.bin')), failsWith('CRASHED', /ended in the middle of this job \(SIGABRT.*fake addon fell over/));
    assert.equal((await engine.measure(request('ok.bin'))).rows, 4);
    assert.deepEqual(states, ['starting', 'running', 'stopped', 'starting', 'running']);
    assert.ok(log.some((line) => line.includes('fake addon fell over')));
  });

  it('leaves a process whose device failed', async () => {
    const engine = client();
    const { pid } = await engine.info();
    await assert.rejects(engine.measure(request('device.bin')), failsWith('DEVICE', /device\.bin: refused\. The next job starts the engine again, which leaves the device alone if its self-test fails\.$/));
    assert.notEqual((await engine.info()).pid, pid);
    assert.deepEqual(states, ['starting', 'running', 'stopped', 'starting', 'running']);
  });

  it('fails every job that was under way when the engine is killed', async () => {
    const engine = client();
    const { pid } = await engine.info();
    const jobs = [engine.measure(request('hang.bin')), engine.measure(request('hang.bin'))];
    process.kill(pid, 'SIGKILL');
    for (const job of jobs) {
      await assert.rejects(job, failsWith('CRASHED', /SIGKILL.*next job starts it again/));
    }
    assert.notEqual((await engine.info()).pid, pid);
  });

  it('gives up after 4 restarts in 3 minutes, says so, and recovers by time or by restart', async () => {
    let now = 0;
    const engine = client({ now: () => now });
    for (let start = 0; start < 5; start++) {
      await assert.rejects(engine.measure(request('crash.bin')), failsWith('CRASHED', /ended/));
    }
    await assert.rejects(engine.measure(request('ok.bin')), failsWith('UNAVAILABLE', /5 times within 3 minutes.*QuantScope: Restart Language Server/));
    assert.equal(states.at(-1), 'failed');
    now = 3 * 60_000 + 1;
    assert.equal((await engine.measure(request('ok.bin'))).rows, 4);
    now = 0;
    await engine.restart();
    assert.equal((await engine.measure(request('ok.bin'))).rows, 4);
  });

  it('runs no job without the device that was asked for, says why, and still tells of itself', async () => {
    const engine = client({ device: 'cuda' });
    const { pid } = await engine.info();
    for (const job of [() => engine.measure(request('ok.bin')), () => engine.openGraph('g', program)]) {
      await assert.rejects(job, failsWith('UNAVAILABLE', /^CUDA is not used: the fake addon has none\. .*choose "auto" or "cpu"/));
    }
    assert.equal(states.at(-1), 'failed');
    assert.equal((await engine.info()).pid, pid);
    assert.ok(!engine.devices('GPTQ').includes(''), 'what the processor computed is not what was asked for');
  });

  it('cancels a job that hangs', async () => {
    const engine = client();
    await engine.info();
    const source = new CancellationTokenSource();
    const job = engine.measure(request('hang.bin'), { cancellation: source.token, progress: () => source.cancel() });
    await assert.rejects(job, failsWith('CANCELLED', /Cancelled/));
    await assert.rejects(engine.measure(request('ok.bin'), { cancellation: source.token }), failsWith('CANCELLED', /Cancelled/));
  });

  it('cancels a job at once while the engine is starting, and the engine serves the next one', async () => {
    const engine = client();
    const source = new CancellationTokenSource();
    const [job, graph] = [engine.measure(request('ok.bin'), { cancellation: source.token }), engine.openGraph('a', program, { cancellation: source.token })];
    source.cancel();
    await assert.rejects(job, failsWith('CANCELLED', /Cancelled/));
    await assert.rejects(graph, failsWith('CANCELLED', /Cancelled/));
    assert.deepEqual(states, ['starting']);
    assert.equal((await engine.measure(request('ok.bin'))).rows, 4);
    assert.deepEqual(states, ['starting', 'running']);
  });

  it('cancels a job whose request and cancel reach the engine together', async () => {
    const engine = client();
    const { pid } = await engine.info();
    const source = new CancellationTokenSource();
    process.kill(pid, 'SIGSTOP');
    const job = engine.measure(request('hang.bin'), { cancellation: source.token });
    await new Promise(setImmediate);
    source.cancel();
    await new Promise(setImmediate);
    process.kill(pid, 'SIGCONT');
    await assert.rejects(job, failsWith('CANCELLED', /Cancelled/));
  });

  it('says what is missing when the addon cannot be loaded', async () => {
    const engine = client({ addonPath: join(root, 'no/such/quantscope.node') });
    await assert.rejects(engine.info(), failsWith('UNAVAILABLE', /while it started.*Cannot find module.*doctor/));
    assert.equal(engine.identity(), 'missing');
  });

  it('refuses jobs after it was disposed', async () => {
    const engine = client();
    await engine.dispose();
    await assert.rejects(engine.info(), failsWith('UNAVAILABLE', /shut down/));
  });

  describe('graphs', () => {
    it('opens and runs; arrays travel bit by bit', async () => {
      const graph = await client().openGraph('a', program);
      const fractions: number[] = [];
      const { outputs } = await graph.run(runRequest(), { progress: (fraction) => fractions.push(fraction) });
      assert.deepEqual(outputs, { x: new Float32Array([2, -4, Number.NaN, Math.fround(0.1) * 2]), opened: new Float32Array([1]) });
      assert.deepEqual(fractions, [0.5, 1]);
    });

    it('opens the same program once, and another one under the same key anew', async () => {
      const engine = client();
      const opened = async (which: Program): Promise<number | undefined> => (await (await engine.openGraph('a', which)).run(runRequest())).outputs['opened']?.[0];
      assert.deepEqual([await opened(program), await opened(program), await opened({ ...program }), await opened(program)], [1, 1, 2, 3]);
    });

    it('hands on what is wrong with a program or a run', async () => {
      const engine = client();
      await assert.rejects(engine.openGraph('a', { ...program, ops: [] }), failsWith('ARGUMENT', /no ops/));
      await assert.rejects((await engine.openGraph('a', program)).run(runRequest('io.bin')), failsWith('IO', /refused/));
    });

    it('opens a graph again in the engine that follows a crash', async () => {
      const graph = await client().openGraph('a', program);
      await assert.rejects(graph.run(runRequest('crash.bin')), failsWith('CRASHED', /ended in the middle of this job/));
      assert.deepEqual((await graph.run(runRequest())).outputs['opened'], new Float32Array([1]));
      assert.deepEqual(states, ['starting', 'running', 'stopped', 'starting', 'running']);
    });

    it('keeps the two graphs used last open and opens others again', async () => {
      const engine = client();
      const [a, b] = [await engine.openGraph('a', program), await engine.openGraph('b', program)];
      const opened = async (graph: typeof a): Promise<number | undefined> => (await graph.run(runRequest())).outputs['opened']?.[0];
      assert.deepEqual([await opened(a), await opened(b), await opened(a)], [1, 2, 1]);
      const c = await engine.openGraph('c', program);
      assert.deepEqual([await opened(a), await opened(c)], [1, 3]);
      assert.deepEqual([await opened(b), await opened(c), await opened(a)], [4, 3, 5]);
    });

    it('closes, and opens again when it is run after all', async () => {
      const engine = client();
      const graph = await engine.openGraph('a', program);
      await graph.close();
      assert.deepEqual((await graph.run(runRequest())).outputs['opened'], new Float32Array([2]));
      await engine.restart();
      await graph.close();
      assert.equal(states.at(-1), 'stopped');
    });

    it('cancels a run that hangs', async () => {
      const graph = await client().openGraph('a', program);
      const source = new CancellationTokenSource();
      await assert.rejects(graph.run(runRequest('hang.bin'), { cancellation: source.token, progress: () => source.cancel() }), failsWith('CANCELLED', /Cancelled/));
    });
  });

  describe('with the native addon', () => {
    let folder = '';
    /** 8 GB of zeros that take no space: seconds of work. */
    const rows = 500_000;
    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'quantscope-'));
      const file = openSync(join(folder, 'sparse.bin'), 'w');
      ftruncateSync(file, rows * 4096 * 4);
      closeSync(file);
    });
    after(() => rmSync(folder, { recursive: true, force: true }));

    it('cancels native work', async () => {
      const engine = client({ addonPath: realAddon, threads: 1 });
      const source = new CancellationTokenSource();
      const job = engine.measure(request(join(folder, 'sparse.bin'), rows, 4096), { cancellation: source.token, progress: () => source.cancel() });
      await assert.rejects(job, failsWith('CANCELLED', /cancel/i));
    });

    it('survives being killed in the middle of native work', async () => {
      const engine = client({ addonPath: realAddon, threads: 1 });
      const { pid } = await engine.info();
      const job = engine.measure(request(join(folder, 'sparse.bin'), rows, 4096), { progress: () => process.kill(pid, 'SIGKILL') });
      await assert.rejects(job, failsWith('CRASHED', /SIGKILL/));
      assert.equal((await engine.measure(request(join(folder, 'sparse.bin'), 4, 8))).zeroRows, 4);
    });

    /** A matrix product of the sparse file's rows: seconds of work. */
    function heavy(): Program {
      return {
        buffers: [[32, 4096], [32, rows]], inputs: { x: 0 }, outputs: { y: 1 },
        ops: [{ op: 'linear', name: 'heavy', x: 0, weight: { file: join(folder, 'sparse.bin'), offset: 0, dtype: 'F32', shape: [rows, 4096] }, bias: null, out: 1 }],
      };
    }

    it('runs a graph', async () => {
      const graph = await client({ addonPath: realAddon }).openGraph('a', program);
      const { outputs, firstNonFinite } = await graph.run(runRequest());
      assert.deepEqual(outputs, { y: new Float32Array([1, 0, Number.NaN, 0.1]) });
      assert.equal(firstNonFinite, null);
      await assert.rejects(graph.run(runRequest('nowhere')), failsWith('ARGUMENT', /no linear "nowhere"/));
      await assert.rejects(graph.run({ ...runRequest(), inputs: {} }), failsWith('ARGUMENT', /"x" is missing/));
    });

    it('names the op that is wrong', async () => {
      const engine = client({ addonPath: realAddon });
      await assert.rejects(engine.openGraph('a', { ...program, buffers: [[4], [5]] }), failsWith('ARGUMENT', /op 0 \(unary\): out is \[5\], x is \[4\]/));
      await assert.rejects(engine.openGraph('a', { ...program, ops: [{ op: 'nonsense' }] as unknown as Program['ops'] }), failsWith('ARGUMENT', /program\.ops\[0\]\.op.*nonsense/));
    });

    it('cancels a run in the middle of a product', async () => {
      const graph = await client({ addonPath: realAddon, threads: 1 }).openGraph('a', heavy());
      const source = new CancellationTokenSource();
      const run = graph.run({ inputs: { x: new Float32Array(32 * 4096) }, recipes: {}, capture: null }, { cancellation: source.token, progress: () => source.cancel() });
      await assert.rejects(run, failsWith('CANCELLED', /cancel/i));
    });

    it('refuses a tensor that reaches beyond its file', async () => {
      const engine = client({ addonPath: realAddon });
      await assert.rejects(engine.measure(request(join(folder, 'sparse.bin'), rows + 1, 4096)), failsWith('IO', /sparse\.bin.*truncated/));
    });
  });
});

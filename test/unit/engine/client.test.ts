import assert from 'node:assert/strict';
import { openSync, closeSync, ftruncateSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { CancellationTokenSource } from 'vscode-jsonrpc';
import { EngineClient } from '../../../server/src/engine/client';
import type { EngineErrorCode, EngineOptions } from '../../../server/src/engine/client';
import type { MeasureRequest } from '../../../server/src/engine/addon';
import type { StatusParams } from '../../../server/src/protocol';

const root = resolve(__dirname, '../../..');
const hostPath = join(root, 'dist/engine.js');
const fakeAddon = join(root, 'test/fixtures/addons/fake.cjs');
const realAddon = join(root, 'native/build/quantscope.node');

function request(file: string, rows = 4, width = 8): MeasureRequest {
  return { tensor: { file, offset: 0, dtype: 'F32', shape: [rows, width] }, rotate: null, diagnosticSeed: 0, weights: { kind: 'keep', dtype: 'original' }, histogramBins: 8, sampleRows: 0 };
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

  it('cancels a job that hangs', async () => {
    const engine = client();
    await engine.info();
    const source = new CancellationTokenSource();
    const job = engine.measure(request('hang.bin'), { cancellation: source.token, progress: () => source.cancel() });
    await assert.rejects(job, failsWith('CANCELLED', /Cancelled/));
    await assert.rejects(engine.measure(request('ok.bin'), { cancellation: source.token }), failsWith('CANCELLED', /Cancelled/));
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

    it('refuses a tensor that reaches beyond its file', async () => {
      const engine = client({ addonPath: realAddon });
      await assert.rejects(engine.measure(request(join(folder, 'sparse.bin'), rows + 1, 4096)), failsWith('IO', /sparse\.bin.*truncated/));
    });
  });
});

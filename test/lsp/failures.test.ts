/** The built language server when its engine or itself is killed, a job is cancelled, or the checkpoint changes, in the middle of long work. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CancellationToken, CancellationTokenSource } from 'vscode-languageserver/node';
import type { PreviewResult, StatusParams } from '../../server/src/protocol';
import { accidents, assertWhole, ends, kill, longWork } from '../fixtures/longWork';
import { TestClient } from './client';

describe('language server, in the middle of long work', function () {
  this.timeout(20_000);
  const work = longWork();
  const captured = join(work.folder, 'captured.safetensors');
  let client: TestClient;
  let server: ChildProcess;
  let uri = '';
  let engine = 0;
  let numbers: unknown;

  async function start(): Promise<void> {
    ({ client, child: server } = TestClient.spawn());
    await client.initialize({}, { initializationOptions: { cacheDirectory: work.cache, engine: { threads: 2 } } });
    uri = await client.open(work.text, work.config);
  }

  const jobs = {
    preview: (cancel = CancellationToken.None) => client.connection.sendRequest<PreviewResult>('quantscope/preview', { candidates: [{ uri }], session: 1, workDoneToken: 'work' }, cancel),
    capture: (cancel = CancellationToken.None) => client.connection.sendRequest<object>('quantscope/capture', { uri, path: captured, workDoneToken: 'work' }, cancel),
  };

  /** Forgets what the server sent, but for the engine's process. */
  function read(): void {
    engine = client.drop('quantscope/status').flatMap((status) => (status as StatusParams).info?.pid ?? []).at(-1) ?? engine;
    client.unread.splice(0);
  }

  /** Starts a job that finds nothing in the cache; returns when it has made some progress. */
  async function begin<T>(job: (cancel: CancellationToken) => Promise<T>, cancel = CancellationToken.None): Promise<{ running: Promise<T> }> {
    read();
    rmSync(work.cache, { recursive: true, force: true });
    const running = job(cancel);
    running.catch(() => undefined);
    for (let percentage = 0; percentage < 5;) {
      percentage = (await client.next<{ value: { percentage?: number } }>('$/progress')).value.percentage ?? 0;
    }
    read();
    return { running };
  }

  /** The next request works, and gives the numbers it always gave. */
  async function works(): Promise<void> {
    await assertWhole(work.cache);
    const { candidates } = await jobs.preview();
    numbers ??= candidates;
    assert.deepEqual(candidates, numbers);
  }

  before(async () => {
    await start();
    await works();
  });
  after(async () => {
    read();
    await client.ask('shutdown', {});
    await client.tell('exit', {});
    assert.equal(await client.exitCode(), 0);
    await ends(engine);
    work.remove();
  });

  for (const [name, job] of Object.entries(jobs)) {
    it(`fails a ${name} whose engine is killed, with the reason`, async () => {
      const { running } = await begin(job);
      kill(engine);
      await assert.rejects(running, /ended in the middle of this job \(SIGKILL.*The next job starts it again/);
      await ends(engine);
      await works();
    });

    it(`cancels a ${name}`, async () => {
      const cancel = new CancellationTokenSource();
      const { running } = await begin(job, cancel.token);
      cancel.cancel();
      await assert.rejects(running, /Cancelled|cancelled/);
      await works();
    });

    for (const [what, happen, message] of accidents) {
      it(`fails a ${name} whose checkpoint is ${what}, and says what to do`, async () => {
        rmSync(captured, { force: true });
        const { running } = await begin(job);
        happen(work.weights);
        await assert.rejects(running, message);
        assert.equal(existsSync(captured), false);
        work.restore();
        assert.deepEqual((await client.request('quantscope/analyze', { uri, layers: ['proj_out_*'] })).failures, []);
      });
    }
  }

  it('takes its engine with it when it is killed, and leaves a cache that the next server understands', async () => {
    for (const job of Object.values(jobs)) {
      await begin(job);
      kill(server.pid ?? 0);
      assert.equal(await client.exitCode(), null);
      await ends(engine);
      await start();
      await works();
    }
  });
});

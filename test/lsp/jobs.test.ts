/** Jobs of the engine as an editor sees them: reports, progress, cancel, crashes, hangs. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Hover, ResponseError } from 'vscode-languageserver/node';
import { CancellationTokenSource } from 'vscode-languageserver/node';
import { EngineError } from '../../server/src/engine/client';
import { FakeEngine } from '../fixtures/fakeEngine';
import { temporaryFolders } from '../fixtures/folder';
import { safetensors } from '../fixtures/safetensors';
import type { TensorSpec } from '../fixtures/safetensors';
import { clients } from './client';
import type { TestClient } from './client';

const names = ['blocks.0.q', 'blocks.1.q', 'out'];
const tensors: Record<string, TensorSpec> = Object.fromEntries(names.map((name) => [`${name}.weight`, { dtype: 'BF16', shape: [8, 4] }]));
const text = 'version: 1\ncheckpoint: m.safetensors\ndefaults: { method: orbitquant, scheme: W4A4 }\nrules:\n  - { layers: out, keep: bf16 }\n';

describe('jobs over the wire', function () {
  this.timeout(20_000);
  const start = clients();
  const folder = temporaryFolders();

  async function opened(engine: FakeEngine, content = text): Promise<{ client: TestClient; uri: string; path: string }> {
    const client = start({ engine });
    await client.initialize();
    const path = join(folder({ 'm.safetensors': safetensors(tensors) }), 'x.quant.yaml');
    return { client, uri: await client.open(content, path), path };
  }

  /** Busy and then not; the reports as they came; refreshed hints. */
  async function finished(client: TestClient, layers: number): Promise<void> {
    assert.equal((await client.nextOf('quantscope/status')).health, 'busy');
    const reports = [];
    for (let i = 0; i < layers; i++) {
      reports.push(await client.nextOf('quantscope/reports'));
    }
    assert.deepEqual(reports.map((report) => report.done), reports.map((_, i) => i + 1));
    assert.equal((await client.nextOf('quantscope/status')).health, 'ok');
    await client.next('workspace/inlayHint/refresh');
  }

  it('analyzes, reports layer by layer, and shows the numbers in hovers', async () => {
    const { client, uri } = await opened(new FakeEngine());
    const result = await client.request('quantscope/analyze', { uri });
    assert.deepEqual(result.layers.map((layer) => layer.name), names);
    assert.deepEqual([result.failures, result.cached], [[], 0]);
    await finished(client, 3);
    const hover = await client.ask<Hover>('textDocument/hover', { textDocument: { uri }, position: { line: 4, character: 15 } });
    assert.match(JSON.stringify(hover), /Measured:/);
    assert.equal((await client.request('quantscope/plan', { uri })).reports.length, 3);
    await client.end();
  });

  it('measures again only what an edit changed', async () => {
    const engine = new FakeEngine();
    const { client, uri } = await opened(engine);
    await client.request('quantscope/analyze', { uri });
    await finished(client, 3);
    engine.measured.length = 0;
    await client.change(uri, text.replace('keep: bf16', 'scheme: W8A8'));
    const { cached } = await client.request('quantscope/analyze', { uri });
    assert.equal(cached, 2);
    assert.deepEqual(engine.measured.map((request) => request.weights), [{ kind: 'codebook', bits: 8, norm: 'bf16' }]);
    await finished(client, 3);
    await client.settled(uri);
    await client.end();
  });

  it('narrows to patterns and reports progress under the editor\'s token', async () => {
    const { client, uri } = await opened(new FakeEngine());
    await client.request('quantscope/analyze', { uri, layers: ['blocks.*.q'], workDoneToken: 'work' });
    await finished(client, 2);
    const progress = client.drop('$/progress') as { token: string; value: { kind: string; percentage?: number } }[];
    assert.ok(progress.every((each) => each.token === 'work'));
    assert.deepEqual([progress[0]?.value.kind, progress.at(-1)?.value.kind], ['begin', 'end']);
    const percentages = progress.flatMap((each) => (each.value.kind === 'report' ? [each.value.percentage ?? NaN] : []));
    assert.deepEqual(percentages, percentages.toSorted((a, b) => a - b));
    assert.equal(percentages.at(-1), 100);
    await client.end();
  });

  it('gives a crash its clear message, and the next job works', async () => {
    let crashes = 1;
    const engine = new FakeEngine(() => {
      if (crashes-- > 0) {
        throw new EngineError('CRASHED', 'The engine process ended in the middle of this job (SIGSEGV). The next job starts it again; the log has more.');
      }
      return {};
    });
    const { client, uri } = await opened(engine);
    await assert.rejects(client.request('quantscope/analyze', { uri }), (error: ResponseError<{ code: string }>) => {
      assert.match(error.message, /ended in the middle of this job \(SIGSEGV\)\. The next job starts it again/);
      assert.deepEqual(error.data, { code: 'CRASHED' });
      return true;
    });
    await finished(client, 0);
    assert.equal((await client.request('quantscope/analyze', { uri })).layers.length, 3);
    await finished(client, 3);
    await client.end();
  });

  it('keeps what was measured before a crash', async () => {
    const engine = new FakeEngine((request) => {
      if (request.weights.kind === 'keep') {
        throw new EngineError('CRASHED', 'Gone.');
      }
      return {};
    });
    const { client, uri } = await opened(engine);
    await assert.rejects(client.request('quantscope/analyze', { uri }), /Gone\./);
    await finished(client, 2);
    assert.deepEqual((await client.request('quantscope/plan', { uri })).reports.map((report) => report.name), ['blocks.0.q', 'blocks.1.q']);
    await client.end();
  });

  it('goes on after a layer that cannot be measured', async () => {
    const engine = new FakeEngine((request) => {
      if (request.weights.kind === 'keep') {
        throw new EngineError('IO', 'm.safetensors: too short.');
      }
      return {};
    });
    const { client, uri } = await opened(engine);
    const { layers, failures } = await client.request('quantscope/analyze', { uri });
    assert.deepEqual([layers.length, failures], [2, [{ name: 'out', message: 'm.safetensors: too short.' }]]);
    await finished(client, 2);
    await client.end();
  });

  it('answers while a job hangs, and cancels it', async () => {
    let began: () => void = () => undefined;
    const running = new Promise<void>((done) => { began = done; });
    const engine = new FakeEngine((_, options) => new Promise((_resolve, reject) => {
      options?.cancellation?.onCancellationRequested(() => reject(new EngineError('CANCELLED', 'Cancelled.')));
      began();
    }));
    const { client, uri } = await opened(engine);
    const cancel = new CancellationTokenSource();
    const job = client.connection.sendRequest('quantscope/analyze', { uri }, cancel.token);
    await running;
    assert.match(JSON.stringify(await client.ask('textDocument/hover', { textDocument: { uri }, position: { line: 0, character: 1 } })), /Version of the config language/);
    cancel.cancel();
    await assert.rejects(job, (error: ResponseError<unknown>) => error.code === -32800 && error.message === 'Cancelled.');
    await finished(client, 0);
    await client.end();
  });

  it('shuts down while a job hangs', async () => {
    let began: () => void = () => undefined;
    const running = new Promise<void>((done) => { began = done; });
    let stop: (error: Error) => void = () => undefined;
    class Hanging extends FakeEngine {
      override dispose(): Promise<void> {
        stop(new EngineError('CRASHED', 'The engine has been shut down.'));
        return Promise.resolve();
      }
    }
    const { client, uri } = await opened(new Hanging(() => new Promise((_, reject) => {
      stop = reject;
      began();
    })));
    const job = client.request('quantscope/analyze', { uri });
    const failed = assert.rejects(job, /shut down/);
    await running;
    await finishedByShutdown(client, failed);
  });

  async function finishedByShutdown(client: TestClient, failed: Promise<void>): Promise<void> {
    assert.equal((await client.nextOf('quantscope/status')).health, 'busy');
    assert.equal(await client.ask('shutdown', {}), null);
    await failed;
    assert.equal((await client.nextOf('quantscope/status')).health, 'ok');
    await client.next('workspace/inlayHint/refresh');
    await client.tell('exit', {});
    assert.equal(await client.exitCode(), 0);
    assert.deepEqual(client.unread, []);
  }

  it('says why a config cannot be analyzed', async () => {
    const { client, uri } = await opened(new FakeEngine(), 'version: 1\ncheckpoint: nowhere.safetensors\n');
    await assert.rejects(client.request('quantscope/analyze', { uri }), /This config cannot be analyzed yet: nowhere\.safetensors: .*/);
    await client.change(uri, 'version: 1\n');
    await assert.rejects(client.request('quantscope/analyze', { uri }), /cannot be analyzed yet: "checkpoint" is missing/);
    await client.settled(uri);
    await client.end();
  });

  it('writes the report beside the config', async () => {
    const { client, uri, path } = await opened(new FakeEngine());
    assert.deepEqual(await client.request('quantscope/reportEstimate', { uri }), { seconds: 0, sensitivitySeconds: 0 }, 'no pipeline to run');
    const { html, markdown, json } = await client.request('quantscope/writeReport', { uri });
    assert.equal(html, path.replace('.quant.yaml', '.report.html'));
    assert.ok(existsSync(markdown) && existsSync(json));
    assert.match(readFileSync(html, 'utf8'), /<html/);
    assert.match(readFileSync(markdown, 'utf8'), /## Same-seed comparison\n\nThere is none\. .+\n\n## Sensitivity\n\nThere is none\. /);
    await finished(client, 3);
    await client.end();
  });

  it('gives statistics of a tensor, and says which it does not know', async () => {
    const { client, path } = await opened(new FakeEngine());
    const file = join(path, '../m.safetensors');
    assert.deepEqual((await client.request('quantscope/tensorStats', { path: file, tensor: 'out.weight' })).shape, [8, 4]);
    await assert.rejects(client.request('quantscope/tensorStats', { path: file, tensor: 'nothing' }), /m\.safetensors has no tensor "nothing"/);
    await assert.rejects(client.request('quantscope/checkpoint', { path: 'relative' }), /not an absolute path/);
    await client.end();
  });

  it('restarts the engine when asked', async () => {
    const { client } = await opened(new FakeEngine());
    assert.equal((await client.request('quantscope/restartEngine', null)).version, 'fake');
    await client.end();
  });

  for (const params of [null, {}, { uri: 5 }, { uri: '::not a uri' }, []]) {
    it(`refuses nonsense parameters ${JSON.stringify(params)} in words`, async () => {
      const { client } = await opened(new FakeEngine());
      for (const method of ['quantscope/analyze', 'quantscope/plan', 'quantscope/checkpoint', 'quantscope/tensorStats', 'quantscope/newConfig', 'quantscope/writeReport', 'quantscope/sensitivity', 'quantscope/firstBad', 'quantscope/allocate']) {
        await assert.rejects(client.connection.sendRequest(method, params as object), (error: ResponseError<unknown>) => error.message.length > 10 && !error.message.includes('\n'), method);
      }
      client.drop('window/logMessage');
      await client.end();
    });
  }
});

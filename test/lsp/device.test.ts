/** What the engine computes on, as an editor's setting has it: `device` of the initialization options, which VS Code sends again to a new server when the setting changes. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { join, resolve } from 'node:path';
import type { StatusParams } from '../../server/src/protocol';
import { TestClient, example } from './client';

const build = resolve(__dirname, '../../native/build');
const emulated = join(build, 'libquantscope_cuda_emulated.so');
const fake = join(build, 'libquantscope_cuda_fake.so');
const weights = { path: join(example, '../glyph-dit/transformer/diffusion_pytorch_model.safetensors'), tensor: 'pos_embed.proj.bias' };

describe('the device setting', function () {
  this.timeout(60_000);
  const environment = { library: process.env['QUANTSCOPE_CUDA_LIBRARY'], behaviour: process.env['QUANTSCOPE_FAKE_CUDA'] };

  const servers: ChildProcess[] = [];

  async function start(device: unknown, library: string, behaviour = ''): Promise<TestClient> {
    process.env['QUANTSCOPE_CUDA_LIBRARY'] = library;
    process.env['QUANTSCOPE_FAKE_CUDA'] = behaviour;
    const { client, child } = TestClient.spawn();
    servers.push(child);
    await client.initialize({}, { initializationOptions: { device, engine: { threads: 1 } } });
    return client;
  }

  async function end(client: TestClient): Promise<StatusParams[]> {
    const status = client.drop('quantscope/status') as StatusParams[];
    assert.deepEqual(client.unread, []);
    await client.ask('shutdown', {}); // tells that the engine ended, where it ran
    await client.tell('exit', {});
    assert.equal(await client.exitCode(), 0);
    return status;
  }

  afterEach(() => {
    servers.splice(0).forEach((server) => server.kill());
    for (const [name, value] of [['QUANTSCOPE_CUDA_LIBRARY', environment.library], ['QUANTSCOPE_FAKE_CUDA', environment.behaviour]] as const) {
      delete process.env[name];
      Object.assign(process.env, value === undefined ? {} : { [name]: value });
    }
  });

  it('reaches the engine', async () => {
    for (const [device, available, reason] of [['cuda', true, ''], [undefined, true, ''], ['cpu', false, 'the processor was asked for']] as const) {
      const client = await start(device, emulated);
      const { cuda } = await client.request('quantscope/restartEngine', null);
      assert.deepEqual([cuda.available, cuda.reason], [available, reason], device);
      assert.equal((await client.request('quantscope/tensorStats', weights)).nan, 0);
      assert.ok((await end(client)).every(({ health }) => health !== 'error'));
    }
  });

  it('is a demand when it says cuda: without a usable device jobs end with the reason, which the status has too', async () => {
    const reason = /^CUDA is not used: fake device: compute capability 7\.0.* choose "auto" or "cpu" in its place \(setting quantscope\.device/;
    const client = await start('cuda', fake, 'old-device');
    await assert.rejects(client.request('quantscope/tensorStats', weights), (error: Error) => reason.test(error.message));
    const failed = (await end(client)).at(-1);
    assert.deepEqual([failed?.health, failed?.engine], ['error', 'failed']);
    assert.match(failed?.message ?? '', reason);

    const without = await start('auto', fake, 'old-device');
    assert.equal((await without.request('quantscope/tensorStats', weights)).nan, 0);
    await end(without);
  });

  it('says which values there are', async () => {
    const client = await start('gpu', fake);
    assert.match((await client.next<{ message: string }>('window/logMessage')).message, /quantscope\.device must be "auto", "cpu" or "cuda", not "gpu"/);
    await end(client);
  });
});

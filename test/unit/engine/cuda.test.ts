/** CUDA as the engine finds it: the library of the tests, which runs kernels on the processor, and one that fails in every way there is. */
import assert from 'node:assert/strict';
import { join, resolve } from 'node:path';
import { EngineClient, describeCuda } from '../../../server/src/engine/client';
import { selfTest } from '../../../server/src/engine/cuda';
import type { CudaInfo, EngineDevice } from '../../../server/src/protocol';

const root = resolve(__dirname, '../../..');
const hostPath = join(root, 'dist/engine.js');
const addonPath = join(root, 'native/build/quantscope.node');
const emulated = join(root, 'native/build/libquantscope_cuda_emulated.so');
const fake = join(root, 'native/build/libquantscope_cuda_fake.so');

describe('CUDA', () => {
  const log: string[] = [];

  async function found(library: string | undefined, behaviour = '', device?: EngineDevice): Promise<CudaInfo> {
    setLibrary(library, behaviour);
    const engine = new EngineClient({ hostPath, addonPath, threads: 1, log: (line) => log.push(line), ...(device ? { device } : {}) });
    try {
      return (await engine.info()).cuda;
    } finally {
      await engine.dispose();
    }
  }

  function setLibrary(library: string | undefined, behaviour = ''): void {
    delete process.env['QUANTSCOPE_CUDA_LIBRARY'];
    if (library !== undefined) {
      process.env['QUANTSCOPE_CUDA_LIBRARY'] = library;
    }
    process.env['QUANTSCOPE_FAKE_CUDA'] = behaviour;
  }

  afterEach(() => {
    setLibrary(undefined);
    log.length = 0;
  });

  it('is used when a device is there and the self-test passes', async () => {
    const cuda = await found(emulated);
    assert.deepEqual({ available: cuda.available, reason: cuda.reason, device: cuda.device, library: cuda.library }, { available: true, reason: '', device: 0, library: emulated });
    assert.deepEqual(cuda.devices.map(({ name, computeCapability, reason }) => ({ name, computeCapability, reason })), [{ name: 'emulated device', computeCapability: '9.0', reason: null }]);
    assert.ok(log.some((line) => line.includes('emulated device')), log.join('\n'));
  });

  it('is left alone when the processor was asked for', async () => {
    const cuda = await found(emulated, '', 'cpu');
    assert.deepEqual([cuda.available, cuda.reason, cuda.library], [false, 'the processor was asked for', null]);
  });

  for (const [behaviour, reason] of [
    ['other-version', /another version/], ['no-driver', /no working NVIDIA driver/], ['old-driver', /driver is too old/], ['no-device', /finds no device/], ['old-device', /fake device: compute capability 7\.0/],
    ['crash', /self-test failed: its process ended \(SIGABRT/], ['wrong', /self-test failed: rotation computes something else than the processor/],
  ] as const) {
    it(`is not used, with the reason: ${behaviour}`, async () => {
      const cuda = await found(fake, behaviour);
      assert.equal(cuda.available, false);
      assert.match(cuda.reason, reason);
      assert.deepEqual(cuda.jobs, []);
      assert.equal(describeCuda(cuda), `CUDA is not used: ${cuda.reason}`);
      assert.ok(log.some((line) => line.includes(cuda.reason)), log.join('\n'));
    });
  }

  it('does not wait for a self-test that hangs', async () => {
    setLibrary(fake, 'hang');
    assert.match(await selfTest(hostPath, addonPath, 0, 1500) ?? '', /did not end within 1\.5 seconds/);
  });

  it('says which library is missing', async () => {
    assert.match((await found('/nowhere/libquantscope_cuda.so')).reason, /\/nowhere\/libquantscope_cuda\.so, which is not there/);
  });
});

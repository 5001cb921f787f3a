/** CUDA as the engine finds it: the library of the tests, which runs kernels on the processor, and one that fails in every way there is. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { EngineClient, describeCuda } from '../../../server/src/engine/client';
import type { MeasureRequest, Measurement } from '../../../server/src/engine/addon';
import { selfTest } from '../../../server/src/engine/cuda';
import type { CudaInfo, EngineDevice, Quantizer } from '../../../server/src/protocol';
import { writeTensor } from '../../../server/src/quantize/files';
import { prepareLayer } from '../../../server/src/quantize/prepare';
import type { PreparedLayer } from '../../../server/src/quantize/prepare';
import { glyphRequest } from '../../fixtures/plans';

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
    assert.deepEqual(cuda.jobs, ['weight diagnostics', 'GPTQ', 'forward passes']);
    assert.ok(log.some((line) => line.includes('CUDA runs weight diagnostics, GPTQ, forward passes on emulated device')), log.join('\n'));
  });

  describe('does jobs', () => {
    const folder = mkdtempSync(join(tmpdir(), 'quantscope-cuda-'));
    const engines: EngineClient[] = [];
    const codebook: Quantizer = { kind: 'codebook', bits: 4, norm: 'bf16' };
    const int4: Quantizer = { kind: 'int', bits: 4, symmetric: true, group: 64, scale: 'fp16' };
    let request: MeasureRequest;

    before(async () => {
      const values = Float32Array.from({ length: 96 * 256 }, (_, i) => Math.sin(i * 12.9898) * (1 + i % 7));
      const tensor = await writeTensor(folder, 'weight', 'F32', [96, 256], values);
      request = { tensor, rotate: { kind: 'rpbh', seed: 3 }, diagnosticSeed: 0, weights: codebook, histogramBins: 96, sampleRows: 0 };
    });
    afterEach(() => Promise.all(engines.splice(0).map((engine) => engine.dispose())));
    after(() => rmSync(folder, { recursive: true }));

    function client(device: EngineDevice): EngineClient {
      setLibrary(emulated);
      const engine = new EngineClient({ hostPath, addonPath, threads: 1, device, log: (line) => log.push(line) });
      engines.push(engine);
      return engine;
    }

    function close(a: Measurement, b: Measurement): void {
      for (const [one, other] of [[a.relativeMse, b.relativeMse], [a.rho, b.rho], [a.before.excessKurtosis, b.before.excessKurtosis], [a.after.maxAbs, b.after.maxAbs]] as const) {
        assert.ok(Math.abs(one - other) <= 1e-4 * Math.abs(other), `${one} and ${other}`);
      }
      assert.ok(Math.abs(a.after.ks - b.after.ks) <= 1e-3);
    }

    it('measures weights with the numbers of the processor', async () => {
      const [onDevice, onProcessor] = await Promise.all((['auto', 'cpu'] as const).map((device) => client(device).measure(request)));
      assert.ok(onDevice && onProcessor);
      assert.equal(onDevice.onProcessor, null);
      close(onDevice, onProcessor);
      assert.notEqual(onDevice.relativeMse, onProcessor.relativeMse, 'float32 sums of another order: equal bits would mean that both came from the processor');
    });

    it('says what stays on the processor, once', async () => {
      const engine = client('auto');
      const measured = [await engine.measure({ ...request, rotate: null, weights: int4 }), await engine.measure({ ...request, weights: int4 })];
      assert.deepEqual(measured.map(({ onProcessor }) => onProcessor), Array(2).fill('only the error of codebooks is measured on a device'));
      assert.equal(log.filter((line) => line === 'engine: weight diagnostics on the processor: only the error of codebooks is measured on a device').length, 1, log.join('\n'));
      assert.equal((await client('cpu').measure({ ...request, weights: int4 })).onProcessor, null);
    });

    /** A layer of the example, solved with second moments of made-up inputs: the plan's prepared layer and its codes. */
    async function solve(engine: EngineClient, place: string, solver = ''): Promise<{ prepared: PreparedLayer; codes: Buffer }> {
      const { plan, checkpoint } = await glyphRequest(`defaults: { method: { name: rtn, weights: { group: 16 }, solver: { kind: gptq${solver} } }, scheme: W4A16 }`);
      const layer = plan.layers.find(({ recipe }) => recipe.solver.kind === 'gptq');
      assert.ok(layer);
      const width = layer.inFeatures;
      const moments = Float32Array.from({ length: width * width }, (_, i) => 0.6 ** Math.abs(Math.floor(i / width) - i % width));
      const secondMoments = await writeTensor(folder, 'moments', 'F32', [width, width], moments);
      const statistics = { key: 'made up', absMax: [], rms: 1, peakToRms: 1, sample: null, secondMoments };
      const prepared = await prepareLayer({ plan: layer, peers: [layer], revision: checkpoint.revision, statistics, folder: join(folder, place), job: {} }, engine);
      assert.ok(prepared.recipe.packed);
      return { prepared, codes: readFileSync(prepared.recipe.packed.codes.file) };
    }

    it('solves layers with the codes of the processor', async () => {
      const [onDevice, onProcessor] = [await solve(client('auto'), 'device'), await solve(client('cpu'), 'processor')];
      assert.equal(onDevice.prepared.fit?.onProcessor, null);
      assert.ok(onDevice.codes.equals(onProcessor.codes));
      const { proxyLoss } = onDevice.prepared.fit;
      assert.ok(proxyLoss && proxyLoss.solver < proxyLoss.rtn);
      assert.notEqual(proxyLoss.rtn, onProcessor.prepared.fit?.proxyLoss?.rtn, 'float64 sums of another order: equal bits would mean that both came from the processor');
    });

    it('keeps what a device solved apart, and finds what the processor solved before', async () => {
      const kept = async (device: EngineDevice, place: string): Promise<string | undefined> => (await solve(client(device), place)).prepared.recipe.packed?.codes.file;
      const [onDevice, onProcessor] = [await kept('cuda', 'kept'), await kept('cpu', 'kept')];
      assert.notEqual(onDevice, onProcessor);
      assert.deepEqual([await kept('auto', 'kept'), await kept('cpu', 'kept')], [onDevice, onProcessor]);
      assert.equal(await kept('cpu', 'processor first'), await kept('auto', 'processor first'));
    });

    it('solves on the processor what a device does not take, and says so', async () => {
      const { prepared } = await solve(client('auto'), 'groups', ', actOrder: false, staticGroups: false');
      assert.equal(prepared.fit?.onProcessor, 'groups take their scales while they are decided');
      assert.ok(log.includes('engine: GPTQ on the processor: groups take their scales while they are decided'), log.join('\n'));
    });

    it('goes by an identity that needs no start of the engine', async () => {
      const engine = client('auto');
      const [cuda = '', ...others] = engine.devices('weight diagnostics');
      assert.match(cuda, /^cuda \d+-\d+$/);
      assert.deepEqual(others, ['']);
      assert.deepEqual(client('cpu').devices('weight diagnostics'), ['']);
      assert.deepEqual(client('cuda').devices('weight diagnostics'), [cuda]);
      await engine.info();
      assert.deepEqual(engine.devices('weight diagnostics'), [cuda, '']);
      setLibrary(fake, 'wrong');
      const without = new EngineClient({ hostPath, addonPath, threads: 1, log: () => undefined });
      engines.push(without);
      assert.match(without.devices('weight diagnostics')[0] ?? '', /^cuda/);
      await without.info();
      assert.deepEqual(without.devices('weight diagnostics'), [''], 'the self-test failed');
    });
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

  it('runs the kernels of every device where those of its generation fail, and says so', async () => {
    process.env['QUANTSCOPE_EMULATED_TILE_COPIES'] = 'refused';
    try {
      const cuda = await found(emulated);
      assert.equal(cuda.available, true);
      assert.match(describeCuda(cuda), /^CUDA runs .* on emulated device with kernels for every device: those of compute capability 9\.0 failed their self-test: .*operation not supported/);
      assert.equal(process.env['QUANTSCOPE_CUDA_KERNELS'], undefined, 'the next engine tries them again');
    } finally {
      delete process.env['QUANTSCOPE_EMULATED_TILE_COPIES'];
    }
  });

  it('does not wait for a self-test that hangs', async () => {
    setLibrary(fake, 'hang');
    assert.match(await selfTest(hostPath, addonPath, 0, 1500) ?? '', /did not end within 1\.5 seconds/);
  });

  it('says which library is missing', async () => {
    assert.match((await found('/nowhere/libquantscope_cuda.so')).reason, /\/nowhere\/libquantscope_cuda\.so, which is not there/);
  });
});

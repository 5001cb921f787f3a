/** The command line contract of docs/cli.md, run as a user runs it: exit codes, JSON keys, messages. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { openCheckpoint } from '../../server/src/checkpoint';
import { readValues } from '../../server/src/checkpoint/values';
import { thresholdsOf } from '../../server/src/config/thresholds';
import { captureNumbers } from '../fixtures/captures';
import { temporaryFolders } from '../fixtures/folder';
import { rawSafetensors, safetensors } from '../fixtures/safetensors';

const root = resolve(__dirname, '../..');
const program = join(root, 'bin/quantscope.js');
const example = join(root, 'examples/glyph-dit.quant.yaml');

interface Ended { code: number | null; out: string; err: string }

function quantscope(...args: string[]): Ended {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: 'utf8', maxBuffer: 1 << 28, env: { ...process.env, XDG_CACHE_HOME: join(root, 'test-artifacts/cache') } });
  return { code: status, out: stdout, err: stderr };
}

function json<T = Record<string, unknown>>(...args: string[]): T {
  const { code, out, err } = quantscope(...args, '--json');
  assert.equal(code, 0, err);
  return JSON.parse(out) as T;
}

function hasKeys(value: object | undefined, ...keys: string[]): void {
  assert.deepEqual(keys.filter((key) => !(key in (value ?? {}))), [], 'missing keys');
}

describe('command line', () => {
  const folder = temporaryFolders();

  it('inspect', () => {
    const checkpoint = json<{ architecture: string; tensors: object[]; layers: object[]; problems: unknown[] }>('inspect', join(root, 'examples/glyph-dit'));
    assert.equal(checkpoint.architecture, 'DiTTransformer2DModel');
    assert.deepEqual(checkpoint.problems, []);
    hasKeys(checkpoint.tensors[0], 'name', 'dtype', 'shape', 'file', 'offset', 'bytes');
    hasKeys(checkpoint.layers[0], 'name', 'role', 'block', 'inFeatures', 'outFeatures', 'params');
    assert.match(quantscope('inspect', join(root, 'examples/glyph-dit')).out, /56 linear layers/);
  });

  it('stats', () => {
    const { tensors } = json<{ tensors: { name: string; absMax: number; max: number; min: number; histogram: { counts: number[] }; shape: number[] }[] }>('stats', join(root, 'examples/glyph-dit'), '--layers', 'proj_out_*');
    assert.deepEqual(tensors.map((tensor) => tensor.name).sort(), ['proj_out_1.bias', 'proj_out_1.weight', 'proj_out_2.bias', 'proj_out_2.weight']);
    for (const tensor of tensors) {
      hasKeys(tensor, 'name', 'min', 'max', 'mean', 'std', 'absMax', 'kurtosis', 'nan', 'inf', 'histogram');
      assert.equal(tensor.absMax, Math.max(tensor.max, -tensor.min));
      assert.equal(tensor.histogram.counts.reduce((sum, count) => sum + count, 0), tensor.shape.reduce((product, size) => product * size, 1));
    }
  });

  it('stats ends with 1 where values are NaN or infinite', () => {
    const data = new Uint8Array(new Float32Array([1, NaN, Infinity, -2]).buffer);
    const place = folder({ 'm.safetensors': safetensors({ 'a.weight': { dtype: 'F32', shape: [2, 2], data } }) });
    const { code, out } = quantscope('stats', join(place, 'm.safetensors'), '--json');
    const { tensors: [tensor] } = JSON.parse(out) as { tensors: Record<string, unknown>[] };
    assert.deepEqual([code, tensor?.['nan'], tensor?.['inf'], tensor?.['min'], tensor?.['max'], tensor?.['mean']], [1, 1, 1, -2, 1, -0.5]);
  });

  it('plan', () => {
    const plan = json<{ layers: { packedBytes: number; averageBits: number }[]; totals: { packedBytes: number; sharedBytes: number; baselineBytes: number }; problems: unknown[] }>('plan', example);
    hasKeys(plan.layers[0], 'name', 'rule', 'method', 'online', 'weightBits', 'activationBits', 'packedBytes', 'averageBits');
    hasKeys(plan.totals, 'packedBytes', 'averageBits', 'baselineBytes');
    assert.equal(plan.totals.packedBytes, plan.layers.reduce((sum, layer) => sum + layer.packedBytes, 0) + plan.totals.sharedBytes);
    assert.ok(plan.totals.packedBytes < plan.totals.baselineBytes);
  });

  it('lint', () => {
    const lint = json<{ dialect: string; entries: { text: string; matchedLayers: number }[] }>('lint', example);
    hasKeys(lint.entries[0], 'text', 'range', 'matchedLayers', 'matchedParamsPercent');
    assert.deepEqual([lint.dialect, lint.entries.map((entry) => entry.matchedLayers)], ['quantscope', [6, 12, 2]]);
  });

  it('lint ends with 1 at an error and points to line and column', () => {
    const place = folder({ 'c.quant.yaml': 'version: 1\ncheckpoint: ./no-such-model\nrulez: []\n' });
    const { code, err } = quantscope('lint', join(place, 'c.quant.yaml'));
    assert.equal(code, 1);
    assert.match(err, /c\.quant\.yaml:3:1: error config\/unknown-key: "rulez".*Did you mean "rules"/);
    assert.match(err, /c\.quant\.yaml:2:13: error checkpoint\/not-found/);
  });

  it('lint gives the quick fixes of the editor', () => {
    const place = folder({ 'c.quant.yaml': `version: 1\ncheckpoint: ${join(root, 'examples/glyph-dit')}\ndefaults: { method: orbitquant, scheme: W4A4 }\nloras: [{ path: no.safetensors }]\n` });
    const { problems } = json<{ problems: { code: string; data?: { fixes: { title: string; edits: object[] }[] } }[] }>('lint', join(place, 'c.quant.yaml'));
    assert.deepEqual(problems.map(({ code, data }) => [code, data?.fixes.length]), [['plan/fragile-low-bits', 1], ['plan/fragile-low-bits', 1], ['checkpoint/not-found', 1]]);
    hasKeys(problems[0]?.data?.fixes[0], 'title', 'edits');
  });

  it('analyze', () => {
    const { layers } = json<{ layers: { weight: object; marginal: object }[] }>('analyze', example, '--layers', '**.to_q', '--cache', 'none');
    assert.equal(layers.length, 6);
    hasKeys(layers[0]?.weight, 'relativeMse', 'sqnrDb', 'expectedRelativeMse');
    hasKeys(layers[0]?.marginal, 'ks', 'wasserstein1', 'excessKurtosis', 'maxAbs', 'rho');
    assert.match(quantscope('analyze', example, '--layers', '**.to_q').out, /6 layers measured/);
  });

  it('analyze gives the same numbers for any number of threads', () => {
    const run = (threads: string): string => JSON.stringify(json<{ layers: unknown }>('analyze', example, '--threads', threads, '--cache', 'none').layers);
    assert.equal(run('1'), run('3'));
  });

  it('analyze --sample measures a share of the rows and says so', () => {
    const { layers } = json<{ layers: { rows: number; sampledRows: number }[] }>('analyze', example, '--sample', '16', '--cache', 'none', '--layers', '**.to_q');
    assert.deepEqual(layers.map((layer) => [layer.rows, layer.sampledRows])[0], [128, 16]);
  });

  it('doctor', () => {
    const doctor = json<{ engine: { cpuLevel: string; cuda: { available: boolean; reason: string; devices: unknown[] } } }>('doctor', '--device', 'cpu');
    assert.ok(doctor.engine.cpuLevel);
    assert.deepEqual([doctor.engine.cuda.available, doctor.engine.cuda.reason, doctor.engine.cuda.devices], [false, 'the processor was asked for', []]);
  });

  it('capture', async () => {
    const place = folder();
    const out = join(place, 'stats.safetensors');
    const made = json<{ captures: { layer: string; half: string; step: number; rows: number; absMax: number; after: { ks: number } }[]; findings: unknown[]; weights: unknown[]; overTime: { steps: number[] }[]; thresholds: { activationKs: number } }>(
      'capture', example, '--out', out, '--layers', '**.attn1.to_q,**.norm1.linear', '--sample', '5');
    const { captures, findings, weights, overTime, thresholds } = made;
    // 12 layers, 4 compared steps, both halves of guidance; three classes of 64 tokens, or of one modulation row.
    assert.equal(captures.length, 12 * 4 * 2);
    assert.deepEqual([...new Set(captures.map((each) => `${each.layer.endsWith('to_q') ? 'to_q' : 'norm'} ${each.half} ${each.rows}`))].sort(), ['norm conditional 3', 'norm unconditional 3', 'to_q conditional 192', 'to_q unconditional 192']);
    const { tensors } = await openCheckpoint(out);
    const value = async (name: string): Promise<Float32Array> => {
      const tensor = tensors.find((each) => each.name === name);
      assert.ok(tensor, name);
      return (await readValues(tensor)).data;
    };
    assert.deepEqual([findings, weights.length, overTime.length, overTime[0]?.steps, thresholds.activationKs], [[], 12, 24, [4, 9, 14, 19], 0.05]);
    const analyzed = json<{ layers: { name: string; activation?: { source: string; cells: number; absMax: number }; output?: { rows: number; relativeError: number } }[] }>('analyze', example, '--capture', out, '--cache', 'none');
    const [known, unknown] = ['transformer_blocks.0.attn1.to_q', 'transformer_blocks.0.attn1.to_k'].map((name) => analyzed.layers.find((each) => each.name === name));
    assert.deepEqual([known?.activation?.source, known?.activation?.cells, known?.output?.rows, unknown?.activation, unknown?.output], ['capture', 8, 40, undefined, undefined]);
    assert.equal(known?.activation?.absMax, Math.max(...captures.filter(({ layer }) => layer === known?.name).map(({ absMax }) => absMax)));
    assert.ok((known?.output?.relativeError ?? 0) > 1e-3 && (known?.output?.relativeError ?? 1) < 0.1, 'of 4-bit weights and activations');
    for (const { layer, half, step, absMax, rows } of captures) {
      const [most, squares, sample] = [await value(`${layer}/${half}/step${step}/absmax`), await value(`${layer}/${half}/step${step}/mean_square`), await value(`${layer}/${half}/step${step}/sample`)];
      assert.ok(Math.abs(Math.max(...most) - absMax) < 1e-6);
      squares.forEach((square, i) => assert.ok(square <= (most[i] ?? 0) ** 2 * (1 + 1e-5), `${layer} channel ${i}`));
      for (const side of ['before', 'after']) {
        const counts = await value(`${layer}/${half}/step${step}/histogram_${side}`);
        assert.equal(counts.reduce((sum, count) => sum + count, 0), rows * most.length, 'every coordinate of every item is counted once');
      }
      sample.forEach((x, i) => assert.ok(Math.abs(x) <= (most[i % most.length] ?? 0) * (1 + 1e-6)));
    }
  });

  const bad: [string, () => string[], RegExp][] = [
    ['no such command', () => ['frobnicate'], /There is no command "frobnicate".*inspect/],
    ['no argument', () => ['inspect'], /Name the checkpoint/],
    ['two arguments', () => ['inspect', 'a', 'b'], /Only one checkpoint at a time/],
    ['an unknown option', () => ['plan', example, '--frob'], /--frob/],
    ['threads that are no number', () => ['plan', example, '--threads', 'many'], /--threads must be a whole number from 0 to 256, not "many"/],
    ['a device this machine lacks', () => ['analyze', example, '--device', 'cuda'], /--device cuda: CUDA is not used: .*Use --device auto or cpu/],
    ['a device there is none of', () => ['analyze', example, '--device', 'tpu'], /--device must be auto, cpu or cuda, not "tpu"/],
    ['a config that is not there', () => ['plan', join(root, 'nowhere.quant.yaml')], /nowhere\.quant\.yaml: there is no such file/],
    ['a folder as config', () => ['plan', root], /this is a folder/],
    ['a config that is not UTF-8', () => ['plan', join(folder({ 'c.quant.yaml': Uint8Array.of(0x61, 0xff, 0xfe) }), 'c.quant.yaml')], /not UTF-8/],
    ['analyze with a capture of another model', () => {
      const place = folder({});
      const path = join(place, 'other.safetensors');
      writeFileSync(path, safetensors({}, { format: 'quantscope-capture-2', about: JSON.stringify({ architecture: 'a', items: [], steps: 1, thresholds: thresholdsOf(undefined) }), weights: '[]', layers: JSON.stringify([captureNumbers('proj_out_2', 'conditional', 0, { width: 64 })]) }));
      return ['analyze', example, '--capture', path];
    }, /other\.safetensors is a capture of another model: it has proj_out_2 with 64 channels, .*glyph-dit with 128\. Capture with this config/],
    ['analyze on a config with errors', () => ['analyze', join(folder({ 'c.quant.yaml': 'version: 1\ncheckpoint: ./gone\n' }), 'c.quant.yaml')], /has errors.*\n.*2:13.*not-found/],
    ['an empty checkpoint', () => ['inspect', join(folder({ 'm.safetensors': '' }), 'm.safetensors')], /m\.safetensors: holds no bytes/],
    ['8 random bytes', () => ['inspect', join(folder({ 'm.safetensors': Uint8Array.of(9, 200, 13, 7, 0, 0, 0, 0) }), 'm.safetensors')], /m\.safetensors/],
    ['a header of 2^63', () => ['inspect', join(folder({ 'm.safetensors': rawSafetensors('{}', 0, 1n << 63n) }), 'm.safetensors')], /m\.safetensors.*header/],
    ['a shard that leads out', () => ['inspect', join(folder({ 'm.safetensors.index.json': '{"metadata":{},"weight_map":{"a.weight":"../../etc/passwd"}}' }), 'm.safetensors.index.json')], /etc\/passwd/],
    ['a truncated checkpoint', () => {
      const place = folder({ 'm.safetensors': safetensors({ 'a.weight': { dtype: 'F32', shape: [64, 64] } }) });
      truncateSync(join(place, 'm.safetensors'), 4000);
      return ['inspect', join(place, 'm.safetensors')];
    }, /m\.safetensors: ends 12,461 bytes too early/],
  ];
  for (const [what, args, message] of bad) {
    it(`ends with 2 and a clear message: ${what}`, () => {
      const { code, out, err } = quantscope(...args());
      assert.deepEqual([code, out], [2, '']);
      assert.match(err, message);
      assert.doesNotMatch(err, /^ +at /m, 'no stack');
    });
  }

  it('leaves integer tensors out of the layers and gives an all-zero layer the error 0', () => {
    const place = folder({
      'm.safetensors': safetensors({ 'a.weight': { dtype: 'F32', shape: [8, 8] }, 'b.weight': { dtype: 'I32', shape: [8, 8] } }),
      'c.quant.yaml': 'version: 1\ncheckpoint: ./m.safetensors\ndefaults: { method: rtn, scheme: W4A16 }\n',
    });
    const { layers } = json<{ layers: { name: string; zeroRows: number; weight: { relativeMse: number } }[] }>('analyze', join(place, 'c.quant.yaml'), '--cache', 'none');
    assert.deepEqual(layers.map((layer) => [layer.name, layer.zeroRows, layer.weight.relativeMse]), [['a', 8, 0]]);
  });

  it('Ctrl-C cancels cleanly', async () => {
    const place = folder({ 'c.quant.yaml': 'version: 1\ncheckpoint: ./m.safetensors\ndefaults: { method: orbitquant, scheme: W4A4 }\n' });
    // 655 GB that take no space: minutes of work, however fast the machine.
    const shape = [40_000_000, 4096];
    const size = 40_000_000 * 4096 * 4;
    const header = JSON.stringify({ 'a.weight': { dtype: 'F32', shape, data_offsets: [0, size] } });
    const path = join(place, 'm.safetensors');
    writeFileSync(path, rawSafetensors(header));
    truncateSync(path, 8 + Buffer.byteLength(header) + size);
    const child = spawn(process.execPath, [program, 'analyze', join(place, 'c.quant.yaml'), '--cache', 'none', '--verbose'], { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    let err = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
      if (text.includes('engine: started') && child.pid) {
        // A terminal sends Ctrl-C to the whole process group, the engine included.
        process.kill(-child.pid, 'SIGINT');
      }
    });
    const code = await new Promise<number | null>((done) => { child.once('close', done); });
    assert.deepEqual([code, /Cancelled/.test(err)], [130, true], err);
  });
});

/** Quantized checkpoints as a user writes and uses them: what is written computes what the plan computes in memory, whatever happens in between. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { openCheckpoint } from '../../server/src/checkpoint';
import { readValues, writeSafetensors } from '../../server/src/checkpoint/values';
import { relativeMse } from '../../server/src/preview/metrics';
import type { Plan } from '../../server/src/protocol';
import type { WrittenCheckpoint } from '../../server/src/quantize/checkpoint';
import { temporaryFolders } from '../fixtures/folder';
import { kill } from '../fixtures/longWork';
import { examples } from '../fixtures/plans';
import { random } from '../fixtures/random';

const root = resolve(__dirname, '../..');
const program = join(root, 'bin/quantscope.js');

function quantscope(...args: string[]): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: 'utf8', maxBuffer: 1 << 28 });
  return { code: status, out: stdout, err: stderr };
}

function json<T>(...args: string[]): T {
  const { code, out, err } = quantscope(...args, '--json');
  assert.equal(code, 0, err);
  return JSON.parse(out) as T;
}

const methods = {
  orbitquant: '{ method: orbitquant, scheme: W4A4 }',
  svdquant: '{ method: { name: svdquant, smooth: { kind: search, steps: 2 }, lowRank: { rank: 4, iterations: 4 } }, scheme: W4A4 }',
  dirotq: '{ method: dirotq, scheme: W4A4 }',
  'rtn in groups of 64': '{ method: { name: rtn, weights: { group: 64 } }, scheme: W4A4 }',
} as const;

describe('quantize and export', function () {
  this.timeout(240_000);
  const folder = temporaryFolders();
  const rules = ['rules:', '  - layers: ["**.timestep_embedder.*", "proj_out_*", "pos_embed.proj"]', '    keep: original'];
  const settings = ['calibration: { trajectories: 1, steps: 2, rows: 64 }', 'preview: { classes: [3], steps: 3, compareSteps: 1, guidance: 2, mode: free }', ''];

  /** A model of its own with inputs for one pass, and a config beside it. */
  async function workplace(defaults: string): Promise<{ place: string; config: string; cache: string[] }> {
    const place = folder();
    cpSync(join(examples, 'glyph-dit'), join(place, 'model'), { recursive: true });
    const next = random(5);
    await writeSafetensors(join(place, 'inputs.safetensors'), {
      hidden_states: { shape: [1, 3, 16, 16], data: Float32Array.from({ length: 768 }, () => 2 * next() - 1) }, timestep: { shape: [1], data: Float32Array.of(400) }, class_labels: { shape: [1], data: Float32Array.of(3) },
    });
    return { place, config: writeConfig(place, 'q', './model', `defaults: ${defaults}`, ...rules), cache: ['--cache', join(place, 'cache')] };
  }
  function writeConfig(place: string, name: string, checkpoint: string, ...lines: string[]): string {
    const path = join(place, `${name}.quant.yaml`);
    writeFileSync(path, ['version: 1', `checkpoint: ${checkpoint}`, ...lines, ...settings].join('\n'));
    return path;
  }
  function forward(place: string, model: string, name: string, ...options: string[]): Buffer {
    const out = join(place, `${name}.out.safetensors`);
    json('forward', model, '--inputs', join(place, 'inputs.safetensors'), '--out', out, ...options);
    return readFileSync(out);
  }
  async function sampleOf(place: string, name: string): Promise<Float32Array> {
    const [sample] = (await openCheckpoint(join(place, `${name}.out.safetensors`))).tensors;
    assert.ok(sample);
    return (await readValues(sample)).data;
  }
  const picture = (at: string): Buffer => readFileSync(at);

  for (const [name, defaults] of Object.entries(methods)) {
    it(`${name}: the packed folder computes what the plan computes, byte for byte, and takes what is said`, async () => {
      const { place, config, cache } = await workplace(defaults);
      const out = join(place, 'packed');
      const written = json<WrittenCheckpoint>('quantize', config, '--out', out, ...cache);
      assert.deepEqual(written.files, [join(out, 'transformer/diffusion_pytorch_model.safetensors')]);
      assert.equal(written.bytes, statSync(written.files[0] ?? '').size);
      assert.deepEqual([readdirSync(out).sort(), readdirSync(place).filter((each) => each.endsWith('.tmp'))], [['model_index.json', 'scheduler', 'transformer'], []]);

      const plan = json<Plan>('plan', config, ...cache);
      const quantized = plan.layers.filter((layer) => layer.recipe.weights.kind !== 'keep');
      assert.deepEqual(written.layers.map((layer) => layer.name).sort(), quantized.map((layer) => layer.name).sort());
      const before = quantized.reduce((sum, layer) => sum + 2 * layer.params, 0);
      const taken = written.layers.reduce((sum, layer) => sum + layer.bytes, 0);
      if (name !== 'dirotq') { // a basis of its own for each of these small layers is as large as the layer
        assert.ok(taken <= 0.3 * before || name === 'svdquant' && taken <= 0.4 * before, `${taken} of ${before} bytes`);
      }
      for (const layer of written.layers) {
        // dirotq moves its errors to where the inputs of a short calibration have no energy.
        assert.ok(layer.relativeMse > 0 && layer.relativeMse < (name === 'dirotq' ? 2 : 0.05), `${layer.name} ${layer.relativeMse}`);
      }

      const inspected = json<{ layers: { name: string }[]; metadata: Record<string, string>; problems: { severity: string }[] }>('inspect', out);
      assert.deepEqual([inspected.metadata['version'], inspected.metadata['plan']], [(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version, plan.hash]);
      assert.deepEqual([inspected.layers.map((layer) => layer.name), inspected.problems.filter((problem) => problem.severity === 'error')], [plan.layers.map((layer) => layer.name), []]);
      const packed = writeConfig(place, 'packed', './packed');
      const again = json<Plan>('plan', packed, ...cache);
      assert.deepEqual(again.layers.map((layer) => layer.recipe), plan.layers.map((layer) => layer.recipe));
      assert.deepEqual([again.totals.baselineBytes, again.totals.otherBytes], [plan.totals.baselineBytes, plan.totals.otherBytes]);
      for (const { name: layer, bytes } of written.layers) {
        assert.equal(again.layers.find((each) => each.name === layer)?.packedBytes, bytes);
      }

      assert.ok(forward(place, join(place, 'model'), 'memory', '--config', config, ...cache).equals(forward(place, out, 'packed')), 'the same output');
      json('preview', config, '--out', join(place, 'pictures'), ...cache);
      json('preview', packed, '--out', join(place, 'pictures of packed'), ...cache);
      assert.ok(picture(join(place, 'pictures of packed/item0-reference.png')).equals(picture(join(place, 'pictures/item0-quantized.png'))), 'the same picture');
      assert.ok(!picture(join(place, 'pictures/item0-reference.png')).equals(picture(join(place, 'pictures/item0-quantized.png'))));
    });
  }

  it('a packed layer is not quantized once more, and an unread config says why', async () => {
    const { place, config, cache } = await workplace(methods.orbitquant);
    json('quantize', config, '--out', join(place, 'packed'), ...cache);
    const twice = writeConfig(place, 'twice', './packed', 'defaults: { method: rtn, scheme: W8A8 }', ...rules);
    const { code, err } = quantscope('quantize', twice, '--out', join(place, 'twice'), ...cache);
    assert.deepEqual([code, existsSync(join(place, 'twice'))], [2, false]);
    assert.match(err, /plan\/refused: These weights are packed already \(orbitquant, weights codebook 4 bit\) and cannot be quantized once more\. Name the original checkpoint, or keep them/);
  });

  it('export to bf16 is a plain checkpoint that computes what the plan computes, to the rounding of BF16; also from a packed one', async () => {
    const { place, config, cache } = await workplace('{ method: orbitquant, scheme: W4A16 }');
    const written = json<WrittenCheckpoint>('export', config, '--to', 'bf16', '--out', join(place, 'plain'), ...cache);
    assert.equal(written.form, 'bf16');
    const plain = await openCheckpoint(join(place, 'plain'));
    const original = await openCheckpoint(join(place, 'model'));
    assert.deepEqual(plain.tensors.map(({ name, shape }) => [name, shape]).sort(), original.tensors.map(({ name, shape }) => [name, shape]).sort());
    assert.equal(plain.config?.['quantization_config'], undefined);
    forward(place, join(place, 'model'), 'memory', '--config', config, ...cache);
    forward(place, join(place, 'model'), 'original');
    forward(place, join(place, 'plain'), 'plain');
    const [memory, exported, full] = [await sampleOf(place, 'memory'), await sampleOf(place, 'plain'), await sampleOf(place, 'original')];
    const [apart, quantized] = [relativeMse(exported, memory), relativeMse(memory, full)];
    assert.ok(apart < 1e-4 && apart > 0 && quantized > 20 * apart, `${apart} beside ${quantized}`);

    json('quantize', config, '--out', join(place, 'packed'), ...cache);
    const fromPacked = json<WrittenCheckpoint>('export', writeConfig(place, 'packed', './packed'), '--to', 'bf16', '--out', join(place, 'plain too'), ...cache);
    assert.ok(forward(place, join(place, 'plain too'), 'plain too').equals(readFileSync(join(place, 'plain.out.safetensors'))));
    assert.deepEqual(fromPacked.layers.map((layer) => layer.relativeMse), written.layers.map((layer) => layer.relativeMse));
  });

  it('never touches the source, nor a folder that holds something', async () => {
    const { place, config, cache } = await workplace(methods.orbitquant);
    const hash = (): string => readdirSync(join(place, 'model'), { recursive: true, encoding: 'utf8' }).sort().map((file) => join(place, 'model', file)).filter((path) => statSync(path).isFile())
      .reduce((sum, path) => sum.update(path).update(readFileSync(path)).update(String(statSync(path).mtimeMs)), createHash('sha256')).digest('hex');
    const before = hash();
    mkdirSync(join(place, 'empty'));
    json('quantize', config, '--out', join(place, 'empty'), ...cache);
    assert.ok(existsSync(join(place, 'empty/transformer')));
    for (const out of ['empty', 'model']) {
      const { code, err } = quantscope('quantize', config, '--out', join(place, out), ...cache);
      assert.deepEqual([code, /holds files already; nothing is overwritten\. Name a new folder/.test(err)], [2, true], err);
    }
    assert.equal(hash(), before);
  });

  for (const signal of ['SIGKILL', 'SIGINT'] as const) {
    it(`goes on where it ended after ${signal}: solved layers are not solved again, and nothing half-written bears the final name`, async () => {
      const { place, config, cache } = await workplace(methods.svdquant);
      const out = join(place, 'packed');
      const child = spawn(process.execPath, [program, 'quantize', config, '--out', out, '--quiet', ...cache], { stdio: 'ignore' });
      const ended = once(child, 'close') as Promise<[number | null]>;
      const layers = join(place, 'cache/layers');
      const solved = (): Map<string, number> => new Map((existsSync(layers) ? readdirSync(layers) : []).map((each) => join(layers, each, 'layer.json')).filter((path) => existsSync(path)).map((path) => [path, statSync(path).mtimeMs]));
      while (solved().size < 3 && child.exitCode === null) {
        await wait(10);
      }
      if (signal === 'SIGKILL') {
        kill(child.pid ?? 0);
      } else {
        child.kill('SIGINT');
      }
      const [code] = await ended;
      assert.equal(code, signal === 'SIGKILL' ? null : 130);
      assert.deepEqual(readdirSync(place).filter((each) => each.startsWith(basename(out))), []);
      const before = solved();
      const written = json<WrittenCheckpoint>('quantize', config, '--out', out, ...cache);
      const after = solved();
      assert.ok(before.size >= 3 && before.size < after.size, `${before.size} of ${after.size} layers were solved before`);
      before.forEach((time, path) => assert.equal(after.get(path), time));

      const unbroken = join(place, 'unbroken');
      json('quantize', config, '--out', unbroken, '--cache', 'none');
      assert.ok(readFileSync(written.files[0] ?? '').equals(readFileSync(join(unbroken, 'transformer/diffusion_pytorch_model.safetensors'))), 'the same file as in one go');
    });
  }

  it('other weights under the same name are quantized anew', async () => {
    const { place, config, cache } = await workplace('{ method: { name: rtn, weights: { group: 64 } }, scheme: W4A4 }');
    const [weights = ''] = readdirSync(join(place, 'model/transformer')).filter((each) => each.endsWith('.safetensors')).map((each) => join(place, 'model/transformer', each));
    const first = json<WrittenCheckpoint>('quantize', config, '--out', join(place, 'first'), ...cache);
    const { tensors } = await openCheckpoint(weights);
    await writeSafetensors(weights, Object.fromEntries(await Promise.all(tensors.map(async (tensor) => {
      const { shape, data } = await readValues(tensor);
      return [tensor.name, { shape, data: data.map((value, i) => value * (1 + (i % 3))) }] as const;
    }))));
    const second = json<WrittenCheckpoint>('quantize', config, '--out', join(place, 'second'), ...cache);
    assert.notDeepEqual(second.layers.map((layer) => layer.relativeMse), first.layers.map((layer) => layer.relativeMse));
    truncateSync(weights, statSync(weights).size - 1000);
    const { code } = quantscope('quantize', config, '--out', join(place, 'third'), ...cache);
    assert.deepEqual([code, existsSync(join(place, 'third'))], [2, false]);
  });
});

/** Checkpoints written with and without --fold compute the same, as a user writes and runs them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { decode } from 'fast-png';
import { openCheckpoint } from '../../server/src/checkpoint';
import { packedLayers } from '../../server/src/checkpoint/packed';
import { readValues, writeSafetensors } from '../../server/src/checkpoint/values';
import { relativeMse } from '../../server/src/preview/metrics';
import type { WrittenCheckpoint } from '../../server/src/quantize/checkpoint';
import { temporaryFolders } from '../fixtures/folder';
import { examples } from '../fixtures/plans';
import { random } from '../fixtures/random';

const root = resolve(__dirname, '../..');

function quantscope(...args: string[]): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'bin/quantscope.js'), ...args], { encoding: 'utf8', maxBuffer: 1 << 28 });
  return { code: status, out: stdout, err: stderr };
}

describe('quantize --fold and export --fold', function () {
  this.timeout(120_000);
  const folder = temporaryFolders();

  /** The bundled example, its weights in F32 when asked. */
  async function model(dtype: 'F32' | 'BF16'): Promise<string> {
    const place = folder();
    cpSync(join(examples, 'glyph-dit'), join(place, 'model'), { recursive: true });
    if (dtype === 'F32') {
      const { tensors } = await openCheckpoint(join(examples, 'glyph-dit'));
      await writeSafetensors(join(place, 'model/transformer/diffusion_pytorch_model.safetensors'), Object.fromEntries(await Promise.all(tensors.map(async (tensor) => [tensor.name, await readValues(tensor)] as const))));
    }
    const next = random(5);
    await writeSafetensors(join(place, 'inputs.safetensors'), {
      hidden_states: { shape: [1, 3, 16, 16], data: Float32Array.from({ length: 768 }, () => Math.sqrt(3) * (2 * next() - 1)) }, timestep: { shape: [1], data: Float32Array.of(400) }, class_labels: { shape: [1], data: Float32Array.of(3) },
    });
    return place;
  }

  function write(place: string, out: string, method: string, command: string[], ...options: string[]): WrittenCheckpoint {
    const config = join(place, 'q.quant.yaml');
    const kept = ['- layers: ["**.timestep_embedder.*", "proj_out_*", "pos_embed.proj"]', '  keep: original'];
    writeFileSync(config, ['version: 1', 'checkpoint: ./model', method, ...kept.map((line) => `  ${line}`), 'calibration: { trajectories: 1, steps: 3, rows: 64 }', 'preview: { classes: [3], steps: 6 }', ''].join('\n'));
    const { code, out: printed, err } = quantscope(...command, config, '--out', join(place, out), '--cache', join(place, 'cache'), '--json', ...options);
    assert.equal(code, 0, err);
    return JSON.parse(printed) as WrittenCheckpoint;
  }

  async function forward(place: string, name: string): Promise<Float32Array> {
    const out = join(place, `${name}.safetensors`);
    const { code, err } = quantscope('forward', join(place, name), '--inputs', join(place, 'inputs.safetensors'), '--out', out, '--cache', 'none');
    assert.equal(code, 0, err);
    const [sample] = (await openCheckpoint(out)).tensors;
    assert.ok(sample);
    return (await readValues(sample)).data;
  }

  const smoothquant = (scheme: string): string => `defaults: { method: smoothquant, scheme: ${scheme} }\nrules:`;
  /** Modulation and second feed-forward layers are not balanced in the paper. */
  const ptq4dit = ['defaults: { method: { name: ptq4dit, solver: { kind: rtn } }, scheme: W8A8 }', 'rules:', '  - layers: ["**.ff.net.2", "**.norm1.linear"]', '    method: { name: ptq4dit, smooth: false, solver: { kind: rtn } }'].join('\n');

  it('the same model without the factors of folded layers, in float32 to the rounding of scales', async () => {
    const place = await model('F32');
    const plain = write(place, 'plain', smoothquant('W8A16'), ['quantize']);
    const folded = write(place, 'folded', smoothquant('W8A16'), ['quantize'], '--fold');
    assert.equal(plain.fold, null);
    const { fold } = folded;
    assert.ok(fold);
    const moved = fold.folded.flatMap(({ layers }) => layers);
    assert.deepEqual([moved.length, fold.online.flatMap(({ layers }) => layers).length], [30, 12]);
    assert.deepEqual([...new Set(fold.online.map(({ reason }) => reason))].sort(), ['it comes behind GELU, which is not linear', 'it comes behind SiLU, which is not linear']);
    assert.deepEqual(fold.folded.map(({ rounding }) => rounding), fold.folded.map(() => 0), 'F32 rounds nothing');
    const widths = new Map((await openCheckpoint(join(place, 'model'))).layers.map(({ name, inFeatures }) => [name, inFeatures]));
    folded.layers.forEach(({ name, bytes }, i) => assert.equal((plain.layers[i]?.bytes ?? 0) - bytes, moved.includes(name) ? 4 * (widths.get(name) ?? NaN) : 0, name));
    assert.equal(packedLayers(await openCheckpoint(join(place, 'folded'))).get(moved[0] ?? '')?.linear.transforms.length, 0);

    const [original, a, b] = [await forward(place, 'model'), await forward(place, 'plain'), await forward(place, 'folded')];
    const [apart, lost] = [relativeMse(b, a), relativeMse(a, original)];
    assert.ok(lost > 1e-6 && apart < lost / 20, `folding changes ${apart}, quantizing ${lost}`);
  });

  it('PTQ4DiT leaves nothing online, and previews the same picture, packed and as BF16 weights', async () => {
    const place = await model('BF16');
    const pictures = (['plain', 'folded'] as const).map((name) => {
      const { fold } = write(place, name, ptq4dit, ['quantize'], ...(name === 'folded' ? ['--fold'] : []));
      if (fold) {
        assert.deepEqual(fold.online, []);
        assert.ok(fold.folded.every(({ rounding }) => rounding > 0 && rounding < 1e-5));
      }
      const config = join(place, `${name}.quant.yaml`);
      writeFileSync(config, `version: 1\ncheckpoint: ./${name}\npreview: { classes: [3], steps: 6, compareSteps: 3, mode: free }\n`);
      const { code, err } = quantscope('preview', config, '--out', join(place, `${name}-pictures`), '--cache', 'none');
      assert.equal(code, 0, err);
      return Array.from(decode(readFileSync(join(place, `${name}-pictures/item0-quantized.png`))).data);
    });
    const [a = [], b = []] = pictures;
    const off = Math.sqrt(a.reduce((sum, value, i) => sum + (value - (b[i] ?? NaN)) ** 2, 0) / a.length);
    assert.ok(new Set(a).size > 20 && off < 4, `${off} of 255 apart`);

    const exported = write(place, 'bf16', ptq4dit, ['export', '--to', 'bf16'], '--fold');
    assert.equal(exported.fold?.folded.length, 18);
    const [original, weights] = [await forward(place, 'model'), await forward(place, 'bf16')];
    assert.ok(relativeMse(weights, original) < 1e-4);
    assert.ok(existsSync(join(place, 'bf16/transformer/config.json')));
    const names = async (name: string): Promise<string[]> => (await openCheckpoint(join(place, name))).tensors.map((tensor) => tensor.name).sort();
    assert.deepEqual(await names('bf16'), await names('model'));
  });

  it('leaves smoothing behind a shift where it is, and refuses a checkpoint that is packed', async () => {
    const place = await model('BF16');
    const shifted = '  - layers: ["**.ff.net.0.proj"]\n    method: { name: smoothquant, activations: { shift: 3 } }';
    const { fold } = write(place, 'packed', `${smoothquant('W8A8')}\n${shifted}`, ['quantize'], '--fold');
    const online = fold?.online.find(({ reason }) => reason === 'its shift is added to the inputs before they are smoothed');
    assert.equal(online?.layers.length, 6);
    assert.ok(online.layers.every((layer) => layer.endsWith('.ff.net.0.proj')));
    const config = join(place, 'again.quant.yaml');
    writeFileSync(config, 'version: 1\ncheckpoint: ./packed\n');
    const { code, err } = quantscope('quantize', config, '--out', join(place, 'again'), '--fold', '--cache', 'none');
    assert.equal(code, 2);
    assert.match(err, /packed already, and codes cannot be rescaled\. Fold when the original is quantized/);
  });
});

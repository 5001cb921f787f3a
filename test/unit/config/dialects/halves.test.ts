/** FP4 weights whose halves of bytes are in the other order than their reader takes them, told from the signs of the original. */
import assert from 'node:assert/strict';
import { readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CheckpointStore } from '../../../../server/src/checkpoint';
import { encoders } from '../../../../server/src/checkpoint/values';
import { headerOf } from '../../../../server/src/config/dialects/headerFile';
import { loadDialects } from '../../../../server/src/config/dialects/load';
import { temporaryFolders } from '../../../fixtures/folder';
import { random } from '../../../fixtures/random';
import { safetensors } from '../../../fixtures/safetensors';
import type { TensorSpec } from '../../../fixtures/safetensors';
import { config, documentOf } from './support';

type Half = 'high' | 'low';
const levels = [0, 0.5, 1, 1.5, 2, 3, 4, 6];

/** Evenly in (-1, 1). */
function weights(rows: number, columns: number, seed: number): Float32Array {
  const next = random(seed);
  return Float32Array.from({ length: rows * columns }, () => 2 * next() - 1);
}

/** NVFP4's codes: in groups of 16 the largest value becomes 6, the others the nearest level, and bit 3 is the sign. */
function nvfp4(values: Float32Array, first: Half): Uint8Array {
  const codes = Array.from(values, (value, i) => {
    const start = i - (i % 16);
    const scale = Math.max(...values.subarray(start, start + 16).map(Math.abs)) / 6;
    const distances = levels.map((level) => Math.abs(Math.abs(value) / scale - level));
    return distances.indexOf(Math.min(...distances)) + (value < 0 ? 8 : 0);
  });
  return Uint8Array.from({ length: codes.length / 2 }, (_, i) => {
    const [even = 0, odd = 0] = codes.slice(2 * i, 2 * i + 2);
    return first === 'high' ? (even << 4) | odd : (odd << 4) | even;
  });
}

const [rows, columns] = [40, 64];
const scales: TensorSpec = { dtype: 'F8_E4M3', shape: [rows, columns / 16] };
const global: TensorSpec = { dtype: 'F32', shape: [] };

function packed(name: string, values: Float32Array, first: Half): Record<string, TensorSpec> {
  return { [name]: { dtype: 'U8', shape: [rows, columns / 2], data: nvfp4(values, first) }, [`${name.replace('_packed', '')}_scale`]: scales, [`${name.replace('_packed', '')}_scale_2`]: global };
}

describe('the order of the two weights in a byte', () => {
  const folder = temporaryFolders();
  const values = weights(rows, columns, 1);
  const original = (name = 'double_blocks.0.img_mlp.0', of = values, dtype: 'BF16' | 'F16' | 'F32' = 'BF16'): Buffer => safetensors({ [`${name}.weight`]: { dtype, shape: [rows, columns], data: encoders[dtype]?.(of) ?? new Uint8Array() } });

  const found = async (place: string, name: string, against: string, store = new CheckpointStore()): Promise<[severity: string, marked: string, message: string][]> => {
    const path = join(place, name);
    const text = name.endsWith('.safetensors') ? await headerOf(path, store) ?? '' : readFileSync(path, 'utf8');
    const [loaded] = await loadDialects(documentOf(text, basename(name)), path, store, join(place, against));
    return (loaded?.problems ?? []).filter(({ code }) => code === 'dialect/half-order').map(({ severity, range, message }) => [severity, range ? documentOf(text).getText(range) : '', message]);
  };
  const comfy = (first: Half, { name = 'model.diffusion_model.double_blocks.0.img_mlp.0', note = {}, of = values } = {}): Buffer =>
    safetensors(packed(`${name}.weight`, of, first), { _quantization_metadata: JSON.stringify({ format_version: '1.0', layers: { [name]: { format: 'nvfp4', ...note } } }) });

  it('of a file for ComfyUI is the high half first: dialect/half-order marks the layers of one with the low half first', async () => {
    const place = folder({ 'wrong.safetensors': comfy('low'), 'right.safetensors': comfy('high'), 'original.safetensors': original() });
    const [problem, ...more] = await found(place, 'wrong.safetensors', 'original.safetensors');
    assert.deepEqual([problem?.[0], problem?.[1], more], ['error', '"layers"', []]);
    assert.match(problem?.[2] ?? '', /ComfyUI reads them, with the first one in the high half\. So [45]\d % of the signs of "model\.diffusion_model\.double_blocks\.0\.img_mlp\.0\.weight".*in the low half 100 % are\./);
    assert.deepEqual(await found(place, 'right.safetensors', 'original.safetensors'), []);
  });

  it('of compressed-tensors and ModelOpt is the low half first', async () => {
    const section = config({ quant_method: 'compressed-tensors', format: 'nvfp4-pack-quantized', config_groups: { NVFP4: ['Linear'] } });
    const exported = JSON.stringify({ producer: { name: 'modelopt' }, quantization: { quant_algo: 'NVFP4', group_size: 16 } });
    for (const [name, text, weight, marked, tool] of [['config.json', section, 'proj.weight_packed', '"nvfp4-pack-quantized"', /than compressed-tensors reads/], ['hf_quant_config.json', exported, 'proj.weight', '"NVFP4"', /than ModelOpt reads/]] as const) {
      const place = folder({
        [`wrong/${name}`]: text, 'wrong/model.safetensors': safetensors(packed(weight, values, 'high')), [`right/${name}`]: text, 'right/model.safetensors': safetensors(packed(weight, values, 'low')),
        'original.safetensors': original('proj'),
      });
      const [problem] = await found(place, `wrong/${name}`, 'original.safetensors');
      assert.deepEqual([problem?.[0], problem?.[1]], ['error', marked]);
      assert.match(problem?.[2] ?? '', tool);
      assert.deepEqual(await found(place, `right/${name}`, 'original.safetensors'), []);
    }
  });

  it('is told from an original of any float type', async () => {
    for (const dtype of ['F16', 'F32'] as const) {
      const place = folder({ 'wrong.safetensors': comfy('low'), 'right.safetensors': comfy('high'), 'original.safetensors': original(undefined, undefined, dtype) });
      assert.equal((await found(place, 'wrong.safetensors', 'original.safetensors')).length, 1);
      assert.equal((await found(place, 'right.safetensors', 'original.safetensors')).length, 0);
    }
  });

  it('is not known for another model, for weights of one sign, rotated ones, other names and other shapes', async () => {
    const positive = values.map(Math.abs);
    const narrow = safetensors({ 'double_blocks.0.img_mlp.0.weight': { dtype: 'BF16', shape: [rows, 32] } });
    for (const [file, against] of [
      [comfy('low'), original(undefined, weights(rows, columns, 2))], [comfy('low', { of: positive }), original(undefined, positive)], [comfy('low', { note: { convrot: true, convrot_groupsize: 64 } }), original()],
      [comfy('low'), original('transformer_blocks.0.ff.net.0.proj')], [comfy('low'), narrow],
    ] as const) {
      assert.deepEqual(await found(folder({ 'file.safetensors': file, 'original.safetensors': against }), 'file.safetensors', 'original.safetensors'), []);
    }
  });

  it('is read again when a file has changed, and only then', async () => {
    const place = folder({ 'file.safetensors': comfy('low'), 'original.safetensors': original() });
    const store = new CheckpointStore();
    const look = async (): Promise<number> => (await found(place, 'file.safetensors', 'original.safetensors', store)).length;
    const [file, { atime, mtime }] = [join(place, 'file.safetensors'), { atime: new Date(1e12), mtime: new Date(1e12) }];
    utimesSync(file, atime, mtime);
    assert.equal(await look(), 1);
    // The same size and time: what was found before still holds.
    writeFileSync(file, comfy('high'));
    utimesSync(file, atime, mtime);
    assert.equal(await look(), 1);
    utimesSync(file, atime, new Date(2e12));
    assert.equal(await look(), 0);
  });

  it('is no concern of a header that is checked against its own file', async () => {
    assert.deepEqual(await found(folder({ 'file.safetensors': comfy('low') }), 'file.safetensors', 'file.safetensors'), []);
  });
});

describe('the header of a file for ComfyUI', () => {
  const folder = temporaryFolders();

  it('is about the tensors of its own file, whatever its layers are counted on', async () => {
    const name = 'double_blocks.0.img_mlp.0';
    const values = weights(rows, columns, 1);
    const header = JSON.stringify({ format_version: '1.0', layers: { [name]: { format: 'float8_e4m3fn' } } });
    const place = folder({ 'file.safetensors': safetensors(packed(`${name}.weight`, values, 'high'), { _quantization_metadata: header }), 'original.safetensors': safetensors({ 'other.weight': { dtype: 'BF16', shape: [rows, columns] } }) });
    const [loaded] = await loadDialects(documentOf(header, 'file.safetensors'), join(place, 'file.safetensors'), new CheckpointStore(), join(place, 'original.safetensors'));
    assert.deepEqual(loaded?.problems.map(({ code }) => code), ['comfy/storage']);
  });
});

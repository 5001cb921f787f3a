import assert from 'node:assert/strict';
import { join } from 'node:path';
import { openCheckpoint } from '../../../server/src/checkpoint';
import { encoders, readValues } from '../../../server/src/checkpoint/values';
import { writeCheckpoint } from '../../../server/src/checkpoint/writer';
import type { Checkpoint, Dtype } from '../../../server/src/protocol';
import type { Edit, Fold } from '../../../server/src/quantize/fold';
import { writeRescaled } from '../../../server/src/quantize/folding';
import { temporaryFolders } from '../../fixtures/folder';
import { random } from '../../fixtures/random';

describe('writeRescaled', () => {
  const folder = temporaryFolders();

  async function checkpoint(place: string, name: string, dtype: Dtype, shape: number[], values: Float32Array): Promise<Checkpoint> {
    const bytes = encoders[dtype]?.(values) ?? new Uint8Array();
    const chunks = async function* (): AsyncIterable<Uint8Array> { yield await Promise.resolve(bytes); };
    await writeCheckpoint(place, 'model', [{ name, dtype, shape, bytes: bytes.length, source: { chunks } }]);
    return openCheckpoint(join(place, 'model.safetensors'));
  }
  const fold = (...edits: Edit[]): Fold[] => [{ layers: [], values: new Float32Array(), edits }];
  const uniform = (length: number, seed: number): Float32Array => {
    const next = random(seed);
    return Float32Array.from({ length }, () => 2 * next() - 1);
  };

  it('rows of a matrix that is read in parts, and no other rows; columns of a layer that is smoothed before', async () => {
    const [rows, width] = [2100, 1001];
    const values = uniform(rows * width, 1);
    const source = await checkpoint(folder(), 'm.weight', 'F32', [rows, width], values);
    const [first, second] = [uniform(60, 2), uniform(30, 3)];
    const { tensors, rounding } = await writeRescaled(source, fold({ tensor: 'm.weight', start: 1020, values: first, offset: 0 }, { tensor: 'm.weight', start: 2070, values: second, offset: 0 }), folder());
    const tensor = tensors.get('m.weight');
    assert.ok(tensor);
    const factor = (row: number): number => first[row - 1020] ?? second[row - 2070] ?? 1;
    const { data } = await readValues(tensor);
    assert.ok(data.every((value, i) => value === Math.fround((values[i] ?? NaN) * factor(Math.floor(i / width)))));
    assert.deepEqual([tensor.dtype, tensor.shape, rounding.get('m.weight')], ['F32', [rows, width], 0]);

    const columns = uniform(width, 6).map((value) => value + 1.5);
    const both = (await writeRescaled(source, [{ layers: ['m'], values: columns, edits: [] }, ...fold({ tensor: 'm.weight', start: 1020, values: first, offset: 0 })], folder())).tensors.get('m.weight');
    assert.ok(both);
    const divided = (await readValues(both)).data;
    assert.ok(divided.every((value, i) => Math.abs(value - (values[i] ?? NaN) * (first[Math.floor(i / width) - 1020] ?? 1) / (columns[i % width] ?? NaN)) <= 2e-7 * Math.abs(value)));
  });

  it('matrices keep their type and tell its rounding; vectors become F32', async () => {
    const values = uniform(64 * 16, 4);
    const place = folder();
    const edit = { tensor: 'm.weight', start: 0, values: uniform(64, 5).map((value) => value + 1.5), offset: 0 };
    const { tensors, rounding } = await writeRescaled(await checkpoint(place, 'm.weight', 'BF16', [64, 16], values), fold(edit), place);
    assert.equal(tensors.get('m.weight')?.dtype, 'BF16');
    const relative = rounding.get('m.weight') ?? 0;
    assert.ok(relative > 5e-7 && relative < 2 ** -16, `8 bits of mantissa round by ${relative}`);

    const norm = folder();
    const changed = await writeRescaled(await checkpoint(norm, 'norm.weight', 'BF16', [4], Float32Array.of(1, 2, 0.5, -1)), fold({ tensor: 'norm.weight', start: 0, values: Float32Array.of(0.1, 3, 1, 7), offset: 0 }), norm);
    const vector = changed.tensors.get('norm.weight');
    assert.ok(vector);
    assert.deepEqual([vector.dtype, ...(await readValues(vector)).data], ['F32', Math.fround(0.1), 6, 0.5, -7]);
  });

  it('the bias of a scale takes B − 1, and starts from zeros where there is none', async () => {
    const place = folder();
    const edits = [{ tensor: 'm.weight', start: 1, values: Float32Array.of(2, 0.25), offset: 0 }, { tensor: 'm.bias', start: 1, values: Float32Array.of(2, 0.25), offset: 1 }];
    const { tensors } = await writeRescaled(await checkpoint(place, 'm.weight', 'F16', [3, 1], Float32Array.of(1, 1, 1)), fold(...edits), place);
    const values = await Promise.all(['m.weight', 'm.bias'].map(async (name) => {
      const tensor = tensors.get(name);
      assert.ok(tensor);
      return [...(await readValues(tensor)).data];
    }));
    assert.deepEqual(values, [[1, 2, 0.25], [0, 1, -0.75]]);
  });

  it('refuses values that the type cannot hold', async () => {
    const place = folder();
    const source = await checkpoint(place, 'm.weight', 'F16', [2, 2], Float32Array.of(1, 2, 30000, 4));
    await assert.rejects(writeRescaled(source, fold({ tensor: 'm.weight', start: 1, values: Float32Array.of(3), offset: 0 }), place), /"m.weight" would hold 90000 after folding, more than F16 can\. Quantize without --fold/);
  });
});

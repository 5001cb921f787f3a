import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openCheckpoint } from '../../../server/src/checkpoint';
import { readValues } from '../../../server/src/checkpoint/values';
import { writeCheckpoint } from '../../../server/src/checkpoint/writer';
import type { OutputTensor } from '../../../server/src/checkpoint/writer';
import { temporaryFolders } from '../../fixtures/folder';

describe('writing checkpoints', () => {
  const folderWith = temporaryFolders();
  const inMemory = (name: string, values: number[]): OutputTensor => {
    const data = Float32Array.from(values);
    return { name, dtype: 'F32', shape: [values.length], bytes: data.byteLength, source: { async *chunks() { yield Buffer.from(data.buffer); } } };
  };
  const valuesIn = async (path: string): Promise<Record<string, readonly number[]>> => {
    const { tensors } = await openCheckpoint(path);
    return Object.fromEntries(await Promise.all(tensors.map(async (tensor) => [tensor.name, [...(await readValues(tensor)).data]] as const)));
  };

  it('one file, with tensors from memory and from another file', async () => {
    const folder = folderWith();
    await writeCheckpoint(folder, 'first', [inMemory('a', [1, 2, 3]), inMemory('b', [4])], { metadata: (names) => ({ names: names.join(' ') }) });
    const first = await openCheckpoint(join(folder, 'first.safetensors'));
    const copied = first.tensors.map(({ name, dtype, shape, bytes, file, offset }) => ({ name: `copy.${name}`, dtype, shape, bytes, source: { file, offset } }));
    const { files, bytes } = await writeCheckpoint(folder, 'second', [inMemory('c', [5, 6]), ...copied]);
    assert.deepEqual(await valuesIn(files[0] ?? ''), { 'c': [5, 6], 'copy.a': [1, 2, 3], 'copy.b': [4] });
    assert.equal(bytes % 4, 0);
    assert.deepEqual(readdirSync(folder).sort(), ['first.safetensors', 'second.safetensors']);
  });

  it('shards with an index that opens as one checkpoint', async () => {
    const folder = folderWith();
    const { files } = await writeCheckpoint(folder, 'model', [inMemory('a', [1, 2, 3]), inMemory('b', [4, 5]), inMemory('c', [6])], { maxShardBytes: 12 });
    assert.deepEqual(files.map((file) => file.slice(folder.length + 1)), ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']);
    assert.deepEqual(await valuesIn(join(folder, 'model.safetensors.index.json')), { a: [1, 2, 3], b: [4, 5], c: [6] });
  });

  it('a source that ends early leaves no file behind and says which tensor', async () => {
    const folder = folderWith();
    writeFileSync(join(folder, 'short'), Buffer.alloc(10));
    await assert.rejects(writeCheckpoint(folder, 'model', [inMemory('a', [1]), { name: 'b', dtype: 'F32', shape: [8], bytes: 32, source: { file: join(folder, 'short'), offset: 0 } }]), /"b" ends 22 bytes too early/);
    await assert.rejects(writeCheckpoint(folder, 'model', [{ ...inMemory('a', [1]), bytes: 8, shape: [2] }]), /"a" should hold 8 bytes, but 4 came/);
    assert.deepEqual(readdirSync(folder), ['short']);
  });

  it('can be stopped between chunks', async () => {
    const folder = folderWith();
    await assert.rejects(writeCheckpoint(folder, 'model', [inMemory('a', [1])], { check: () => { throw new Error('stopped'); } }), /stopped/);
    assert.deepEqual(readdirSync(folder), []);
  });
});

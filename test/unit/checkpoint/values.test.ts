import assert from 'node:assert/strict';
import { join } from 'node:path';
import { openCheckpoint } from '../../../server/src/checkpoint';
import { castChunks, readValues } from '../../../server/src/checkpoint/values';
import { writeCheckpoint } from '../../../server/src/checkpoint/writer';
import type { Dtype } from '../../../server/src/protocol';
import { temporaryFolders } from '../../fixtures/folder';

describe('casting stored values', () => {
  const folderWith = temporaryFolders();

  async function cast(values: Float32Array, dtype: Dtype): Promise<Uint16Array> {
    const folder = folderWith();
    const { files: [file = ''] } = await writeCheckpoint(folder, 'x', [{ name: 'x', dtype: 'F32', shape: [values.length], bytes: values.byteLength, source: { async *chunks() { yield new Uint8Array(values.buffer); } } }]);
    const [tensor] = (await openCheckpoint(file)).tensors;
    const chunks: Uint8Array[] = [];
    for await (const chunk of castChunks(tensor as NonNullable<typeof tensor>, dtype)) {
      chunks.push(chunk);
    }
    const bytes = Buffer.concat(chunks);
    return new Uint16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  }

  async function decoded(bits: Uint16Array, dtype: Dtype): Promise<Float32Array> {
    const folder = folderWith();
    const { files: [file = ''] } = await writeCheckpoint(folder, 'x', [{ name: 'x', dtype, shape: [bits.length], bytes: bits.byteLength, source: { async *chunks() { yield new Uint8Array(bits.buffer); } } }]);
    const [tensor] = (await openCheckpoint(join(file))).tensors;
    return (await readValues(tensor as NonNullable<typeof tensor>)).data;
  }

  for (const dtype of ['F16', 'BF16'] as const) {
    it(`every ${dtype} survives, and values between two of them go to the nearer, ties to even`, async () => {
      const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
      const values = await decoded(all, dtype);
      const again = await decoded(await cast(values, dtype), dtype);
      values.forEach((value, i) => assert.ok(Object.is(again[i], value), `${i}: ${value} came back as ${again[i]}`));
      const top = dtype === 'F16' ? 0x7bff : 0x7f7f;
      const between = Float32Array.from({ length: top }, (_, i) => ((values[i] ?? 0) + (values[i + 1] ?? 0)) / 2);
      const rounded = await cast(between, dtype);
      rounded.forEach((bits, i) => assert.equal(bits, i % 2 === 0 ? i : i + 1));
    }).timeout(60_000);
  }

  it('refuses types it cannot write', async () => {
    await assert.rejects(cast(Float32Array.of(1), 'F8_E4M3'), /cannot be stored as F8_E4M3/);
  });
});

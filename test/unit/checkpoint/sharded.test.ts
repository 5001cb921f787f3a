import assert from 'node:assert/strict';
import { mkdirSync, renameSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { Files } from '../../../server/src/checkpoint/files';
import type { Header } from '../../../server/src/checkpoint/safetensors';
import { parseIndex, readSharded } from '../../../server/src/checkpoint/sharded';
import type { Problem } from '../../../server/src/protocol';
import { temporaryFolders } from '../../fixtures/folder';
import { safetensors } from '../../fixtures/safetensors';
import { rejectsWithProblem, throwsProblem } from './expect';

const INDEX = 'm.safetensors.index.json';
const shard = (...names: string[]): Buffer => safetensors(Object.fromEntries(names.map(name => [name, { dtype: 'F32', shape: [2, 2] }])), { format: names[0] ?? '' });
const index = (weightMap: Record<string, string>, totalSize?: number): string => JSON.stringify({ metadata: { total_size: totalSize }, weight_map: weightMap });

function open(folder: string): Promise<Header & { problems: Problem[] }> {
  return readSharded(join(folder, INDEX), new Files());
}

describe('sharded checkpoints', () => {
  const makeFolder = temporaryFolders();

  it('joins the shards, sorted by file and offset', async () => {
    const folder = makeFolder({ [INDEX]: index({ c: '2.st', a: '1.st', b: '2.st' }, 48), '1.st': shard('a'), '2.st': shard('c', 'b') });
    const { tensors, metadata, problems } = await open(folder);
    assert.deepEqual(tensors.map(tensor => [tensor.name, tensor.file]), [['a', join(folder, '1.st')], ['c', join(folder, '2.st')], ['b', join(folder, '2.st')]]);
    assert.deepEqual(metadata, { format: 'a' }, 'the first shard counts');
    assert.deepEqual(problems, []);
  });

  const hostile = [
    '../../etc/passwd', '/etc/passwd', 'sub/../../x', '..', '..\\x', 'C:\\x', 'C:x', '\\\\server\\share', 'a\0b', 'a\nb', '',
  ];
  for (const name of hostile) {
    it(`refuses the shard name ${JSON.stringify(name)} without a look at it`, async () => {
      const folder = makeFolder({ [INDEX]: index({ a: name }) });
      await rejectsWithProblem(open(folder), 'checkpoint/shard-path', /leads out of the folder of the index/);
    });
  }

  it('refuses a link that leads out of the folder', async () => {
    const outside = makeFolder({ 'secret.st': shard('a') });
    const folder = makeFolder({ [INDEX]: index({ a: '1.st' }), '2/x': '' });
    symlinkSync(join(outside, 'secret.st'), join(folder, '1.st'));
    await rejectsWithProblem(open(folder), 'checkpoint/shard-path', /"1\.st" is a link that leads out/);
  });

  it('refuses a file behind a linked folder', async () => {
    const outside = makeFolder({ 'secret.st': shard('a') });
    const folder = makeFolder({ [INDEX]: index({ a: 'sub/secret.st' }) });
    symlinkSync(outside, join(folder, 'sub'));
    await rejectsWithProblem(open(folder), 'checkpoint/shard-path');
  });

  it('opens a Hugging Face cache, where index and shards are links into one folder of blobs', async () => {
    const folder = makeFolder({ 'blobs/1f': index({ a: '1.st' }), 'blobs/2e': shard('a') });
    mkdirSync(join(folder, 'snapshot'));
    symlinkSync('../blobs/1f', join(folder, 'snapshot', INDEX));
    symlinkSync('../blobs/2e', join(folder, 'snapshot/1.st'));
    const { tensors } = await open(join(folder, 'snapshot'));
    assert.equal(tensors[0]?.file, join(folder, 'snapshot/1.st'));
  });

  it('names the shards that are missing', async () => {
    const folder = makeFolder({ [INDEX]: index({ a: '1.st', b: '2.st', c: '3.st' }), '2.st': shard('b') });
    await rejectsWithProblem(open(folder), 'checkpoint/shard-missing', /2 shards of 3 not found: "1\.st", "3\.st"/);
  });

  it('names the shard that is damaged', async () => {
    const folder = makeFolder({ [INDEX]: index({ a: '1.st', b: '2.st' }), '1.st': shard('a'), '2.st': shard('b').subarray(0, -1) });
    await rejectsWithProblem(open(folder), 'checkpoint/truncated', /^2\.st: ends 1 byte too early/);
  });

  it('refuses a folder in place of a shard', async () => {
    await rejectsWithProblem(open(makeFolder({ [INDEX]: index({ a: '1.st' }), '1.st/x': '' })), 'checkpoint/not-a-file');
  });

  const disagreements: [title: string, files: Record<string, string | Uint8Array>, severity: string, code: string, message: RegExp, names: string][] = [
    ['a tensor in no shard', { [INDEX]: index({ a: '1.st', b: '1.st' }), '1.st': shard('a') }, 'error', 'checkpoint/shard-mismatch', /1 tensor \("b"\) listed in the index but found in no shard/, 'a'],
    ['a tensor not listed', { [INDEX]: index({ a: '1.st' }), '1.st': shard('a', 'b') }, 'warning', 'checkpoint/shard-mismatch', /1 tensor \("b"\) found in the shards but not listed/, 'ab'],
    ['a tensor elsewhere', { [INDEX]: index({ a: '1.st', b: '1.st', c: '2.st' }), '1.st': shard('a'), '2.st': shard('b', 'c') }, 'warning', 'checkpoint/shard-mismatch', /1 tensor \("b"\) in another shard/, 'abc'],
    ['a tensor in two shards', { [INDEX]: index({ a: '2.st', b: '1.st' }), '1.st': shard('b', 'a'), '2.st': shard('a') }, 'warning', 'checkpoint/shard-mismatch', /1 tensor \("a"\) found in more than one shard/, 'ba'],
    ['a wrong total size', { [INDEX]: index({ a: '1.st' }, 17), '1.st': shard('a') }, 'info', 'checkpoint/total-size', /17 bytes .* hold 16/, 'a'],
  ];
  for (const [title, files, severity, code, message, names] of disagreements) {
    it(`reports ${title}`, async () => {
      const { tensors, problems } = await open(makeFolder(files));
      assert.deepEqual(problems.map(problem => [problem.severity, problem.code]), [[severity, code]]);
      assert.match(problems[0]?.message ?? '', message);
      assert.equal(tensors.map(tensor => tensor.name).join(''), names);
    });
  }

  it('lets the index decide between two tensors of one name', async () => {
    const folder = makeFolder({ [INDEX]: index({ a: '2.st', b: '1.st' }), '1.st': shard('b', 'a'), '2.st': shard('a') });
    assert.equal((await open(folder)).tensors.find(tensor => tensor.name === 'a')?.file, join(folder, '2.st'));
  });

  it('refuses an index of another form', () => {
    const cases: [text: string, message: RegExp][] = [
      ['[]', /no "weight_map" object/], ['{}', /no "weight_map"/], ['{"weight_map":[]}', /no "weight_map"/], ['{"weight_map":null}', /no "weight_map"/],
      ['{"weight_map":{"a":1}}', /weight_map "a" is not a file name/], ['{"weight_map":{"a":"1","a":"2"}}', /byte 23: the key "a" stands twice/], ['', /byte 0/],
      ['{"weight_map":', /byte 14/],
    ];
    for (const [text, message] of cases) {
      throwsProblem(() => parseIndex(INDEX, Buffer.from(text)), 'checkpoint/index', message);
    }
    throwsProblem(() => parseIndex(INDEX, Buffer.from([0x7b, 0xff])), 'checkpoint/utf8', /byte 1 /);
  });

  it('takes metadata of any form', () => {
    for (const metadata of ['null', '[]', '"x"', '{"total_size":"1"}', '{"total_size":{"a":[]}}']) {
      assert.equal(parseIndex(INDEX, Buffer.from(`{"metadata":${metadata},"weight_map":{"__proto__":"1.st"}}`)).totalSize, null);
    }
    assert.deepEqual([...parseIndex(INDEX, Buffer.from('{"weight_map":{"__proto__":"1.st"}}')).weightMap], [['__proto__', '1.st']]);
  });

  it('bounds the number of shards', async () => {
    const many = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`t${i}`, `${i}.st`]));
    await rejectsWithProblem(open(makeFolder({ [INDEX]: index(many) })), 'checkpoint/index', /5,000 shards, above the limit of 4,096/);
  });

  it('follows a renamed folder', async () => {
    const folder = makeFolder({ [`old/${INDEX}`]: index({ a: '1.st' }), 'old/1.st': shard('a') });
    renameSync(join(folder, 'old'), join(folder, 'new'));
    assert.equal((await open(join(folder, 'new'))).tensors.length, 1);
  });
});

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CheckpointCode } from '../../../server/src/checkpoint/errors';
import { CheckpointStore, openCheckpoint } from '../../../server/src/checkpoint/index';
import { temporaryFolders } from '../../fixtures/folder';
import { rawSafetensors, safetensors } from '../../fixtures/safetensors';
import { writeSparseFlux } from '../../fixtures/sparse';
import { rejectsWithProblem } from './expect';

const example = join(__dirname, '../../../examples/glyph-dit');
const matrix = safetensors({ 'a.weight': { dtype: 'F32', shape: [2, 3] } });

describe('openCheckpoint', () => {
  const makeFolder = temporaryFolders();

  it('opens the example as pipeline, component and file', async () => {
    const weights = join(example, 'transformer/diffusion_pytorch_model.safetensors');
    const opened = await Promise.all([example, join(example, 'model_index.json'), join(example, 'transformer'), weights].map(openCheckpoint));
    assert.deepEqual(opened.map(checkpoint => checkpoint.kind), ['diffusers', 'diffusers', 'diffusers', 'safetensors']);
    for (const checkpoint of opened) {
      assert.equal(checkpoint.architecture, 'DiTTransformer2DModel');
      assert.deepEqual([checkpoint.tensors.length, checkpoint.layers.length], [120, 56]);
      assert.equal(checkpoint.config?.['num_layers'], 6);
      assert.deepEqual(checkpoint.metadata, { format: 'pt' });
      assert.deepEqual(checkpoint.problems, []);
      assert.equal((checkpoint.tensors.at(-1)?.offset ?? 0) + (checkpoint.tensors.at(-1)?.bytes ?? 0), statSync(weights).size);
    }
  });

  it('says of one part of nunchaku\'s older form what it is, as long as the other lies beside it', async () => {
    const parts = ['transformer_blocks.safetensors', 'unquantized_layers.safetensors'];
    const folder = makeFolder({ [parts[0] ?? '']: matrix, [parts[1] ?? '']: matrix, 'other.safetensors': matrix });
    const store = new CheckpointStore();
    const codes = async (name: string): Promise<string[]> => (await store.get(join(folder, name))).problems.map(({ code }) => code).filter(code => code === 'checkpoint/nunchaku-folder');
    assert.deepEqual(await Promise.all([...parts, 'other.safetensors'].map(codes)), [['checkpoint/nunchaku-folder'], ['checkpoint/nunchaku-folder'], []]);
    rmSync(join(folder, parts[0] ?? ''));
    assert.deepEqual(await codes(parts[1] ?? ''), []);
  });

  it('opens 24 GB of FLUX.1-dev in three shards', async () => {
    const folder = makeFolder();
    await writeSparseFlux(folder);
    const checkpoint = await openCheckpoint(folder);
    assert.equal(checkpoint.architecture, 'FluxTransformer2DModel');
    assert.deepEqual(checkpoint.problems, []);
    assert.equal(checkpoint.tensors.length, 1160);
    assert.equal(new Set(checkpoint.tensors.map(tensor => tensor.file)).size, 3);
    assert.equal(checkpoint.tensors.reduce((total, tensor) => total + tensor.bytes, 0), 2 * 11_901_408_320);
    assert.equal(checkpoint.layers.length, 504);
    assert.equal(checkpoint.layers.reduce((total, layer) => total + layer.params, 0), 11_898_322_944);
    const direct = await openCheckpoint(join(folder, 'transformer/diffusion_pytorch_model.safetensors.index.json'));
    assert.equal(direct.kind, 'sharded');
    assert.deepEqual(direct.layers, checkpoint.layers);
    assert.equal(JSON.stringify(JSON.parse(JSON.stringify(checkpoint))), JSON.stringify(checkpoint), 'plain data');
  });

  it('does not take a config.json that belongs to something else', async () => {
    const folder = makeFolder({ 'flux1-dev.safetensors': matrix, 'config.json': '{"_class_name":"T5"}' });
    assert.equal((await openCheckpoint(join(folder, 'flux1-dev.safetensors'))).config, null);
  });

  const bad: [title: string, content: Uint8Array, code: CheckpointCode][] = [
    ['an empty file', new Uint8Array(), 'checkpoint/empty'],
    ['8 random bytes', Buffer.from('9f3ac1d277e04b58', 'hex'), 'checkpoint/header-too-large'],
    ['a header of 2^63 bytes', rawSafetensors('{}', 0, 2n ** 63n), 'checkpoint/header-too-large'],
    ['a truncated tail', matrix.subarray(0, -5), 'checkpoint/truncated'],
    ['overlapping offsets', rawSafetensors('{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}', 3), 'checkpoint/offsets'],
    ['a header that is not UTF-8', rawSafetensors(Buffer.from('{"\xff":{}}', 'latin1')), 'checkpoint/utf8'],
    ['a shard named ../../etc/passwd', Buffer.from('{"weight_map":{"a":"../../etc/passwd"}}'), 'checkpoint/shard-path'],
  ];
  for (const [title, content, code] of bad) {
    it(`refuses ${title}`, async () => {
      const name = code === 'checkpoint/shard-path' ? 'm.safetensors.index.json' : 'm.safetensors';
      await rejectsWithProblem(openCheckpoint(join(makeFolder({ [name]: content }), name)), code, new RegExp(`^${name.replaceAll('.', '\\.')}: `));
    });
  }

  it('refuses what is no file, and paths that are not absolute', async () => {
    const folder = makeFolder();
    execFileSync('mkfifo', [join(folder, 'm.safetensors')]);
    await rejectsWithProblem(openCheckpoint(join(folder, 'm.safetensors')), 'checkpoint/not-a-file');
    await rejectsWithProblem(openCheckpoint('/dev/zero'), 'checkpoint/not-a-file');
    await rejectsWithProblem(openCheckpoint(join(folder, 'missing')), 'checkpoint/not-found');
    for (const path of ['', 'm.safetensors', './m.safetensors', '../m', '/a\0b']) {
      await rejectsWithProblem(openCheckpoint(path), 'checkpoint/relative-path', /is not an absolute path/);
    }
  });
});

describe('CheckpointStore', () => {
  const makeFolder = temporaryFolders();

  it('answers from memory while the files stay the same, and anew when they change', async () => {
    const folder = makeFolder({ 'm.safetensors': matrix });
    const path = join(folder, 'm.safetensors');
    const store = new CheckpointStore();
    const changed: string[] = [];
    store.onDidChange(each => changed.push(each));
    assert.equal(store.peek(path), undefined);
    const first = await store.get(path);
    assert.equal(await store.get(path), first);
    assert.equal(store.peek(path), first);
    assert.deepEqual(changed, []);
    writeFileSync(path, safetensors({ 'b.weight': { dtype: 'F32', shape: [4, 4] } }));
    const second = await store.get(path);
    assert.deepEqual(second.layers.map(layer => layer.name), ['b']);
    assert.notEqual(second.revision, first.revision);
    assert.deepEqual(changed, [path]);
    writeFileSync(path, '');
    await rejectsWithProblem(store.get(path), 'checkpoint/empty');
    assert.equal(store.peek(path), undefined);
    assert.deepEqual(changed, [path, path]);
  });

  it('takes a look of the last two seconds for good at a keystroke, until somebody says that something changed', async () => {
    const path = join(makeFolder({ 'm.safetensors': matrix }), 'm.safetensors');
    let now = 1000;
    const store = new CheckpointStore(8, () => now);
    const names = async (): Promise<string[]> => (await store.recent(path)).layers.map(layer => layer.name);
    const write = (name: string): void => writeFileSync(path, safetensors({ [`${name}.weight`]: { dtype: 'F32', shape: [4, 4] } }));
    assert.deepEqual(await names(), ['a']);
    write('b');
    now += 1999;
    assert.deepEqual(await names(), ['a']);
    now += 1;
    assert.deepEqual(await names(), ['b']);
    write('c');
    store.lookAgain();
    assert.deepEqual(await names(), ['c']);
    assert.deepEqual(await names(), ['c'], 'of a look in the moment of the change');
    write('d');
    assert.equal((await store.get(path)).layers[0]?.name, 'd');
    now += 1;
    assert.deepEqual(await names(), ['d']);
    store.invalidate();
    rmSync(path);
    await assert.rejects(store.recent(path), /not found/);
  });

  it('is not fooled by a look that began before the change', async () => {
    const path = join(makeFolder({ 'm.safetensors': matrix }), 'm.safetensors');
    let now = 1000;
    const store = new CheckpointStore(8, () => now);
    await store.get(path);
    const before = store.get(path);
    now += 5;
    store.lookAgain();
    await before;
    writeFileSync(path, safetensors({ 'b.weight': { dtype: 'F32', shape: [4, 4] } }));
    assert.equal((await store.recent(path)).layers[0]?.name, 'b');
  });

  it('notices a config.json and better weights that appear later', async () => {
    const folder = makeFolder({ 'diffusion_pytorch_model.fp16.safetensors': matrix });
    const store = new CheckpointStore();
    assert.equal((await store.get(folder)).config, null);
    writeFileSync(join(folder, 'config.json'), '{"_class_name":"X"}');
    assert.equal((await store.get(folder)).architecture, 'X');
    writeFileSync(join(folder, 'diffusion_pytorch_model.safetensors'), matrix);
    assert.equal((await store.get(folder)).tensors[0]?.file, join(folder, 'diffusion_pytorch_model.safetensors'));
  });

  it('notices that a link points elsewhere', async () => {
    const folder = makeFolder({ one: matrix, two: safetensors({ 'b.weight': { dtype: 'F32', shape: [2, 3] } }) });
    symlinkSync('one', join(folder, 'link'));
    const store = new CheckpointStore();
    assert.equal((await store.get(join(folder, 'link'))).layers[0]?.name, 'a');
    execFileSync('ln', ['-sfn', 'two', join(folder, 'link')]);
    assert.equal((await store.get(join(folder, 'link'))).layers[0]?.name, 'b');
  });

  it('reads once for concurrent calls, and does not keep failures', async () => {
    const folder = makeFolder({ 'm.safetensors': matrix });
    const store = new CheckpointStore();
    const [one, two] = await Promise.all([store.get(join(folder, 'm.safetensors')), store.get(join(folder, 'm.safetensors'))]);
    assert.equal(one, two);
    const late = join(folder, 'late.safetensors');
    await Promise.all([rejectsWithProblem(store.get(late), 'checkpoint/not-found'), rejectsWithProblem(store.get(late), 'checkpoint/not-found')]);
    writeFileSync(late, matrix);
    assert.equal((await store.get(late)).layers.length, 1);
  });

  it('keeps the most recently used', async () => {
    const folder = makeFolder({ a: matrix, b: matrix, c: matrix });
    const store = new CheckpointStore(2);
    const [a, b, c] = ['a', 'b', 'c'].map(name => join(folder, name)) as [string, string, string];
    await store.get(a);
    await store.get(b);
    await store.get(a);
    await store.get(c);
    assert.deepEqual([a, b, c].map(path => store.peek(path) !== undefined), [true, false, true]);
  });

  it('forgets on request, even while reading', async () => {
    const folder = makeFolder({ a: matrix, b: matrix });
    const store = new CheckpointStore();
    const changed: string[] = [];
    const stop = store.onDidChange(path => changed.push(path));
    const running = store.get(join(folder, 'a'));
    store.invalidate(join(folder, 'a'));
    assert.equal((await running).layers.length, 1);
    assert.equal(store.peek(join(folder, 'a')), undefined);
    await store.get(join(folder, 'a'));
    await store.get(join(folder, 'b'));
    store.invalidate();
    assert.deepEqual(changed, [join(folder, 'a'), join(folder, 'b')]);
    stop();
    await store.get(join(folder, 'a'));
    store.invalidate(join(folder, 'a'));
    assert.equal(changed.length, 2);
  });
});

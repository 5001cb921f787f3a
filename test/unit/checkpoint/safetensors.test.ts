import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CheckpointCode } from '../../../server/src/checkpoint/errors';
import type { Header } from '../../../server/src/checkpoint/safetensors';
import { dtypeBits, headerLength, MAX_HEADER_BYTES, parseHeader, readHeader } from '../../../server/src/checkpoint/safetensors';
import type { Dtype } from '../../../server/src/protocol';
import { publishedModel, tensorsOf } from '../../fixtures/architectures';
import { temporaryFolders } from '../../fixtures/folder';
import { headerOf, rawSafetensors, safetensors } from '../../fixtures/safetensors';
import { rejectsWithProblem, throwsProblem } from './expect';

function parse(bytes: Buffer, size = bytes.length): Header {
  const length = headerLength('m.safetensors', bytes, size);
  return parseHeader('m.safetensors', bytes.subarray(8, 8 + length), size);
}

/** One tensor of 4 bytes, with parts of its entry replaced. */
function one(entry: string, data = 4): Buffer {
  return rawSafetensors(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},${entry}}`, data);
}

describe('safetensors: valid files', () => {
  it('lists tensors by offset, with absolute positions', () => {
    const bytes = rawSafetensors('{"b":{"dtype":"F32","shape":[1,2],"data_offsets":[3,11]},"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}', 11);
    const start = bytes.length - 11;
    assert.deepEqual(parse(bytes).tensors, [
      { name: 'a', dtype: 'U8', shape: [3], file: 'm.safetensors', offset: start, bytes: 3 },
      { name: 'b', dtype: 'F32', shape: [1, 2], file: 'm.safetensors', offset: start + 3, bytes: 8 },
    ]);
  });

  it('knows every dtype and its width', () => {
    for (const [dtype, bits] of Object.entries(dtypeBits) as [Dtype, number][]) {
      assert.equal(parse(safetensors({ t: { dtype, shape: [2, 4] } })).tensors[0]?.bytes, bits, dtype);
    }
  });

  it('reads scalars, empty tensors, an empty file and metadata', () => {
    const header = parse(safetensors({ scalar: { dtype: 'F32', shape: [] }, none: { dtype: 'F32', shape: [0, 5] } }, { format: 'pt', 'ключ': '値\n' }));
    assert.deepEqual(header.tensors.map(tensor => [tensor.name, tensor.bytes]), [['scalar', 4], ['none', 0]]);
    assert.deepEqual(header.metadata, { format: 'pt', 'ключ': '値\n' });
    assert.deepEqual(parse(rawSafetensors('{}')), { tensors: [], metadata: {} });
  });

  it('accepts what the reference library accepts: white space, unknown fields, null metadata, field order', () => {
    const header = parse(rawSafetensors(' \n{"__metadata__":null,"a":{"extra":[{"x":[1.5e3,true]}],"data_offsets":[0,1],"shape":[1],"dtype":"I8"}} \t\r\n', 1));
    assert.deepEqual(header.tensors.map(tensor => tensor.name), ['a']);
  });

  it('treats __proto__ as a name like any other', () => {
    const { tensors, metadata } = parse(rawSafetensors('{"__metadata__":{"__proto__":"x"},"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"constructor":1}}', 1));
    assert.equal(tensors[0]?.name, '__proto__');
    assert.deepEqual(Object.entries(metadata), [['__proto__', 'x']]);
    assert.equal(({} as Record<string, unknown>)['dtype'], undefined);
  });

  it('is not misled by a header length whose bytes look like a pickle', () => {
    const { text, dataBytes } = headerOf({ t: { dtype: 'U8', shape: [2] } });
    const bytes = rawSafetensors(text.padEnd(0x0280), dataBytes);
    assert.deepEqual([bytes[0], bytes[1]], [0x80, 0x02]);
    assert.equal(parse(bytes).tensors.length, 1);
  });

  it('resolves escapes in names', () => {
    assert.equal(parse(rawSafetensors(String.raw`{"\u0061\"\\\/é":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`)).tensors[0]?.name, 'a"\\/é');
  });
});

describe('safetensors: errors', () => {
  const cases: [title: string, bytes: Buffer, code: CheckpointCode, ...messages: RegExp[]][] = [
    ['empty file', Buffer.alloc(0), 'checkpoint/empty', /^m\.safetensors: holds no bytes.*download it again/],
    ['8 random bytes', Buffer.from('9f3ac1d277e04b58', 'hex'), 'checkpoint/header-too-large', /6362425703832566431/],
    ['header of 2^63', rawSafetensors('{}', 0, 2n ** 63n), 'checkpoint/header-too-large', /9223372036854775808 bytes; at most 100,000,000/],
    ['header one byte above the limit', rawSafetensors('{}', 0, BigInt(MAX_HEADER_BYTES + 1)), 'checkpoint/header-too-large'],
    ['fewer than 8 bytes', Buffer.from('abc'), 'checkpoint/truncated', /3 bytes/],
    ['header cut', safetensors({ t: { dtype: 'U8', shape: [4] } }).subarray(0, 20), 'checkpoint/truncated', /inside its header at byte 20, 41 bytes before/],
    ['data cut', safetensors({ t: { dtype: 'U8', shape: [4] } }).subarray(0, -3), 'checkpoint/truncated', /ends 3 bytes too early: 62 of 65/],
    ['trailing bytes', Buffer.concat([safetensors({ t: { dtype: 'U8', shape: [4] } }), Buffer.alloc(2)]), 'checkpoint/trailing-bytes', /2 bytes too many.*ends at byte 65/],
    ['data without tensors', rawSafetensors('{}', 1), 'checkpoint/trailing-bytes', /1 byte too many/],
    ['zero header length', rawSafetensors('', 100), 'checkpoint/json', /first 8 bytes are zero/],
    ['hole at the start', rawSafetensors('{"a":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}', 3), 'checkpoint/offsets', /hole of 2 bytes after the start/],
    ['hole', one('"b":{"dtype":"U8","shape":[1],"data_offsets":[6,7]}', 7), 'checkpoint/offsets', /tensor "b" at byte 1\d\d leaves a hole of 2 bytes after tensor "a"/],
    ['overlap', one('"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}', 6), 'checkpoint/offsets', /"b".*overlaps 2 bytes of tensor "a"/],
    ['shared bytes', one('"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}'), 'checkpoint/offsets', /overlaps 4 bytes/],
    ['end before begin', one('"b":{"dtype":"U8","shape":[0],"data_offsets":[4,3]}'), 'checkpoint/offsets', /\[4, 3\] is not \[begin, end\]/],
    ['one offset', one('"b":{"dtype":"U8","shape":[0],"data_offsets":[4]}'), 'checkpoint/offsets'],
    ['three offsets', one('"b":{"dtype":"U8","shape":[0],"data_offsets":[4,4,4]}'), 'checkpoint/offsets'],
    ['too few bytes', one('"b":{"dtype":"F32","shape":[2,3],"data_offsets":[4,8]}', 8), 'checkpoint/size-mismatch', /header, byte 61: tensor "b": F32 \[2, 3\] needs 24 bytes, but data_offsets \[4, 8\] hold 4 bytes/],
    ['half a byte', one('"b":{"dtype":"F4","shape":[3],"data_offsets":[4,5]}', 5), 'checkpoint/size-mismatch', /12 bits, no whole number of bytes/],
    ['product overflow', one('"b":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[4,4]}'), 'checkpoint/size-mismatch', /more than 2\^53 bits/],
    ['overflow before a zero', one('"b":{"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[4,4]}'), 'checkpoint/size-mismatch'],
    ['unknown dtype', one('"b":{"dtype":"F3","shape":[0],"data_offsets":[4,4]}'), 'checkpoint/dtype', /tensor "b": dtype "F3" is not one of BOOL/],
    ['dtype from the prototype', one('"b":{"dtype":"constructor","shape":[0],"data_offsets":[4,4]}'), 'checkpoint/dtype'],
    ['negative dimension', one('"b":{"dtype":"U8","shape":[-1],"data_offsets":[4,4]}'), 'checkpoint/shape', /"-1" is not a whole number/],
    ['fraction', one('"b":{"dtype":"U8","shape":[1.5],"data_offsets":[4,4]}'), 'checkpoint/shape', /"1\.5"/],
    ['exponent', one('"b":{"dtype":"U8","shape":[1e2],"data_offsets":[4,4]}'), 'checkpoint/shape', /"1e2"/],
    ['leading zero', one('"b":{"dtype":"U8","shape":[01],"data_offsets":[4,4]}'), 'checkpoint/shape'],
    ['2^53', one('"b":{"dtype":"U8","shape":[0],"data_offsets":[9007199254740992,9007199254740992]}'), 'checkpoint/shape', /9007199254740992/],
    ['a hundred digits', one(`"b":{"dtype":"U8","shape":[${'9'.repeat(100)}],"data_offsets":[4,4]}`), 'checkpoint/shape'],
    ['shape as text', one('"b":{"dtype":"U8","shape":"4","data_offsets":[4,4]}'), 'checkpoint/json', /"\[" is needed/],
    ['shape of texts', one('"b":{"dtype":"U8","shape":["4"],"data_offsets":[4,4]}'), 'checkpoint/shape'],
    ['dtype null', one('"b":{"dtype":null,"shape":[0],"data_offsets":[4,4]}'), 'checkpoint/json', /a string is needed, not "n"/],
    ['missing field', one('"b":{"dtype":"U8","shape":[4]}'), 'checkpoint/json', /one is missing/],
    ['field twice', one('"b":{"dtype":"U8","dtype":"I8","shape":[0],"data_offsets":[4,4]}'), 'checkpoint/duplicate', /tensor "b": the key "dtype" stands twice/],
    ['tensor twice, identical', one('"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}'), 'checkpoint/duplicate', /"a" stands twice/],
    ['tensor twice, one escaped', one(String.raw`"\u0061":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}`), 'checkpoint/duplicate'],
    ['tensor as array', one('"b":["U8",[0],[4,4]]'), 'checkpoint/json', /tensor "b": "\{" is needed/],
    ['not an object', rawSafetensors('[]'), 'checkpoint/json', /"\{" is needed, not "\["/],
    ['no JSON', rawSafetensors('hello'), 'checkpoint/json', /byte 8/],
    ['unfinished', rawSafetensors('{"a":'), 'checkpoint/json', /the text ends/],
    ['unfinished string', rawSafetensors('{"a'), 'checkpoint/json', /no closing quote/],
    ['trailing comma', rawSafetensors('{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},}'), 'checkpoint/json'],
    ['text after the object', rawSafetensors('{}{}'), 'checkpoint/json', /unexpected "\{" after the end/],
    ['NUL padding', rawSafetensors('{}\0\0'), 'checkpoint/json', /\\u0000/],
    ['byte order mark', rawSafetensors('\ufeff{}'), 'checkpoint/json', /\\ufeff/],
    ['raw control character', rawSafetensors('{"a\nb":{}}'), 'checkpoint/json', /control character/],
    ['bad escape', rawSafetensors(String.raw`{"\x41":{}}`), 'checkpoint/json', /escape/],
    ['lone surrogate', rawSafetensors(String.raw`{"\ud800":{}}`), 'checkpoint/json', /surrogate/],
    ['deep nesting', one(`"b":{"x":${'['.repeat(1_000_000)}`), 'checkpoint/json', /nested deeper than 64/],
    ['long name', one(`"${'n'.repeat(5000)}":{"dtype":"U8","shape":[0],"data_offsets":[4,4]}`), 'checkpoint/name', /5,000 characters/],
    ['control characters in a name', one(String.raw`"\u001b[31m\u202e":{"dtype":"F3","shape":[0],"data_offsets":[4,4]}`), 'checkpoint/dtype', /"\\u001b\[31m\\u202e"/],
    ['not UTF-8', rawSafetensors(Buffer.from('{"caf\xe9":{}}', 'latin1')), 'checkpoint/utf8', /byte 13 is not UTF-8/],
    ['not UTF-8 after a genuine replacement character', rawSafetensors(Buffer.concat([Buffer.from('{"\ufffd'), Buffer.from([0xff])])), 'checkpoint/utf8', /byte 13 /],
    ['overlong UTF-8', rawSafetensors(Buffer.from([0x7b, 0xc0, 0x80])), 'checkpoint/utf8', /byte 9 /],
    ['metadata with a number', rawSafetensors('{"__metadata__":{"step":1}}'), 'checkpoint/metadata', /"step" is not a string/],
    ['metadata with an object', rawSafetensors('{"__metadata__":{"a":{"b":"c"}}}'), 'checkpoint/metadata'],
    ['metadata as text', rawSafetensors('{"__metadata__":"x"}'), 'checkpoint/metadata', /not an object of strings/],
    ['git-lfs pointer', Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n'), 'checkpoint/lfs-pointer', /git lfs pull/],
    ['torch zip', Buffer.from('PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl', 'latin1'), 'checkpoint/zip', /save_file/],
    ['pickle', Buffer.from('\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.', 'latin1'), 'checkpoint/pickle', /run code/],
    ['GGUF', Buffer.from('GGUF\x03\x00\x00\x00\x01\x00', 'latin1'), 'checkpoint/gguf'],
    ['HTML', Buffer.from('<!DOCTYPE html><html>'), 'checkpoint/html', /login/],
    ['HTML in lower case, after a line break', Buffer.from('\n<html><body>403'), 'checkpoint/html'],
    ['XML error', Buffer.from('<?xml version="1.0"?><Error><Code>AccessDenied</Code>'), 'checkpoint/html'],
    ['JSON', Buffer.from('{"weight_map": {}}'), 'checkpoint/json', /plain JSON/],
  ];
  for (const [title, bytes, code, ...messages] of cases) {
    it(`${title} → ${code}`, () => throwsProblem(() => parse(bytes), code, ...messages));
  }

  it('tells how much of a 24 GB download is missing', () => {
    const { text, dataBytes } = headerOf(tensorsOf(publishedModel('FLUX.1-dev')));
    const head = rawSafetensors(text);
    throwsProblem(() => parse(head, head.length + dataBytes - 1_000_000_000), 'checkpoint/truncated', /ends 1,000,000,000 bytes too early/);
  });

  it('reads a header of 25 MB', function () {
    this.timeout(60_000);
    const count = 260_000;
    const entry = (i: number): string => `"model.layers.${i}.self_attention.q_proj.weight":{"dtype":"BF16","shape":[2,3],"data_offsets":[${i * 12},${i * 12 + 12}]}`;
    const text = `{${Array.from({ length: count }, (_, i) => entry(i)).join(',')}}`;
    assert.ok(text.length > 25_000_000, String(text.length));
    assert.equal(parse(rawSafetensors(text), 8 + text.length + count * 12).tensors.length, count);
  });
});

describe('safetensors: readHeader', () => {
  const makeFolder = temporaryFolders();

  it('reads headers shorter and longer than the first read alike', async () => {
    for (const count of [1, 20_000]) {
      const tensors = Object.fromEntries(Array.from({ length: count }, (_, i) => [`t${i}`, { dtype: 'U8' as Dtype, shape: [1] }]));
      const path = join(makeFolder({ 'm.safetensors': safetensors(tensors) }), 'm.safetensors');
      const { tensors: read } = await readHeader(path);
      assert.equal(read.length, count);
      assert.equal(read.at(-1)?.name, `t${count - 1}`);
      assert.equal(read[0]?.file, path);
    }
  });

  it('reads nothing but the header', async () => {
    const folder = makeFolder();
    const path = join(folder, 'm.safetensors');
    const header = '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}';
    writeFileSync(path, rawSafetensors(header, Buffer.from([0xff, 0xff])));
    assert.equal((await readHeader(path)).tensors[0]?.offset, 8 + header.length);
  });

  it('names the file in the error', async () => {
    const folder = makeFolder({ 'cut.safetensors': safetensors({ t: { dtype: 'F32', shape: [300, 300] } }).subarray(0, -1) });
    await rejectsWithProblem(readHeader(join(folder, 'cut.safetensors')), 'checkpoint/truncated', /^cut\.safetensors: ends 1 byte too early/);
  });
});

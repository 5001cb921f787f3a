import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CheckpointError, checkpointCodes, counted, escaped, grouped, problem, sample, visible } from '../../../server/src/checkpoint/errors';

describe('checkpoint problems', () => {
  it('every code of the table is used, and explained in a sentence', () => {
    const folder = join(__dirname, '../../../server/src/checkpoint');
    const sources = readdirSync(folder).filter(name => name !== 'errors.ts').map(name => readFileSync(join(folder, name), 'utf8')).join('\n');
    for (const [code, meaning] of Object.entries(checkpointCodes)) {
      assert.ok(sources.includes(`'${code}'`), `${code} is never reported`);
      assert.match(meaning, /^\S.+\.$/);
    }
  });

  it('name the file, whatever it is called', () => {
    assert.deepEqual(problem('checkpoint/empty', 'info', '/a/m.st', 'x'), { code: 'checkpoint/empty', severity: 'info', message: 'm.st: x', file: '/a/m.st' });
    assert.equal(new CheckpointError('checkpoint/empty', '/a/\u001b[2J', 'x').message, '\\u001b[2J: x');
    assert.equal(new CheckpointError('checkpoint/not-a-file', '/', 'x').message, '/: x');
  });

  it('show what would be invisible, and shorten what is long', () => {
    assert.equal(escaped('a\0\n\u007f\u202e\ud800é😀'), 'a\\u0000\\u000a\\u007f\\u202e\\ud800é😀');
    assert.equal(escaped('x'.repeat(121)), `${'x'.repeat(117)}…`);
    assert.equal(visible('x'.repeat(121)).length, 121);
    assert.equal(sample(['a', 'b', 'c', 'd', 'e']), '"a", "b", "c" and 2 more');
  });

  it('count in thousands', () => {
    assert.deepEqual([0, 999, 1000, 11_898_322_944].map(grouped), ['0', '999', '1,000', '11,898,322,944']);
    assert.deepEqual([counted(0, 'byte'), counted(1, 'byte'), counted(2, 'byte')], ['0 bytes', '1 byte', '2 bytes']);
  });
});

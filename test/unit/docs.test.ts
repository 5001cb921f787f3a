import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { checkpointCodes } from '../../server/src/checkpoint/errors';
import { configCodes } from '../../server/src/config/codes';
import { dialectCodes } from '../../server/src/config/dialects/codes';

const root = resolve(__dirname, '../..');

describe('generated documents', () => {
  it('repeat what the sources say', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--import=tsx', 'scripts/generate-docs.mjs', '--check'], { cwd: root, encoding: 'utf8' });
    assert.equal(stdout + stderr, '');
    assert.equal(status, 0);
  });

  it('give every problem code a heading, where diagnostics link to', () => {
    const headings = [...readFileSync(join(root, 'docs/problems.md'), 'utf8').matchAll(/^### (.*)$/gm)].map((match) => match[1]);
    assert.deepEqual(headings, [...Object.keys(configCodes), ...Object.keys(dialectCodes), ...Object.keys(checkpointCodes)]);
    const anchors = headings.map((heading) => heading?.replace('/', ''));
    assert.equal(new Set(anchors).size, anchors.length);
  });
});

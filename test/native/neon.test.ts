/** NEON's kernels, built for a processor that has it and run by an emulator where this one has not: the tests of native/test that every level has to pass. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

const program = resolve(__dirname, '../..', 'native/build-arm64/quantscope_kernel_tests');

describe('NEON kernels', function () {
  this.timeout(300_000);

  it('equal their scalar twins', () => {
    assert.ok(existsSync(program), `${program} is not there; "npm test native" builds it`);
    const [command = '', ...args] = process.arch === 'arm64' ? [program] : ['qemu-aarch64', program];
    const { status, stdout, error } = spawnSync(command, args, { encoding: 'utf8' });
    assert.equal(status, 0, error?.message ?? stdout);
    assert.match(stdout, /^\d+ passed, 0 failed$/m);
    // Both tables have the level, and every test of a level has run on it.
    const ran = (level: string): string[] => [...stdout.matchAll(new RegExp(`^ok +(\\w+\\.\\w+)/${level} `, 'gm'))].map((match) => match[1] ?? '');
    assert.deepEqual(ran('neon'), ran('scalar'));
    assert.deepEqual([...new Set(ran('neon').map((name) => name.split('.')[0]))], ['EachLevel', 'EachProductLevel']);
  });
});

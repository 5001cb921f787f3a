import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, renameSync, statSync, symlinkSync, truncateSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Files, readExactly } from '../../../server/src/checkpoint/files';
import { temporaryFolders } from '../../fixtures/folder';
import { rejectsWithProblem } from './expect';

describe('Files', () => {
  const makeFolder = temporaryFolders();

  it('refuses what is not a regular file, without waiting for it', async () => {
    const folder = makeFolder({ 'sub.safetensors/x': '' });
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    symlinkSync(join(folder, 'pipe'), join(folder, 'link'));
    const read = (name: string): Promise<Buffer> => new Files().readAll(join(folder, name), 100, 'checkpoint/config');
    await rejectsWithProblem(read('sub.safetensors'), 'checkpoint/not-a-file', /^sub\.safetensors: is a folder, not a file/);
    await rejectsWithProblem(read('pipe'), 'checkpoint/not-a-file', /is a pipe/);
    await rejectsWithProblem(read('link'), 'checkpoint/not-a-file', /is a pipe/);
    await rejectsWithProblem(new Files().readAll('/dev/zero', 100, 'checkpoint/config'), 'checkpoint/not-a-file', /is a device/);
  });

  it('explains what the operating system says', async () => {
    const folder = makeFolder({ file: 'x' });
    symlinkSync('loop', join(folder, 'loop'));
    const read = (name: string): Promise<Buffer> => new Files().readAll(join(folder, name), 100, 'checkpoint/config');
    await rejectsWithProblem(read('missing'), 'checkpoint/not-found', /^missing: not found \(.+missing\)/);
    await rejectsWithProblem(read('file/below'), 'checkpoint/not-found');
    await rejectsWithProblem(read('loop'), 'checkpoint/io', /ELOOP/);
    await rejectsWithProblem(read('n'.repeat(300)), 'checkpoint/io', /ENAMETOOLONG/);
    await rejectsWithProblem(new Files().list(join(folder, 'missing')), 'checkpoint/not-found');
  });

  it('bounds what it reads', async () => {
    const path = join(makeFolder({ big: '12345' }), 'big');
    assert.equal((await new Files().readAll(path, 5, 'checkpoint/index')).toString(), '12345');
    await rejectsWithProblem(new Files().readAll(path, 4, 'checkpoint/index'), 'checkpoint/index', /5 bytes, above the limit of 4/);
  });

  it('notices a file that shrinks while it is read', async () => {
    const path = join(makeFolder({ file: '1234567890' }), 'file');
    const work = new Files().withFile(path, (handle, size) => {
      truncateSync(path, 4);
      return readExactly(path, handle, 0, size);
    });
    await rejectsWithProblem(work, 'checkpoint/truncated', /became shorter while it was read, at byte 4/);
  });

  it('does not blame the file for a mistake of the program', async () => {
    const path = join(makeFolder({ file: '' }), 'file');
    const work = new Files().withFile(path, () => Promise.reject(new TypeError('bug')));
    await assert.rejects(work, TypeError);
  });

  it('sees every change: content, time, replacement, removal, appearance, a new neighbour', async () => {
    const changes: ((folder: string) => void)[] = [
      folder => { appendFileSync(join(folder, 'a'), 'x'); },
      folder => { utimesSync(join(folder, 'a'), 1, 1); },
      folder => { writeFileSync(join(folder, 'b'), '1'); utimesSync(join(folder, 'b'), 5, 5); renameSync(join(folder, 'b'), join(folder, 'a')); },
      folder => { unlinkSync(join(folder, 'a')); },
      folder => { writeFileSync(join(folder, 'absent'), ''); },
    ];
    for (const change of changes) {
      const folder = makeFolder({ a: '1' });
      utimesSync(join(folder, 'a'), 5, 5);
      const look = async (): Promise<Files> => {
        const files = new Files();
        await files.exists(join(folder, 'absent'));
        await files.readAll(join(folder, 'a'), 100, 'checkpoint/config').catch(() => null);
        return files;
      };
      const before = await look();
      assert.ok(await before.unchanged());
      assert.equal((await look()).revision(), before.revision());
      change(folder);
      assert.ok(!(await before.unchanged()), String(change));
      assert.notEqual((await look()).revision(), before.revision(), String(change));
    }
  });

  it('looks again, but finds the same revision, when a file appears beside', async () => {
    const folder = makeFolder({ a: '1' });
    const files = new Files();
    await files.list(folder);
    const revision = files.revision();
    const { mtime } = statSync(folder);
    writeFileSync(join(folder, 'report.html'), '');
    utimesSync(folder, mtime, mtime);
    assert.ok(!(await files.unchanged()), 'seen although the folder\'s mtime is the same');
    assert.equal(files.revision(), revision);
  });
});

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findFiles, findLimits, readText } from '../../server/src/workspaceFiles';
import { temporaryFolders } from '../fixtures/folder';

const yaml = (name: string): boolean => name.endsWith('.yaml');
const never = (): boolean => false;

describe('files of a workspace', () => {
  const folder = temporaryFolders();

  it('are found by name, in order, but not in hidden folders or node_modules', async () => {
    const root = folder({ 'b.yaml': '', 'a.txt': '', 'deep/er/c.yaml': '', '.git/d.yaml': '', 'deep/.cache/e.yaml': '', 'node_modules/x/f.yaml': '', 'g.yaml/h.txt': '' });
    assert.deepEqual(await findFiles([root], yaml, never), { paths: [join(root, 'b.yaml'), join(root, 'deep/er/c.yaml')], complete: true });
  });

  it('are found once in folders that lie in each other, and in none that is not there', async () => {
    const root = folder({ 'in/a.yaml': '' });
    assert.deepEqual((await findFiles([root, join(root, 'in'), join(root, 'nowhere')], yaml, never)).paths, [join(root, 'in/a.yaml')]);
  });

  it('are found through links to files, never through links to folders, and no pipe is one', async () => {
    const root = folder({ 'x/a.yaml': '' });
    symlinkSync(root, join(root, 'x/loop'));
    symlinkSync(join(root, 'x/a.yaml'), join(root, 'link.yaml'));
    symlinkSync(join(root, 'gone'), join(root, 'dangling.yaml'));
    execFileSync('mkfifo', [join(root, 'pipe.yaml')]);
    assert.deepEqual((await findFiles([root], yaml, never)).paths, [join(root, 'link.yaml'), join(root, 'x/a.yaml')]);
  });

  it('stop at limits and when cancelled, and say so', async () => {
    const root = folder({ '1.yaml': '', '2.yaml': '', 'in/3.yaml': '', 'in/in/4.yaml': '' });
    const count = async (limits: Partial<typeof findLimits>): Promise<[number, boolean]> => {
      const { paths, complete } = await findFiles([root], yaml, never, { ...findLimits, ...limits });
      return [paths.length, complete];
    };
    assert.deepEqual([await count({}), await count({ files: 2 }), await count({ depth: 1 }), await count({ entries: 3 })], [[4, true], [2, false], [3, false], [2, false]]);
    assert.equal((await findFiles([root], yaml, () => true)).complete, false);
  });

  it('are read whole, again only when they changed, and never beyond a size', async () => {
    const root = folder({ 'a.yaml': 'a: 𝒳\n' });
    const path = join(root, 'a.yaml');
    const first = await readText(path, 100);
    assert.equal(first?.text, 'a: 𝒳\n');
    assert.deepEqual(await readText(path, 100, first.stamp), { stamp: first.stamp, text: undefined });
    writeFileSync(path, 'b: 1\n');
    utimesSync(path, 1, 1);
    assert.equal((await readText(path, 100, first.stamp))?.text, 'b: 1\n');
    assert.equal(await readText(path, 4), undefined);
  });

  it('are not read where there is none', async () => {
    const root = folder({});
    mkdirSync(join(root, 'd'));
    execFileSync('mkfifo', [join(root, 'p')]);
    assert.deepEqual(await Promise.all(['d', 'p', 'nowhere'].map((name) => readText(join(root, name), 100))), [undefined, undefined, undefined]);
  });
});

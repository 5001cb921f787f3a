import assert from 'node:assert/strict';
import { readdirSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { tidy } from '../../../server/src/cacheFolder';
import { temporaryFolders } from '../../fixtures/folder';

describe('cache folder', () => {
  const folder = temporaryFolders();

  /** File i is i + 1 minutes old and holds 10 bytes. */
  function aged(names: string[]): string {
    const place = folder(Object.fromEntries(names.map((name) => [name, '0123456789'])));
    names.forEach((name, i) => {
      const time = Date.now() / 1000 - 60 * (i + 1);
      utimesSync(join(place, name), time, time);
    });
    return place;
  }
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];

  it('stays as it is within its limits', async () => {
    const place = aged(names);
    await tidy(place, { files: 6, bytes: 60 });
    assert.deepEqual(readdirSync(place).sort(), names);
  });

  it('loses its oldest files beyond a limit, until half is free', async () => {
    for (const limits of [{ files: 5, bytes: 1000 }, { files: 100, bytes: 59 }]) {
      const place = aged(names);
      await tidy(place, limits);
      assert.deepEqual(readdirSync(place).sort(), limits.files === 5 ? ['a', 'b', 'c'] : ['a', 'b']);
    }
  });

  it('counts a folder with all that is in it, and takes it away as a whole once nobody has used it for an hour', async () => {
    const place = folder({ 'a/layer.json': '{}', 'a/sub/codes': '0'.repeat(50), 'b/layer.json': '{}', 'b/codes': '0'.repeat(50), 'c/layer.json': '{}' });
    const age = (name: string, hours: number): void => utimesSync(join(place, name), Date.now() / 1000 - 3600 * hours, Date.now() / 1000 - 3600 * hours);
    age('a', 3);
    age('b', 2);
    await tidy(place, { files: 10, bytes: 110 });
    assert.deepEqual(readdirSync(place).sort(), ['a', 'b', 'c'], 'within the limit');
    await tidy(place, { files: 10, bytes: 105 });
    assert.deepEqual(readdirSync(place).sort(), ['c'], 'half of the limit is free again');
    await tidy(place, { files: 0, bytes: 0 });
    assert.deepEqual(readdirSync(place).sort(), ['c'], 'however little there may be');
    await tidy(join(place, 'nothing'), { files: 1, bytes: 1 });
  });

  it('loses temporary files that no process can still be writing', async () => {
    const place = aged(['kept.json', 'young.tmp', 'old.tmp']);
    const time = Date.now() / 1000 - 2 * 3600;
    utimesSync(join(place, 'old.tmp'), time, time);
    utimesSync(join(place, 'kept.json'), time, time);
    await tidy(place, { files: 10, bytes: 1000 });
    assert.deepEqual(readdirSync(place).sort(), ['kept.json', 'young.tmp']);
  });
});

/** Where the parts of an installed QuantScope lie, seen from the bundles in dist/. */
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

/** dist/ of the installation, where every bundle is. */
export const distFolder = __dirname;
export const engineHostPath = join(distFolder, 'engine.js');

/** The packaged addon, else the one a developer built. */
export function addonPath(): string {
  const packaged = resolve(distFolder, '../native/quantscope.node');
  return existsSync(packaged) ? packaged : resolve(distFolder, '../native/build/quantscope.node');
}

/** Of the installed package. */
export function packageVersion(): string {
  return (JSON.parse(readFileSync(resolve(distFolder, '../package.json'), 'utf8')) as { version: string }).version;
}

/** For the command line; the editor names its own storage folder. */
export function userCacheFolder(): string {
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'quantscope');
}

/** Finds what is written of versions of Python packages around a file: installed ones, lock files, requirements. */
import { homedir } from 'node:os';
import { dirname, join, relative, sep } from 'node:path';
import { declaredBy, installedIn, known, lockedBy, namesIn, requiredBy } from './mentions';
import type { Mention, Shown } from './mentions';
import { both, either } from './allowed';
import type { Allowed, Packages } from './allowed';

const environments = ['.venv', 'venv', 'env'];
const limits = { levels: 6, constraints: 20 };
/** Of the parts of a project that are read here, for a client that watches files. Of what is installed the folder goes as a whole, and its metadata comes late. */
export const packageGlobs = ['**/{requirements,constraints}*.txt', '**/pyproject.toml', '**/{uv,poetry,pdm}.lock', ...['', '/METADATA'].map((inside) => `**/{${known.map((name) => name.replaceAll('-', '_')).join(',')}}-*.dist-info${inside}`)];

/** Of the nearest folder from that of the file upwards where something is said, no further than the repository or the home folder, whose environments are nobody's project. Nothing throws: what cannot be read says nothing. @param path absolute */
export async function packagesAround(path: string): Promise<Packages> {
  const origin = dirname(path);
  let folder = origin;
  for (let level = 0; level < limits.levels; level++) {
    const names = await namesIn(folder);
    const found = await packagesIn(folder, names, (file) => relative(origin, file).split(sep).join('/'));
    const above = dirname(folder);
    if (found.size > 0 || names.includes('.git') || above === folder || above === homedir()) {
      return found;
    }
    folder = above;
  }
  return new Map();
}

/** What is installed counts before what is locked, and that before what is required. Kinds of requirements hold together; files of one kind are for one environment each. @param shown a file as messages name it */
async function packagesIn(folder: string, names: readonly string[], shown: Shown): Promise<Packages> {
  const files = (pattern: RegExp): string[] => names.filter((name) => pattern.test(name)).sort().map((name) => join(folder, name));
  const installed = united((await Promise.all(environments.filter((name) => names.includes(name)).map((name) => installedIn(join(folder, name), shown)))).flat());
  const locked = united((await Promise.all(files(/^(?:uv|poetry|pdm)\.lock$/).map((file) => lockedBy(file, shown)))).flat());
  const required = await Promise.all(files(/^requirements.*\.txt$/).map((file) => requiredBy(file, folder, shown)));
  const limiting = [...new Set([...files(/^constraints.*\.txt$/), ...required.flatMap(({ constraints }) => constraints)])].slice(0, limits.constraints);
  const constrained = await Promise.all(limiting.map((file) => requiredBy(file, folder, shown)));
  const declared = united((await Promise.all(files(/^pyproject\.toml$/).map((file) => declaredBy(file, shown)))).flat());
  const kinds = [united(required.flatMap(({ mentions }) => mentions)), united(constrained.flatMap(({ mentions }) => mentions)), declared];
  const together = known.filter((name) => kinds.some((kind) => kind.has(name))).map((name) => [name, kinds.map((kind) => kind.get(name) ?? {}).reduce(both)] as const);
  return new Map([...together, ...locked, ...installed]);
}

function united(mentions: readonly Mention[]): Map<string, Allowed> {
  const all = new Map<string, Allowed>();
  for (const { name, allowed } of mentions) {
    const before = all.get(name);
    all.set(name, before ? either(before, allowed) : allowed);
  }
  return all;
}

/** What single files and folders say of versions of the packages that matter here. Nothing throws: what cannot be read says nothing. */
import { opendir } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { parse as parseToml } from 'smol-toml';
import { readText } from '../../workspaceFiles';
import { allowedBy, normalized } from './allowed';
import type { Allowed } from './allowed';
import { readRequirements, requirement } from './requirements';
import type { Requirement } from './requirements';

/** Packages whose versions decide about a trap. */
export const known: readonly string[] = ['torchao', 'diffusers', 'bitsandbytes', 'optimum-quanto', 'nvidia-modelopt', 'deepcompressor', 'deepcompressor-toolkit', 'nunchaku'];
const limits = { entries: 20_000, text: 1_000_000, lock: 4_000_000, included: 20 };

export interface Mention { name: string; allowed: Allowed }

/** A file or folder as messages name it. */
export type Shown = (path: string) => string;

/** By the names of folders alone: `torchao-0.12.0.dist-info`. */
export async function installedIn(environment: string, shown: Shown): Promise<Mention[]> {
  const libraries = (await namesIn(join(environment, 'lib'))).filter((name) => /^(?:python|pypy)/.test(name)).map((name) => join(environment, 'lib', name, 'site-packages'));
  const folders = [...libraries, join(environment, 'Lib', 'site-packages')];
  return (await Promise.all(folders.map(async (folder) => (await namesIn(folder)).flatMap((entry) => {
    const [, name, version] = /^([^-]+)-([^-]+)\.dist-info$/.exec(entry) ?? [];
    return name === undefined || version === undefined ? [] : exactly(name, version, shown(folder));
  })))).flat();
}

/** uv.lock, poetry.lock, pdm.lock: `[[package]]` with name and version. */
export async function lockedBy(file: string, shown: Shown): Promise<Mention[]> {
  const { text, root } = await toml(file, limits.lock);
  const packages = listOf(root['package']).map(tableOf);
  const lines = text.split('\n');
  const seen = new Map<string, number>(); // one name may stand there for several platforms
  return packages.flatMap(({ name, version }) => {
    if (typeof name !== 'string' || typeof version !== 'string' || !known.includes(normalized(name))) {
      return [];
    }
    const line = lines.findIndex((each, i) => i > (seen.get(name) ?? -1) && each.startsWith('name') && each.includes(`"${name}"`));
    seen.set(name, line);
    return exactly(name, version, at(shown(file), line));
  });
}

function exactly(name: string, version: string, place: string): Mention[] {
  const package_ = normalized(name);
  return known.includes(package_) ? [{ name: package_, allowed: allowedBy(`==${version}`, `${package_} ${version} (${place})`) }] : [];
}

/** requirements.txt or constraints.txt with what it includes from the same folder, and the files that it takes constraints from. */
export async function requiredBy(file: string, folder: string, shown: Shown): Promise<{ mentions: Mention[]; constraints: string[] }> {
  const mentions: Mention[] = [];
  const constraints: string[] = [];
  const queue = [file];
  for (const path of queue) { // grows while it is walked through
    const { requirements, included, constrained } = readRequirements((await readText(path, limits.text))?.text ?? '');
    const inside = (names: readonly string[]): string[] => names.map((name) => resolve(dirname(path), name)).filter((each) => !relative(folder, each).startsWith('..'));
    mentions.push(...requirements.flatMap(({ line, ...each }) => mention(each, at(shown(path), line))));
    constraints.push(...inside(constrained));
    queue.push(...[...new Set(inside(included))].filter((each) => !queue.includes(each)).slice(0, limits.included - queue.length));
  }
  return { mentions, constraints };
}

/** `[project]` and its extras, `[dependency-groups]`. */
export async function declaredBy(file: string, shown: Shown): Promise<Mention[]> {
  const { text, root } = await toml(file, limits.text);
  const project = tableOf(root['project']);
  const lists = [project['dependencies'], ...Object.values(tableOf(project['optional-dependencies'])), ...Object.values(tableOf(root['dependency-groups']))];
  const lines = text.split('\n');
  return lists.flatMap(listOf).filter((item) => typeof item === 'string').flatMap((item) => {
    const read = requirement(item);
    const line = lines.findIndex((each) => each.includes(item.replace(/;.*/, '').trim()));
    return read ? mention(read, at(shown(file), line)) : [];
  });
}

function mention({ name, specifiers }: Requirement, place: string): Mention[] {
  return known.includes(name) ? [{ name, allowed: allowedBy(specifiers, `${name}${specifiers} (${place})`) }] : [];
}

/** @param line from 0 on; negative where it was not found */
function at(file: string, line: number): string {
  return line < 0 ? file : `${file}, line ${line + 1}`;
}

/** Empty where it is broken, too large, or names none of the packages. */
async function toml(file: string, limit: number): Promise<{ text: string; root: Record<string, unknown> }> {
  const text = (await readText(file, limit))?.text ?? '';
  try {
    return { text, root: known.some((name) => normalized(text).includes(name)) ? parseToml(text) : {} };
  } catch {
    return { text, root: {} }; // whoever edits it is told by its own tools
  }
}

function tableOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value as Record<string, unknown> : {};
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Of what lies in a folder; of a very large one the first. */
export async function namesIn(folder: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const { name } of await opendir(folder, { bufferSize: 256 })) {
      if (names.push(name) >= limits.entries) {
        break;
      }
    }
  } catch {
    // not there, or not readable
  }
  return names;
}

/** What the server needs from the machine. Tests pass fakes. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { EngineClient } from './engine/client';
import type { Engine, EngineOptions } from './engine/client';
import type { ListFolder } from './language/pathCompletion';
import { addonPath, distFolder, engineHostPath, userCacheFolder } from './paths';
import { findFiles, readText } from './workspaceFiles';
import type { FindFiles, ReadText } from './workspaceFiles';

export interface Runtime {
  startEngine(options: Pick<EngineOptions, 'threads' | 'device' | 'log' | 'onState'>): Engine;
  /** Where reports are kept when the client names no folder; null for memory only. */
  cacheFolder: string | null;
  /** URL of docs/problems.md. */
  problemDocs: string | undefined;
  /** URL of the folder with the cards of the methods, <name>.md. */
  methodDocs: string | undefined;
  /** For path completion, and to see whether a file that a config names is there. */
  listFolder: ListFolder;
  /** For what looks at the whole workspace. */
  findFiles: FindFiles;
  readText: ReadText;
}

export function nodeRuntime(): Runtime {
  const docs = (name: string): string | undefined => {
    const path = resolve(distFolder, '../docs', name);
    return existsSync(path) ? pathToFileURL(path).toString() : undefined;
  };
  return {
    startEngine: (options) => new EngineClient({ hostPath: engineHostPath, addonPath: addonPath(), ...options }),
    cacheFolder: userCacheFolder(),
    problemDocs: docs('problems.md'),
    methodDocs: docs('methods'),
    listFolder,
    findFiles,
    readText,
  };
}

function listFolder(path: string): ReturnType<ListFolder> {
  try {
    return readdirSync(path, { withFileTypes: true }).map((entry) => ({ name: entry.name, isFolder: entry.isDirectory() || (entry.isSymbolicLink() && isFolder(join(path, entry.name))) }));
  } catch {
    return []; // a folder that cannot be read has nothing to offer
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

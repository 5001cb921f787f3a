/** What the server needs from the machine. Tests pass fakes. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { EngineClient } from './engine/client';
import type { Engine, EngineOptions } from './engine/client';
import { addonPath, distFolder, engineHostPath, userCacheFolder } from './paths';

export interface Runtime {
  startEngine(options: Pick<EngineOptions, 'threads' | 'log' | 'onState'>): Engine;
  /** Where reports are kept when the client names no folder; null for memory only. */
  cacheFolder: string | null;
  /** URL of docs/problems.md. */
  problemDocs: string | undefined;
}

export function nodeRuntime(): Runtime {
  const docs = resolve(distFolder, '../docs/problems.md');
  return {
    startEngine: (options) => new EngineClient({ hostPath: engineHostPath, addonPath: addonPath(), ...options }),
    cacheFolder: userCacheFolder(),
    problemDocs: existsSync(docs) ? pathToFileURL(docs).toString() : undefined,
  };
}

/** Config text → everything known about it: tree, checkpoint, plan and all problems. The one path that language server and command line share. */
import { dirname, isAbsolute, resolve } from 'node:path';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import { CheckpointError } from '../checkpoint';
import type { CheckpointStore } from '../checkpoint';
import type { Checkpoint, Plan, Problem } from '../protocol';
import { parseConfig } from './parse';
import type { PieceMemory } from './pieces';
import type { ParsedConfig } from './parse';
import type { ConfigProblem } from './codes';
import { resolvePlan } from './resolve';

export interface LoadedConfig { parsed: ParsedConfig; checkpointPath: string | undefined; checkpoint: Checkpoint | undefined; plan: Plan | undefined; problems: Problem[] }

/**
 * @param path of the config file, which relative checkpoint paths start from; undefined when it has none yet.
 * @param memory of the document, where it is being written
 */
export async function loadConfig(document: TextDocument, path: string | undefined, store: CheckpointStore, memory?: PieceMemory): Promise<LoadedConfig> {
  const parsed = parseConfig(document, memory);
  const named = parsed.config.checkpoint;
  const none = { parsed, checkpointPath: undefined, checkpoint: undefined, plan: undefined };
  if (!named || named.value.trim() === '') {
    return { ...none, problems: parsed.problems };
  }
  const checkpointPath = isAbsolute(named.value) ? named.value : path && resolve(dirname(path), named.value);
  if (!checkpointPath) {
    const unsaved: ConfigProblem = {
      code: 'config/unsaved', severity: 'info', range: named.range, message: 'Save this config first: a relative checkpoint path starts from the folder of the config.',
    };
    return { ...none, problems: [...parsed.problems, unsaved] };
  }
  try {
    const checkpoint = await store.recent(checkpointPath);
    const plan = resolvePlan(parsed.config, checkpoint);
    return { parsed, checkpointPath, checkpoint, plan, problems: [...parsed.problems, ...checkpoint.problems.map((problem) => ({ ...problem, range: named.range })), ...plan.problems] };
  } catch (error) {
    if (error instanceof CheckpointError) {
      return { ...none, checkpointPath, problems: [...parsed.problems, { ...error.problem, range: named.range }] };
    }
    throw error;
  }
}

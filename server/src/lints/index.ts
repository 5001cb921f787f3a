/** All lints of a config. What parser and resolver found gets its quick fixes here. */
import { dirname } from 'node:path';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import type { CheckpointStore } from '../checkpoint';
import { loadConfig } from '../config/load';
import type { LoadedConfig } from '../config/load';
import type { ConfigCode, ConfigProblem } from '../config/codes';
import { previewProblems } from '../preview/check';
import type { SettingProblem } from '../preview/settings';
import type { Problem } from '../protocol';
import { copies } from './copies';
import { fragile } from './fragile';
import { refused } from './indivisible';
import type { Lint, Remedy, Subject, Written } from './lint';
import { previewLints } from './preview';
import { neverQuantized, shadowed, uncovered, unmatched } from './rules';
import { duplicateKey, keepAndQuantize, missingVersion, surplusKey } from './written';

const lints: readonly Lint[] = [fragile, copies];

const textRemedies: Partial<Record<ConfigCode, Remedy<Written>>> = {
  'config/duplicate-key': duplicateKey, 'config/unknown-key': surplusKey, 'config/keep-and-quantize': keepAndQuantize, 'config/missing-key': missingVersion,
};

const planRemedies: Partial<Record<ConfigCode, Remedy<Subject>>> = {
  'plan/refused': refused, 'plan/pattern-matches-nothing': unmatched, 'plan/never-quantized': neverQuantized, 'plan/shadowed-rule': shadowed, 'plan/uncovered': uncovered,
};

/** A file that is wrong from end to end is not repaired one fix at a time. */
const maxRemedied = 50;

/** What had to be read from the disk. */
export interface Facts { preview: readonly SettingProblem[] }

/** `loadConfig`, linted. @param path of the config file; undefined when it has none yet */
export async function loadAndLint(document: TextDocument, path: string | undefined, store: CheckpointStore): Promise<LoadedConfig> {
  const loaded = await loadConfig(document, path, store);
  return { ...loaded, problems: lintConfig(document, loaded, await gather(loaded, path, store)) };
}

async function gather({ parsed: { config }, checkpoint }: LoadedConfig, path: string | undefined, store: CheckpointStore): Promise<Facts> {
  return { preview: checkpoint && config.preview && path ? await previewProblems(checkpoint, config.preview.value, dirname(path), (each) => store.get(each)) : [] };
}

export function lintConfig(document: TextDocument, { parsed: { config, root }, checkpoint, plan, problems }: Omit<LoadedConfig, 'checkpointPath'>, facts: Facts): Problem[] {
  if (!root) {
    return problems;
  }
  const written: Written = { document, root, config };
  const subject: Subject | undefined = checkpoint && plan && { ...written, checkpoint, plan };
  let remedied = 0;
  const remedy = (problem: Problem): Problem => {
    const code = problem.code as ConfigCode;
    const more = textRemedies[code]?.(problem as ConfigProblem, written) ?? (subject && planRemedies[code]?.(problem as ConfigProblem, subject));
    remedied += more ? 1 : 0;
    return more ? { ...problem, ...more } : problem;
  };
  return [
    ...problems.map((problem) => (remedied < maxRemedied ? remedy(problem) : problem)),
    ...(subject ? lints.flatMap((lint) => lint(subject)) : []),
    ...previewLints(written, facts.preview),
  ];
}

/** All lints of a config. What parser and resolver found gets its quick fixes here. */
import { dirname, resolve } from 'node:path';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import { CheckpointError } from '../checkpoint';
import type { CheckpointStore } from '../checkpoint';
import { adapterOf } from '../checkpoint/adapter';
import { loadConfig } from '../config/load';
import type { LoadedConfig } from '../config/load';
import type { ConfigCode, ConfigProblem } from '../config/codes';
import type { PieceMemory } from '../config/pieces';
import { previewProblems } from '../preview/check';
import type { SettingProblem } from '../preview/settings';
import type { Problem } from '../protocol';
import { copies } from './copies';
import { fragile } from './fragile';
import { refused } from './indivisible';
import type { Lint, Remedy, Subject, Written } from './lint';
import { measureDeltas } from './loraDeltas';
import { loraLints } from './loras';
import type { LoraFact } from './loras';
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
export interface Facts { preview: readonly SettingProblem[]; loras: readonly LoraFact[] }

export interface LintedConfig extends LoadedConfig { loras?: readonly LoraFact[] }

/** `loadConfig`, linted. @param path of the config file; undefined when it has none yet */
export async function loadAndLint(document: TextDocument, path: string | undefined, store: CheckpointStore, memory?: PieceMemory): Promise<LintedConfig> {
  const loaded = await loadConfig(document, path, store, memory);
  const facts = await gather(loaded, path, store);
  return { ...loaded, problems: lintConfig(document, loaded, facts), loras: facts.loras };
}

/** What lints of adapters need beyond headers: reads weights, and remembers. @returns whether another `loadAndLint` now knows more */
export async function measureLoras({ checkpoint, plan, loras = [] }: LintedConfig): Promise<boolean> {
  let news = false;
  for (const { use } of checkpoint && plan ? loras : []) {
    news = Boolean(use && checkpoint && plan && await measureDeltas(use, checkpoint, plan)) || news;
  }
  return news;
}

async function gather({ parsed: { config }, checkpoint }: LoadedConfig, path: string | undefined, store: CheckpointStore): Promise<Facts> {
  if (!checkpoint || !path) {
    return { preview: [], loras: [] };
  }
  const open = (each: string): ReturnType<CheckpointStore['get']> => store.get(each);
  return {
    preview: config.preview ? await previewProblems(checkpoint, config.preview.value, dirname(path), open) : [],
    loras: await Promise.all((config.loras ?? []).map(async (entry): Promise<LoraFact> => {
      try {
        const file = await open(resolve(dirname(path), entry.path.value));
        return { entry, use: { file, adapter: adapterOf(file), scale: entry.scale } };
      } catch (error) {
        if (error instanceof CheckpointError) {
          return { entry, problem: { ...error.problem, severity: 'warning' } };
        }
        throw error;
      }
    })),
  };
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
    ...(subject ? loraLints(subject, facts.loras) : []),
  ];
}

/** Text of another tool's file → its dialect, the checkpoint it is about and everything known of both. The one path that language server and command line share. */
import { basename } from 'node:path';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import { CheckpointError } from '../../checkpoint';
import type { CheckpointStore } from '../../checkpoint';
import type { Checkpoint, Layer, Problem, Range } from '../../protocol';
import { problem } from './dialect';
import type { Decision, Dialect, DialectFile, EntryResult, ParsedDialect, Treatment } from './dialect';
import { evaluate } from './evaluate';
import { detectDialect, readDialectFile } from './index';
import { surroundingsOf } from './surroundings';
import type { Surroundings } from './surroundings';

export interface LoadedDialect {
  dialect: Dialect;
  parsed: ParsedDialect;
  /** Absolute path, where one was given or found. */
  checkpointPath: string | undefined;
  checkpoint: Checkpoint | undefined;
  entries: EntryResult[];
  decisions: Decision[];
  /** What no entry takes, the tool's own included, and what happens to it. */
  uncovered: { treatment: Treatment; layers: Layer[] };
  problems: Problem[];
}

const top: Range = { start: { line: 0, character: 0 }, end: { line: 0, character: 1 } };

/**
 * @param path of the file, absolute.
 * @param given checkpoint to use instead of one beside the file, absolute.
 * @returns undefined when no tool known here reads such a file.
 */
export async function loadDialect(document: TextDocument, path: string, store: CheckpointStore, given?: string): Promise<LoadedDialect | undefined> {
  const file = readDialectFile(basename(path), document);
  const dialect = detectDialect(file);
  if (!dialect) {
    return undefined;
  }
  const around = await surroundingsOf(path);
  return applyDialect(dialect, file, given ?? around.beside, store, around);
}

/** @param naming how a checkpoint is named here, for messages. */
export async function applyDialect(dialect: Dialect, file: DialectFile, checkpointPath: string | undefined, store: CheckpointStore, around: Surroundings, naming = '--checkpoint folder'): Promise<LoadedDialect> {
  const parsed = dialect.parse(file);
  const { checkpoint, problems } = await open(checkpointPath, store, dialect, naming);
  const { entries, decisions, problems: found } = checkpoint ? evaluate(parsed, checkpoint) : { entries: withoutLayers(parsed), decisions: [], problems: [] };
  const uncovered = { treatment: parsed.otherwise, layers: decisions.filter(({ entry }) => entry === null).map(({ layer }) => layer) };
  const component = parsed.trapsBeside && around.beside !== undefined && file.name === 'config.json' ? checkpointPath === around.beside ? checkpoint : await readable(around.beside, store) : undefined;
  const beside = parsed.trapsBeside?.({ files: around.files, component }) ?? [];
  return { dialect, parsed, checkpointPath, checkpoint, entries, decisions, uncovered, problems: [...parsed.problems, ...problems, ...found, ...beside].sort(byPlace) };
}

/** Why `loadDialect` gave undefined, for a message. */
export function whyNoDialect(document: TextDocument, path: string): string {
  const file = readDialectFile(basename(path), document);
  const [first] = file.problems;
  return first ? `line ${(first.range?.start.line ?? 0) + 1}: ${first.message}` : 'no tool known here reads a file like this';
}

/** Some of its layers cannot be seen. */
export function isPacked({ problems, layers }: Checkpoint): boolean {
  return layers.length === 0 || problems.some(({ code }) => code === 'checkpoint/packed-weights');
}

async function open(path: string | undefined, store: CheckpointStore, { ofPacked }: Dialect, naming: string): Promise<{ checkpoint?: Checkpoint; problems: Problem[] }> {
  if (path === undefined) {
    return { problems: [problem('dialect/no-checkpoint', 'info', top, `No checkpoint stands beside this file, so nothing says what its entries take. Name one: ${naming}.`)] };
  }
  try {
    const checkpoint = await store.recent(path);
    const packed = !ofPacked && isPacked(checkpoint);
    return { checkpoint, problems: packed ? [problem('dialect/packed-checkpoint', 'warning', top,
      `Weights of ${path} are packed already, so only ${checkpoint.layers.length} layers can be seen. Name the unquantized original: ${naming}.`)] : [] };
  } catch (error) {
    if (error instanceof CheckpointError) {
      return { problems: [problem('dialect/checkpoint', 'warning', top, `${error.message} Name another checkpoint: ${naming}.`)] };
    }
    throw error;
  }
}

/** undefined where nothing there can be read. */
async function readable(path: string, store: CheckpointStore): Promise<Checkpoint | undefined> {
  return store.recent(path).catch((error: unknown) => {
    if (error instanceof CheckpointError) {
      return undefined;
    }
    throw error;
  });
}

function withoutLayers({ entries }: ParsedDialect): EntryResult[] {
  return entries.map(({ text, range, treatment }) => ({ text, range, treatment, builtin: null, matchedLayers: 0, matchedParamsPercent: 0, decidedLayers: 0 }));
}

function byPlace(a: Problem, b: Problem): number {
  const at = ({ range }: Problem): number => (range ? range.start.line * 1e5 + range.start.character : 0);
  return at(a) - at(b);
}

/** Text of another tool's file → its dialect, the checkpoint it is about and everything known of both. The one path that language server and command line share. */
import { basename, join } from 'node:path';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import { CheckpointError } from '../../checkpoint';
import type { CheckpointStore } from '../../checkpoint';
import type { Checkpoint, Layer, Problem, Range } from '../../protocol';
import { problem } from './dialect';
import type { Decision, Dialect, DialectFile, EntryResult, ParsedDialect, Treatment } from './dialect';
import { evaluate } from './evaluate';
import { isPython, readDialectFile, readDialects } from './index';
import { pipelineComponents } from './python/pipeline';
import { inPython, localFolder, pythonTraps } from './python/traps';
import { surroundingsOf } from './surroundings';
import type { Surroundings } from './surroundings';

export interface LoadedDialect {
  dialect: Dialect;
  file: DialectFile;
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
 * @returns nothing when no tool known here reads such a file, several when a Python file holds several configs, outer ones first.
 */
export async function loadDialects(document: TextDocument, path: string, store: CheckpointStore, given?: string): Promise<LoadedDialect[]> {
  const found = readDialects(basename(path), document);
  if (found.length === 0) {
    return [];
  }
  const around = await surroundingsOf(path);
  return saidOnce(await Promise.all(found.map(async ({ dialect, file }) => applyDialect(dialect, file, given ?? await handedTo(file) ?? around.beside, store, around))));
}

/** Two configs of a script may share a list: what both find in it is said of the first. */
export function saidOnce<Loaded extends Pick<LoadedDialect, 'problems'>>(found: readonly Loaded[]): Loaded[] {
  const said = new Set<string>();
  const isNew = ({ code, range, message }: Problem): boolean => {
    const key = JSON.stringify([code, range, message]);
    return !said.has(key) && said.add(key).size > 0;
  };
  return found.map((each) => ({ ...each, problems: each.problems.filter(isNew) }));
}

/** The config that stands in a line (from 0), or the only one that speaks of layers. @returns a text where none is the obvious one */
export function chosenOf(found: readonly LoadedDialect[], line?: number): LoadedDialect | string {
  const speaking = found.filter(({ dialect, file }) => speaksOfLayers(dialect, file));
  const inLine = speaking.filter(({ file: { part } }) => part && line !== undefined && part.range.start.line <= line && line <= part.range.end.line).at(-1);
  const [first, second] = speaking;
  const chosen = inLine ?? (second ? undefined : first);
  if (chosen) {
    return chosen;
  }
  const places = speaking.map(({ dialect, file }) => `line ${(file.part?.at.start.line ?? 0) + 1} (${dialect.title})`);
  return places.length === 0 ? 'its configs are about no layers of a transformer' : `holds several configs: ${places.join(', ')}`;
}

/** The checkpoint on this machine that a config in Python is handed to, or that its file loads besides, absolute. */
export async function handedTo(file: DialectFile): Promise<string | undefined> {
  const { loads, allLoads } = file.python ?? { loads: [], allLoads: [] };
  for (const load of [...loads, ...allLoads].filter(({ subfolder }) => subfolder === undefined || isTransformer(subfolder))) {
    const folder = await localFolder(file, load);
    if (folder !== undefined) {
      return join(folder, load.subfolder ?? '');
    }
  }
  return undefined;
}

/** A name that is none of a component may be a mistaken one. */
function isTransformer(component: string): boolean {
  return /^(?:transformer|unet)/.test(component) || !pipelineComponents.includes(component);
}

/** @param naming how a checkpoint is named here, for messages. */
export async function applyDialect(dialect: Dialect, file: DialectFile, checkpointPath: string | undefined, store: CheckpointStore, around: Surroundings, naming = '--checkpoint folder'): Promise<LoadedDialect> {
  const alone = parseOf(dialect, file);
  const parsed = around.folder === undefined ? alone : await alone.withOthers?.(around.folder) ?? alone;
  const { checkpoint, problems } = speaksOfLayers(dialect, file) ? await open(checkpointPath, store, dialect, naming, file.part?.at ?? top) : { problems: [] };
  const { entries, decisions, problems: found } = checkpoint && !parsed.incomplete ? evaluate(parsed, checkpoint) : { entries: withoutLayers(parsed), decisions: [], problems: [] };
  const uncovered = { treatment: parsed.otherwise, layers: decisions.filter(({ entry }) => entry === null).map(({ layer }) => layer) };
  const asked = parsed.trapsBeside ?? parsed.trapsInside;
  const component = !asked || around.component === undefined ? undefined : checkpointPath === around.component ? checkpoint : await readable(around.component, store);
  const beside = [...parsed.trapsBeside?.({ files: around.files, component, packages: around.packages }) ?? [], ...await parsed.trapsInside?.({ component, checkpoint }) ?? []];
  const all = [...parsed.problems, ...problems, ...found, ...beside, ...await pythonTraps(file)];
  return { dialect, file, parsed, checkpointPath, checkpoint, entries, decisions, uncovered, problems: (file.python ? all.map((each) => inPython(each, file)) : all).sort(byPlace) };
}

/** Without what seems to be missing in a call of Python: it may come from an argument that only a run of the program knows. */
export function parseOf(dialect: Dialect, file: DialectFile): ParsedDialect {
  const parsed = dialect.parse(file);
  const { python, part } = file;
  return python?.open && part ? { ...parsed, problems: parsed.problems.filter(({ range }) => range?.start.line !== part.at.start.line || range.start.character !== part.at.start.character) } : parsed;
}

/** Of a pipeline's other components the layers are not looked at. */
export function speaksOfLayers({ ofComponents }: Dialect, { python }: DialectFile): boolean {
  const components = python?.components ?? [];
  return !ofComponents && (components.length === 0 || components.some(isTransformer));
}

/** Why `loadDialects` gave none, for a message. */
export function whyNoDialect(document: TextDocument, path: string): string {
  if (isPython(basename(path), document)) {
    return 'it makes no quantization config that is known here';
  }
  const file = readDialectFile(basename(path), document);
  const [first] = file.problems;
  return first ? `line ${(first.range?.start.line ?? 0) + 1}: ${first.message}` : 'no tool known here reads a file like this';
}

/** Some of its layers cannot be seen. */
export function isPacked({ problems, layers }: Checkpoint): boolean {
  return layers.length === 0 || problems.some(({ code }) => code === 'checkpoint/packed-weights');
}

async function open(path: string | undefined, store: CheckpointStore, { ofPacked }: Dialect, naming: string, at: Range): Promise<{ checkpoint?: Checkpoint; problems: Problem[] }> {
  if (path === undefined) {
    return { problems: [problem('dialect/no-checkpoint', 'info', at, `No checkpoint stands beside this file, so nothing says what its entries take. Name one: ${naming}.`)] };
  }
  try {
    const checkpoint = await store.recent(path);
    const packed = !ofPacked && isPacked(checkpoint);
    return { checkpoint, problems: packed ? [problem('dialect/packed-checkpoint', 'warning', at,
      `Weights of ${path} are packed already, so only ${checkpoint.layers.length} layers can be seen. Name the unquantized original: ${naming}.`)] : [] };
  } catch (error) {
    if (error instanceof CheckpointError) {
      return { problems: [problem('dialect/checkpoint', 'warning', at, `${error.message} Name another checkpoint: ${naming}.`)] };
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

export function byPlace(a: Problem, b: Problem): number {
  const at = ({ range }: Problem): number => (range ? range.start.line * 1e5 + range.start.character : 0);
  return at(a) - at(b);
}

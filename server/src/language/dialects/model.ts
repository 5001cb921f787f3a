/** What the language features look at, for one version of a file of another tool. Plain data, as in ../model.ts. */
import { basename } from 'node:path';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import { CheckpointError } from '../../checkpoint';
import type { CheckpointStore } from '../../checkpoint';
import { couldBeDialect, couldBePython, detectDialect, holdsSeveral, isPython, readDialectFile, readDialects } from '../../config/dialects';
import type { Dialect, DialectFile } from '../../config/dialects/dialect';
import type { Field } from '../../config/dialects/field';
import { applyDialect, handedTo, saidOnce } from '../../config/dialects/load';
import type { LoadedDialect } from '../../config/dialects/load';
import type { Surroundings } from '../../config/dialects/surroundings';
import { find, parseTree } from '../../config/tree';
import type { Position } from '../../protocol';
import { configPath } from '../model';
import { contains } from '../tree';

export interface DialectModel extends LoadedDialect {
  document: TextDocument;
  /** What may stand in the file. */
  root: Field;
  /** The text has a fault, behind which nothing is read. */
  broken: boolean;
}

/** Where the layers come from, and what else lies there. `chosen` is the setting, an absolute path. */
export interface Sources extends Surroundings { chosen?: string | undefined }

/** How a checkpoint is named in an editor, for messages. */
export const naming = 'run "QuantScope: Choose Checkpoint for Quantization Files" (setting quantscope.checkpoint)';

/** Of everything in a document: scripts may hold several configs, outer ones first. */
export async function buildDialectModels(document: TextDocument, store: CheckpointStore, sources: () => Promise<Sources>, before?: Dialect): Promise<DialectModel[]> {
  const name = basename(configPath(document.uri) ?? '');
  if (!holdsSeveral(name, document)) {
    const model = await buildDialectModel(document, store, sources, before);
    return model ? [model] : [];
  }
  const found = (isPython(name, document) ? couldBePython : couldBeDialect)(document.getText()) ? readDialects(name, document) : [];
  if (found.length === 0) {
    return [];
  }
  const around = await sources();
  return saidOnce(await Promise.all(found.map(async ({ dialect, file }) => ({
    ...await applyDialect(dialect, file, await handedTo(file) ?? around.chosen ?? around.beside, store, around, naming), document, root: dialect.root(file), broken: false,
  }))));
}

/** The one that a place in the document belongs to, the innermost of several. */
export function modelAt(models: readonly DialectModel[], position: Position): DialectModel | undefined {
  const holding = models.filter(({ file, parsed }) => !file.part || contains(file.part.range, position) || parsed.entries.some(({ range }) => contains(range, position)));
  return holding.at(-1);
}

/**
 * @param before what the document was, for texts that are broken while one types.
 * @returns undefined for a document that no tool known here reads: nothing is said of it.
 */
export async function buildDialectModel(document: TextDocument, store: CheckpointStore, sources: () => Promise<Sources>, before?: Dialect): Promise<DialectModel | undefined> {
  const text = document.getText();
  // A list of rules has no marks of its own while its only rule is written.
  const rules = before?.names && !/^\s*[{[]|:\s/m.test(text) ? before : undefined;
  if (!rules && !couldBeDialect(text)) {
    return undefined;
  }
  const read = readDialectFile(basename(configPath(document.uri) ?? ''), document);
  const file: DialectFile = rules ? { ...read, form: 'text', root: null, problems: [] } : read;
  const broken = file.problems.some(({ severity }) => severity === 'error');
  // What decides may stand behind a fault: YAML's reader goes on where that of JSON stops.
  const meant = broken ? before ?? detectDialect({ ...file, root: parseTree(document).root }) : undefined;
  const dialect = meant ?? detectDialect(file) ?? rules;
  if (!dialect) {
    return undefined;
  }
  const around = await sources();
  const loaded = await applyDialect(dialect, file, await checkpointFor(file, around, store), store, around, naming);
  // What seems to be missing may stand behind a fault too.
  return { ...loaded, problems: broken ? file.problems : loaded.problems, broken, document, root: dialect.root(file) };
}

/** What was chosen, unless the file is the config of another component than the chosen one. */
async function checkpointFor({ name, root }: DialectFile, { chosen, beside }: Sources, store: CheckpointStore): Promise<string | undefined> {
  const own = name === 'config.json' && beside !== undefined ? className(root) : undefined;
  if (chosen === undefined || own === undefined) {
    return chosen ?? beside;
  }
  const architecture = await store.recent(chosen).then((checkpoint) => checkpoint.architecture, (error: unknown) => {
    if (error instanceof CheckpointError) {
      return own; // its message is wanted
    }
    throw error;
  });
  return architecture === own || architecture === 'unknown' ? chosen : beside;
}

/** Of diffusers, or the first architecture of transformers. */
function className(root: DialectFile['root']): string | undefined {
  const list = find(root, 'architectures')?.value;
  const node = find(root, '_class_name')?.value ?? (list?.kind === 'list' ? list.items[0] : undefined);
  return node?.kind === 'scalar' && typeof node.value === 'string' ? node.value : undefined;
}

import type { CodeLens, Command } from 'vscode-languageserver-types';
import { basename, dirname } from 'node:path';
import { speaksOfLayers } from '../../config/dialects/load';
import { outcome, outcomeText } from './entries';
import type { DialectModel } from './model';

/** Above the file, or above a call in Python: which tool, what it does to the checkpoint, and the checkpoint, which one may choose. */
export function dialectCodeLenses(model: DialectModel): CodeLens[] {
  const { dialect, document, checkpointPath, file } = model;
  const start = file.part?.at.start ?? { line: 0, character: 0 };
  const range = { start, end: start };
  const done = outcome(model);
  const told: Command[] = [{ title: done ? `${dialect.title} ${outcomeText(done)}` : dialect.title, command: '' }];
  const choose = { title: checkpointPath === undefined ? 'Choose Checkpoint…' : `Checkpoint: ${shortPath(checkpointPath)}. Choose Another…`, command: 'quantscope.chooseCheckpoint', arguments: [document.uri] };
  return [...told, ...speaksOfLayers(dialect, file) ? [choose] : []].map((command) => ({ range, command }));
}

/** The last two segments. */
function shortPath(path: string): string {
  const folder = basename(dirname(path));
  return folder === '' ? basename(path) : `${folder}/${basename(path)}`;
}

/** The files that a config names, as links: the file itself, or the one inside a folder that says what it is. What is not there is no link. */
import { basename } from 'node:path';
import type { DocumentLink, Range } from 'vscode-languageserver-types';
import { URI } from 'vscode-uri';
import { visible } from '../checkpoint/errors';
import { namedFiles, openable } from './files';
import type { Model } from './model';
import type { ListFolder } from './pathCompletion';
import { structureOf, withoutQuotes } from './structure';
import type { Structure } from './structure';

export function documentLinks(model: Pick<Model, 'document' | 'parsed'>, listFolder: ListFolder): DocumentLink[] {
  const structure = structureOf(model);
  // Many prompts lie in one folder.
  const known = new Map<string, ReturnType<ListFolder>>();
  const list: ListFolder = (folder) => {
    const entries = known.get(folder) ?? listFolder(folder);
    known.set(folder, entries);
    return entries;
  };
  return namedFiles(structure).flatMap(({ path, range }) => {
    const file = openable(path, list);
    return file === undefined || isAlias(structure, range) ? [] : [{ range: withoutQuotes(structure, range), target: URI.file(file).toString(), tooltip: `Open ${visible(file === path ? basename(file) : file)}` }];
  });
}

/** The link is where the path is written. */
function isAlias({ document }: Structure, range: Range): boolean { return document.getText(range).startsWith('*'); }

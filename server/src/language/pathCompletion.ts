/** Paths behind `checkpoint:`: folders, .safetensors files and shard indices, relative to the config. */
import { dirname, isAbsolute, resolve } from 'node:path';
import { CompletionItemKind } from 'vscode-languageserver-types';
import type { Offer } from './completionItems';
import type { Cursor } from './cursor';
import { configPath } from './model';
import { plainScalar } from './yamlText';

export interface FolderEntry { name: string; isFolder: boolean }
/** Names in a folder; empty when it cannot be read. */
export type ListFolder = (path: string) => readonly FolderEntry[];

/** @param rest what stands between the cursor and the end of the path */
export function pathItems(uri: string, cursor: Cursor, rest: string, listFolder: ListFolder): Offer[] {
  const typedFolder = /^.*[\\/]/.exec(cursor.typed)?.[0] ?? '';
  const config = configPath(uri);
  const base = isAbsolute(typedFolder) ? typedFolder : config && resolve(dirname(config), typedFolder);
  if (!base) {
    return [];
  }
  const written = typedFolder === '' ? './' : typedFolder;
  // `./FL|/transformer`: an editor that inserts keeps the folders behind.
  const tail = /\/.*$/.exec(rest)?.[0].length ?? 0;
  return listFolder(base).filter(({ name, isFolder }) => !name.startsWith('.') && (isFolder || /\.safetensors(?:\.index\.json)?$/.test(name)))
    .map(({ name, isFolder }) => ({
      label: name + (isFolder ? '/' : ''), newText: plainScalar(written + name, cursor),
      kind: isFolder ? CompletionItemKind.Folder : CompletionItemKind.File, detail: isFolder ? 'folder' : 'checkpoint file', always: true,
      sortText: (isFolder ? '0' : '1') + name,
      ...(tail > 0 && cursor.quote === '' && isFolder ? { tail } : {}),
    })).filter(({ label }) => label.toLowerCase().startsWith(cursor.typed.slice(typedFolder.length).toLowerCase()));
}

/** Paths behind `checkpoint:`: folders, .safetensors files and shard indices, relative to the config. */
import { dirname, isAbsolute, resolve } from 'node:path';
import { CompletionItemKind } from 'vscode-languageserver-types';
import type { Offer } from './completion';
import type { Cursor } from './cursor';
import { configPath } from './model';
import { plainScalar } from './yamlText';

export interface FolderEntry { name: string; isFolder: boolean }
/** Names in a folder; empty when it cannot be read. */
export type ListFolder = (path: string) => readonly FolderEntry[];

export function pathItems(uri: string, cursor: Cursor, listFolder: ListFolder): Offer[] {
  const typedFolder = /^.*[\\/]/.exec(cursor.typed)?.[0] ?? '';
  const config = configPath(uri);
  const base = isAbsolute(typedFolder) ? typedFolder : config && resolve(dirname(config), typedFolder);
  if (!base) {
    return [];
  }
  const written = typedFolder === '' ? './' : typedFolder;
  return listFolder(base).filter(({ name, isFolder }) => !name.startsWith('.') && (isFolder || /\.safetensors(?:\.index\.json)?$/.test(name)))
    .map(({ name, isFolder }) => ({
      label: name + (isFolder ? '/' : ''), newText: plainScalar(written + name, cursor),
      kind: isFolder ? CompletionItemKind.Folder : CompletionItemKind.File, detail: isFolder ? 'folder' : 'checkpoint file', always: true,
      sortText: (isFolder ? '0' : '1') + name,
    })).filter(({ label }) => label.toLowerCase().startsWith(cursor.typed.slice(typedFolder.length).toLowerCase()));
}

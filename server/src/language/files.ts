/** The files that a config names, and what an editor can open for each of them. */
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { find } from '../config/tree';
import type { TreeNode } from '../config/tree';
import type { Range } from '../protocol';
import { configPath } from './model';
import type { ListFolder } from './pathCompletion';
import type { Structure } from './structure';

/** A file or folder as a config names it. */
export interface NamedFile { path: string; range: Range }

/** Checkpoint, adapters, decoder and the prompts that are files, in the order of the text; a relative path needs a folder to start from. */
export function namedFiles({ uri, root }: Structure): NamedFile[] {
  const base = configPath(uri);
  const preview = find(root, 'preview')?.value;
  const items = (node: TreeNode | undefined): readonly TreeNode[] => (node?.kind === 'list' ? node.items : []);
  const decoder = find(preview, 'decoder')?.value;
  const nodes = [
    find(root, 'checkpoint')?.value,
    ...items(find(root, 'loras')?.value).map((item) => find(item, 'path')?.value),
    ...(decoder?.kind === 'scalar' && decoder.value !== 'vae' ? [decoder] : []),
    ...items(find(preview, 'prompts')?.value).filter((item) => item.kind === 'scalar' && String(item.value).endsWith('.safetensors')),
  ];
  return nodes.flatMap((node) => {
    const written = node?.kind === 'scalar' && typeof node.value === 'string' ? node.value : '';
    const path = isAbsolute(written) ? resolve(written) : base !== undefined && written.trim() !== '' ? resolve(dirname(base), written) : undefined;
    return node && path !== undefined ? [{ path, range: node.range }] : [];
  });
}

/** What says most about a model's folder, first. */
const mainFiles = [/^model_index\.json$/, /\.safetensors\.index\.json$/, /^config\.json$/, /\.safetensors$/];

/** The file itself, or the one inside a folder that says what it is; undefined when nothing is there. */
export function openable(path: string, listFolder: ListFolder): string | undefined {
  const entry = listFolder(dirname(path)).find(({ name }) => name === basename(path));
  if (!entry?.isFolder) {
    return entry && path;
  }
  const names = listFolder(path).filter(({ isFolder }) => !isFolder).map(({ name }) => name).sort();
  const main = mainFiles.map((wanted) => names.find((name) => wanted.test(name))).find((name) => name !== undefined);
  return main === undefined ? undefined : join(path, main);
}

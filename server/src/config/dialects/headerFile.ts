import { dirname, join } from 'node:path';
import type { CheckpointStore } from '../../checkpoint';
import { nunchakuParts } from '../../checkpoint/nunchakuFolder';
import { readValues } from '../../checkpoint/values';
import { headerText, nunchakuFolderText } from './header';

/** The quantization metadata of a .safetensors file as a text that a dialect reads; undefined when it holds none. @throws CheckpointError */
export async function headerOf(path: string, store: CheckpointStore): Promise<string | undefined> {
  const checkpoint = await store.get(path);
  if (checkpoint.problems.some(({ code }) => code === 'checkpoint/nunchaku-folder')) {
    const parts = await Promise.all(nunchakuParts.map((name) => store.get(join(dirname(path), name))));
    return nunchakuFolderText(nunchakuParts, parts.flatMap(({ tensors }) => tensors));
  }
  return headerText(checkpoint, async (tensor) => Buffer.from((await readValues(tensor)).data).toString('utf8'));
}

export function isSafetensors(path: string): boolean { return /\.safetensors$/i.test(path); }

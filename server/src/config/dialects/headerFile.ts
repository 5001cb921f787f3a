import type { CheckpointStore } from '../../checkpoint';
import { readValues } from '../../checkpoint/values';
import { headerText } from './header';

/** The quantization metadata of a .safetensors file as a text that a dialect reads; undefined when it holds none. @throws CheckpointError */
export async function headerOf(path: string, store: CheckpointStore): Promise<string | undefined> {
  return headerText(await store.get(path), async (tensor) => Buffer.from((await readValues(tensor)).data).toString('utf8'));
}

export function isSafetensors(path: string): boolean { return /\.safetensors$/i.test(path); }

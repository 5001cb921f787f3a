/** nunchaku's older form of a model: a folder with the packed blocks in one file and all the rest in another, and no word in either about how they are quantized. */
import { basename, dirname } from 'node:path';
import type { Problem } from '../protocol';
import { problem } from './errors';
import type { Files } from './files';

/** The packed blocks first. */
export const nunchakuParts = ['transformer_blocks.safetensors', 'unquantized_layers.safetensors'] as const;

/** What to do about it, for a message. */
export const mergeNunchaku = 'deprecated since December 2025, and half a model each. Merge them: python -m nunchaku.merge_safetensors -i folder -m NunchakuFluxTransformer2dModel -o model.safetensors '
  + '(-m is the class that loads the model; config.json and comfy_config.json have to lie in the folder too).';

export function isNunchakuFolder(names: readonly string[]): boolean {
  return nunchakuParts.every(part => names.includes(part));
}

/** Says so of one of the two parts beside the other. */
export async function nunchakuPart(file: string, files: Files): Promise<Problem[]> {
  const other = nunchakuParts.find(part => part !== basename(file)) ?? '';
  return isNunchakuFolder([basename(file), other]) && isNunchakuFolder(await files.list(dirname(file)))
    ? [problem('checkpoint/nunchaku-folder', 'warning', file, `with ${other} beside it this is the older form of a nunchaku model: ${mergeNunchaku}`)]
    : [];
}

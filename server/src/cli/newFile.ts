import { access } from 'node:fs/promises';
import { replaceFile } from '../analysis/evidence';
import { UsageError } from './command';
import type { CommandContext } from './command';

/** Through a temporary file that is renamed; what is there already only with --force. */
export async function writeNewFile(context: CommandContext, path: string, text: string): Promise<void> {
  if (context.values['force'] !== true && await access(path).then(() => true, () => false)) {
    throw new UsageError(`${path} is there already. Name another file, or add --force to replace it.`);
  }
  await replaceFile(path, text).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${path}: ${error.code === 'ENOENT' ? 'its folder is not there' : error.message}.`);
  });
}

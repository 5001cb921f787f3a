import { basename } from 'node:path';
import type { Problem, Severity } from '../protocol';

/** Every finding about a checkpoint, with its meaning. Codes are stable. */
export const checkpointCodes = {
  'checkpoint/relative-path': 'The path is not absolute.',
  'checkpoint/not-found': 'There is no such file or folder.',
  'checkpoint/permission': 'The file may not be read.',
  'checkpoint/io': 'The operating system could not read the file.',
  'checkpoint/changed': 'The file changed while numbers were taken from it.',
  'checkpoint/not-a-file': 'A folder, pipe, socket or device stands where a file is needed.',
  'checkpoint/empty': 'The file holds no bytes.',
  'checkpoint/header-too-large': 'The first 8 bytes announce a header above 100,000,000 bytes.',
  'checkpoint/truncated': 'The file ends before its header or its tensors do.',
  'checkpoint/trailing-bytes': 'Bytes follow the last tensor.',
  'checkpoint/offsets': 'Tensors leave a hole, overlap or share bytes.',
  'checkpoint/size-mismatch': 'Shape times dtype differs from the bytes a tensor occupies, or overflows.',
  'checkpoint/shape': 'A dimension or an offset is not a whole number from 0 to 2^53 − 1.',
  'checkpoint/dtype': 'A dtype is not in the safetensors list.',
  'checkpoint/json': 'The text is not the JSON the format asks for.',
  'checkpoint/duplicate': 'The same name stands twice.',
  'checkpoint/name': 'A tensor name is longer than 4,096 characters.',
  'checkpoint/utf8': 'The header is not UTF-8.',
  'checkpoint/metadata': '__metadata__ holds something other than strings.',
  'checkpoint/lfs-pointer': 'A git-lfs pointer stands where the file should be.',
  'checkpoint/zip': 'A zip archive: a torch.save file or a .dduf.',
  'checkpoint/pickle': 'A Python pickle, which is never executed here.',
  'checkpoint/gguf': 'A GGUF file.',
  'checkpoint/html': 'A web page or an XML error message saved in place of the file.',
  'checkpoint/index': 'A shard index is too large or not of the expected form.',
  'checkpoint/shard-path': 'A shard name leads out of the folder of its index.',
  'checkpoint/shard-missing': 'A shard that the index names is not there.',
  'checkpoint/shard-mismatch': 'Index and shards disagree about where tensors are.',
  'checkpoint/total-size': 'metadata.total_size differs from the tensors, which is harmless.',
  'checkpoint/no-transformer': 'The pipeline folder has no transformer component.',
  'checkpoint/no-weights': 'The folder holds no weights that can be read.',
  'checkpoint/several-weights': 'The folder holds several sets of weights.',
  'checkpoint/nunchaku-folder': 'The older form of a nunchaku model: `transformer_blocks.safetensors` beside `unquantized_layers.safetensors`, deprecated.',
  'checkpoint/config': 'config.json or model_index.json cannot be read.',
  'checkpoint/quantized': 'config.json says the weights are already quantized.',
  'checkpoint/architecture-mismatch': 'config.json and tensor names point to different architectures.',
  'checkpoint/unknown-architecture': 'The roles of the layers are not known.',
  'checkpoint/packed-weights': 'Weights are stored as integers whose packing is not known.',
  'checkpoint/low-precision-vectors': 'Norms, biases or other one-dimensional tensors are stored in 8 bits or less.',
  'checkpoint/other-models': 'The file also holds models that are not the transformer.',
  'checkpoint/no-layers': 'There is no linear layer in the checkpoint.',
} as const;

export type CheckpointCode = keyof typeof checkpointCodes;

/** A finding about `file`; the message starts with the file's name and ends with what to do. */
export function problem(code: CheckpointCode, severity: Severity, file: string, detail: string): Problem {
  return { code, severity, message: `${escaped(basename(file) || file || 'checkpoint')}: ${detail}`, file };
}

/** A checkpoint that cannot be opened, and why. The only error that openCheckpoint throws. */
export class CheckpointError extends Error {
  readonly problem: Problem;

  constructor(code: CheckpointCode, file: string, detail: string) {
    const found = problem(code, 'error', file, detail);
    super(found.message);
    this.name = 'CheckpointError';
    this.problem = found;
  }
}

/** Text from a file, fit for a message: control characters visible, at most 120 characters. */
export function escaped(text: string): string {
  return visible(text.length > 120 ? `${text.slice(0, 117)}…` : text);
}

/** The same at full length, for paths. */
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, character => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`);
}

/** `escaped`, in double quotes. */
export function quoted(text: string): string {
  return `"${escaped(text)}"`;
}

/** 11898322944 → '11,898,322,944', whatever the locale. */
export function grouped(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** "3 bytes", "1 tensor". */
export function counted(count: number, noun: string): string {
  return `${grouped(count)} ${noun}${count === 1 ? '' : 's'}`;
}

/** The first few names of a list, and how many more there are. */
export function sample(names: readonly string[]): string {
  const shown = names.slice(0, 3).map(quoted).join(', ');
  return names.length > 3 ? `${shown} and ${grouped(names.length - 3)} more` : shown;
}

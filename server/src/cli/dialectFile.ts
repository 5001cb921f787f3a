/** Files of other tools, as commands open them. */
import { resolve } from 'node:path';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import { headerOf, isSafetensors } from '../config/dialects/headerFile';
import { loadDialects, whyNoDialect } from '../config/dialects/load';
import type { LoadedDialect } from '../config/dialects/load';
import { UsageError } from './command';
import type { CommandContext } from './command';

/** A file of no tool known here. */
export class UnknownFile extends UsageError {}

/** What a file holds, several configs where it is Python, with the checkpoint of `--checkpoint` or the one that belongs to the file. @throws UnknownFile */
export async function openDialects(context: CommandContext, path: string): Promise<LoadedDialect[]> {
  const given = context.values['checkpoint'];
  const isCheckpoint = isSafetensors(path);
  const document = isCheckpoint ? await headerDocument(context, path) : await context.document(path);
  const loaded = await loadDialects(document, path, context.store, typeof given === 'string' ? resolve(given) : isCheckpoint ? path : undefined);
  if (loaded.length === 0) {
    throw new UnknownFile(`${path}: ${whyNoDialect(document, path)}. QuantScope reads *.quant.yaml and the files of other tools that docs/cli.md lists.`);
  }
  return loaded;
}

/** The quantization metadata in a checkpoint's header as a text. */
async function headerDocument(context: CommandContext, path: string): Promise<TextDocument> {
  const text = await headerOf(path, context.store);
  if (text === undefined) {
    throw new UnknownFile(`${path}: holds no quantization metadata (no _quantization_metadata or quantization_config in its header, no .comfy_quant, .comfy_attention.config or scaled_fp8 tensors).`);
  }
  return TextDocument.create(URI.file(path).toString(), 'json', 1, text);
}

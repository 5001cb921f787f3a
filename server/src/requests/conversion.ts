/** Import from and export to the files of other tools. Nothing is written: the editor shows the texts. */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { ErrorCodes, ResponseError } from 'vscode-languageserver';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import { exportPlan } from '../config/convert/export';
import { importDialect } from '../config/convert/import';
import { ConversionError } from '../config/convert/lossy';
import { checkpointName } from '../config/convert/names';
import { writers } from '../config/convert/writers';
import { headerOf, isSafetensors } from '../config/dialects/headerFile';
import { chosenOf, loadDialects, whyNoDialect } from '../config/dialects/load';
import type { RequestContext } from './context';

export function registerConversion(context: RequestContext): void {
  context.onRequest('quantscope/importConfig', async ({ path, text, checkpoint, folder, line }) => {
    const written = isSafetensors(path) ? await headerOf(path, context.store) : text ?? await readFile(path, 'utf8');
    const document = TextDocument.create(URI.file(path).toString(), 'plaintext', 1, written ?? '');
    const given = checkpoint ?? (isSafetensors(path) ? path : undefined);
    const found = given === undefined ? await context.dialectsOf(document) : await loadDialects(document, path, context.store, given);
    const loaded = found.length === 0 ? whyNoDialect(document, path) : chosenOf(found, line);
    if (typeof loaded === 'string') {
      throw new ResponseError(ErrorCodes.InvalidParams, `${basename(path)}: ${loaded}.${found.length > 1 ? ' Put the cursor into the one that is meant.' : ''}`);
    }
    try {
      const { text: config, lossy } = importDialect(loaded, checkpointName(folder, loaded.checkpointPath ?? ''));
      return { text: config, fileName: `${basename(path).replace(/\.\w+$/, '')}.quant.yaml`, title: loaded.dialect.title, lossy };
    } catch (error) {
      if (error instanceof ConversionError && checkpoint === undefined) {
        return { missing: error.message };
      }
      throw error;
    }
  });
  context.onRequest('quantscope/exportTargets', () => Promise.resolve(writers.map(({ id, dialect, says }) => ({ id, title: dialect.title, says }))));
  context.onRequest('quantscope/exportConfig', async ({ uri, to }) => {
    const { plan, parsed, checkpoint } = await context.planned(uri);
    if (!checkpoint) {
      throw new ResponseError(ErrorCodes.InvalidParams, 'This config names no checkpoint that can be read.');
    }
    try {
      const { text, writer, lossy, grave } = exportPlan(to, plan, parsed.config, checkpoint);
      return { text, title: writer.dialect.title, fileName: writer.fileName, lossy, grave };
    } catch (error) {
      throw error instanceof ConversionError ? new ResponseError(ErrorCodes.InvalidParams, error.message) : error;
    }
  });
}

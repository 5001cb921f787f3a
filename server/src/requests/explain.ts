/** What every quantization file of the workspace does to one layer, and which layers a place in a file is about. */
import { ErrorCodes, LSPErrorCodes, ResponseError } from 'vscode-languageserver';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import { explainByConfig, explainByDialect } from '../config/explain';
import type { Explained } from '../config/explain';
import { isConfig } from '../documents';
import { speaksOfLayers } from '../config/dialects/load';
import { matchList } from '../config/match';
import { entryAt } from '../language/dialects/entries';
import { modelAt } from '../language/dialects/model';
import { buildModel } from '../language/model';
import { patternAt } from '../language/tree';
import type { Checkpoint, FileExplanation, LayerExplanation, LayersAt, LayersAtParams } from '../protocol';
import type { RequestContext } from './context';

/** Files that could hold a quantization of any tool; their content decides. */
const mayQuantize = (name: string): boolean => /\.(?:json|ya?ml|txt|py|sh|bash)$/i.test(name) && !/^(?:package(?:-lock)?|tsconfig.*)\.json$/.test(name);
const maxBytes = 1 << 20;

export function registerExplain(context: RequestContext): void {
  context.onRequest('quantscope/layersAt', (params) => layersAt(context, params));
  context.onRequest('quantscope/explainLayer', async ({ layer, checkpoint }, token): Promise<LayerExplanation> => {
    if (typeof layer !== 'string' || layer === '') {
      throw new ResponseError(ErrorCodes.InvalidParams, 'Name a layer, such as transformer_blocks.0.attn.to_q.');
    }
    const asked = checkpoint === undefined ? undefined : await context.store.get(checkpoint);
    const files: FileExplanation[] = [];
    for (const document of await context.workspace.documents(mayQuantize, maxBytes, token)) {
      if (token.isCancellationRequested) {
        throw new ResponseError(LSPErrorCodes.RequestCancelled, 'Cancelled.');
      }
      for (const explained of await explain(context, document, layer, asked)) {
        files.push({ uri: document.uri, label: `${context.workspace.label(document.uri)}${explained.range ? `:${explained.range.start.line + 1}` : ''}`, ...explained });
      }
    }
    return { layer, facts: await factsOf(context, layer, [asked?.path, ...files.map((file) => file.checkpoint)]), files: files.sort((a, b) => a.label.localeCompare(b.label, 'en', { numeric: true })) };
  });
}

async function layersAt(context: RequestContext, { uri, position }: LayersAtParams): Promise<LayersAt> {
  const config = await context.model(uri);
  const other = config ? undefined : modelAt(await context.dialects(uri) ?? [], position);
  const { checkpoint } = config ?? other ?? {};
  if (!checkpoint) {
    return { checkpoint: null, layers: [], taken: [] };
  }
  const layers = checkpoint.layers.map(({ name }) => name);
  const pattern = config && patternAt(config, position)?.pattern;
  const entry = other && entryAt(other, position)?.entry;
  const taken = pattern ? [...matchList(checkpoint, [pattern.value.replace(/^!/, '')])].flatMap((index) => layers[index] ?? [])
    : checkpoint.layers.filter((layer) => entry?.takes(layer)).map(({ name }) => name);
  return { checkpoint: checkpoint.path, layers, taken };
}

/** One for each config in it. */
async function explain(context: RequestContext, document: TextDocument, layer: string, asked: Checkpoint | undefined): Promise<(Explained & Pick<FileExplanation, 'range'>)[]> {
  if (isConfig(document)) {
    return [explainByConfig(await buildModel(document, context.store, new Map()), layer)];
  }
  const found = (await context.dialectsOf(document)).filter(({ dialect, file }) => speaksOfLayers(dialect, file));
  return found.map((loaded) => ({ ...explainByDialect(loaded, layer, asked), ...loaded.file.part ? { range: loaded.file.part.at } : {} }));
}

/** Of the first checkpoint that has the layer. */
async function factsOf(context: RequestContext, name: string, paths: readonly (string | null | undefined)[]): Promise<LayerExplanation['facts']> {
  for (const path of new Set(paths.filter((each) => typeof each === 'string'))) {
    // One that a config names and that is not there is that config's finding.
    const checkpoint = await context.store.get(path).catch(() => undefined);
    const layer = checkpoint?.layers.find((each) => each.name === name);
    if (layer) {
      const { role, block, inFeatures, outFeatures, tensor } = layer;
      return { role, block, inFeatures, outFeatures, dtype: tensor.dtype };
    }
  }
  return null;
}

/** Everything the language features look at, for one version of one document. Plain data: features are pure functions of it. */
import type { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import type { CheckpointStore } from '../checkpoint';
import type { PieceMemory } from '../config/pieces';
import { loadAndLint } from '../lints';
import type { LintedConfig } from '../lints';
import type { LayerReport } from '../protocol';

export interface Model extends LintedConfig {
  document: TextDocument;
  /** By layer name; empty until something has been measured. */
  reports: ReadonlyMap<string, LayerReport>;
  /** By layer that needs statistics of its inputs: whether they are there. Undefined until that was looked up. */
  gathered?: ReadonlyMap<string, boolean> | undefined;
}

/** @param memory of the document, where it is being written: see config/pieces.ts */
export async function buildModel(document: TextDocument, store: CheckpointStore, reports: ReadonlyMap<string, LayerReport>, gathered?: ReadonlyMap<string, boolean>, memory?: PieceMemory): Promise<Model> {
  return { ...await loadAndLint(document, configPath(document.uri), store, memory), document, reports, gathered };
}

/** Path that relative checkpoint paths start from. An untitled document has one too when the editor gave it a folder. */
export function configPath(uri: string): string | undefined {
  const { scheme, fsPath } = URI.parse(uri);
  return scheme === 'file' || (scheme === 'untitled' && /[\\/]/.test(fsPath)) ? fsPath : undefined;
}

/** All configs of the workspace, open or not, as navigation sees them. */
import type { CancellationToken } from 'vscode-languageserver';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { parseConfig } from '../config/parse';
import { maxTextLength } from '../config/tree';
import { structureOf } from '../language/structure';
import type { Structure } from '../language/structure';
import type { FeatureContext } from './feature';

const parsed = new WeakMap<TextDocument, { version: number; structure: Structure }>();

export async function workspaceConfigs({ workspace }: FeatureContext, token: CancellationToken): Promise<Structure[]> {
  const documents = await workspace.documents((name) => /\.quant\.ya?ml$/i.test(name), maxTextLength, token);
  return documents.map((document) => {
    const known = parsed.get(document);
    if (known?.version === document.version) {
      return known.structure;
    }
    // An open document changes in place; a structure keeps the text it was made of.
    const copy = TextDocument.create(document.uri, 'quantconfig', document.version, document.getText());
    const structure = structureOf({ document: copy, parsed: parseConfig(copy) });
    parsed.set(document, { version: document.version, structure });
    return structure;
  });
}

/** A config whether or not it is open in the editor. */
import { TextDocument } from 'vscode-languageserver-textdocument';
import { maxTextLength } from '../config/tree';
import { buildModel } from '../language/model';
import type { Model } from '../language/model';
import type { FeatureContext } from './feature';

export async function configModel(context: FeatureContext, uri: string): Promise<Model | undefined> {
  const open = context.model(uri);
  // Longer files are refused with a message: one character more than that is enough to tell.
  const document = open ? undefined : await context.workspace.document(uri, 4 * maxTextLength + 4);
  return open ?? (document && buildModel(TextDocument.create(uri, 'quantconfig', document.version, document.getText()), context.store, new Map()));
}

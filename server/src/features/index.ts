/** Every language feature, one file each; what a feature answers is computed in language/. */
import type { ClientCapabilities, ServerCapabilities } from 'vscode-languageserver';
import { codeAction } from './codeAction';
import { codeLens } from './codeLens';
import { completion } from './completion';
import { definition } from './definition';
import { diagnostic } from './diagnostic';
import type { Feature, FeatureContext } from './feature';
import { formatting } from './formatting';
import { hover } from './hover';
import { inlayHint } from './inlayHint';
import { documentHighlight } from './documentHighlight';
import { documentLink } from './documentLink';
import { documentSymbol } from './documentSymbol';
import { foldingRange } from './foldingRange';
import { references } from './references';
import { rename } from './rename';
import { selectionRange } from './selectionRange';
import { semanticTokens } from './semanticTokens';
import { textDocumentContent } from './textDocumentContent';
import { workspaceSymbol } from './workspaceSymbol';

const features: readonly Feature[] = [
  diagnostic, completion, hover, definition, inlayHint, codeLens, codeAction, textDocumentContent,
  documentSymbol, workspaceSymbol, foldingRange, selectionRange, documentHighlight, references, rename, documentLink,
  formatting, semanticTokens,
];

export function featureCapabilities(client: ClientCapabilities): ServerCapabilities {
  const all = features.map((feature) => feature.capabilities(client));
  return { ...Object.assign({}, ...all) as ServerCapabilities, workspace: Object.assign({}, ...all.map(({ workspace }) => workspace)) as NonNullable<ServerCapabilities['workspace']> };
}

export function registerFeatures(context: FeatureContext): void {
  features.forEach((feature) => feature.register(context));
}

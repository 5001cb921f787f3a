/** The other places of what stands under the cursor, in the same file: an anchor's aliases, the same pattern, method, scheme or file. */
import { DocumentHighlightKind } from 'vscode-languageserver-types';
import type { DocumentHighlight, Position } from 'vscode-languageserver-types';
import { occurrenceAt, sameAs } from './occurrences';
import { structureOf } from './structure';
import type { Model } from './model';

export function documentHighlights(model: Pick<Model, 'document' | 'parsed'>, position: Position): DocumentHighlight[] | null {
  const structure = structureOf(model);
  const here = occurrenceAt(structure, position);
  return here ? sameAs(here, structure).map(({ range, isDefinition }) => ({ range, kind: isDefinition ? DocumentHighlightKind.Write : DocumentHighlightKind.Read })) : null;
}

/**
 * From a pattern to the layers it matches and from the checkpoint's path to its listing (targets are lines of the listing document), from an alias to its anchor,
 * from a method to its card, from any other path to its file.
 */
import type { Location, LocationLink, Position, Range } from 'vscode-languageserver-types';
import { URI } from 'vscode-uri';
import { matchList } from '../config/match';
import type { Checkpoint } from '../protocol';
import { methods } from '../methods';
import { checkpointListing, listingUri, nameColumn } from './checkpointText';
import { openable } from './files';
import type { Model } from './model';
import { occurrenceAt, sameAs } from './occurrences';
import type { Occurrence } from './occurrences';
import type { ListFolder } from './pathCompletion';
import { structureOf } from './structure';
import { contains } from './tree';

/** An editor shows some hundred targets at most with grace; the hover says how many there are. */
export const maxTargets = 200;

/** What there is to go to, besides the config itself. */
export interface DefinitionOptions { linkSupport: boolean; /** The client can show a checkpoint's listing. */ listings: boolean; methodDocs: string | undefined; listFolder: ListFolder }

interface Target { uri: string; range: Range }

export function definition(model: Model, position: Position, options: DefinitionOptions): LocationLink[] | Location[] | null {
  const here = occurrenceAt(structureOf(model), position);
  const targets = here ? targetsOf(here, model, options) : [];
  if (!here || targets.length === 0) {
    return null;
  }
  return options.linkSupport ? targets.map(({ uri, range }) => ({ originSelectionRange: here.range, targetUri: uri, targetRange: range, targetSelectionRange: range })) : targets;
}

function targetsOf(here: Occurrence, model: Model, { listings, methodDocs, listFolder }: DefinitionOptions): Target[] {
  const { checkpoint, document } = model;
  const top = lineRange(0, 0, 0);
  switch (here.kind) {
    case 'anchor': return sameAs(here, structureOf(model)).filter(({ isDefinition }) => isDefinition).map(({ range }) => ({ uri: document.uri, range }));
    case 'pattern': return checkpoint && listings ? layerTargets(here.value, checkpoint) : [];
    case 'method': return methodDocs !== undefined && methods.has(here.value) ? [{ uri: `${methodDocs}/${here.value}.md`, range: top }] : [];
    case 'file': {
      const named = structureOf(model).config.checkpoint;
      if (checkpoint && listings && named && contains(named.range, here.range.start)) {
        return [{ uri: listingUri(checkpoint.path), range: top }];
      }
      const file = openable(here.value, listFolder);
      return file === undefined ? [] : [{ uri: URI.file(file).toString(), range: top }];
    }
    case 'rule': case 'scheme': case 'keep': return [];
  }
}

function layerTargets(pattern: string, checkpoint: Checkpoint): Target[] {
  const { layerLines } = checkpointListing(checkpoint);
  return [...matchList(checkpoint, [pattern]).slice(0, maxTargets)].flatMap((index) => {
    const name = checkpoint.layers[index]?.name ?? '';
    const line = layerLines.get(name);
    return line === undefined ? [] : [{ uri: listingUri(checkpoint.path), range: lineRange(line, nameColumn, nameColumn + name.length) }];
  });
}

function lineRange(line: number, from: number, to: number): Range {
  return { start: { line, character: from }, end: { line, character: to } };
}

/** Where else, in all configs of the workspace: for a pattern or a layer the entries of every rule that touch the same layers, for a method or a file every use, for an anchor its aliases. */
import type { Location, Position } from 'vscode-languageserver-types';
import { compileGlob } from '../config/glob';
import { matchList } from '../config/match';
import type { Checkpoint } from '../protocol';
import { checkpointListing } from './checkpointText';
import type { Model } from './model';
import { occurrenceAt, occurrences, sameAs } from './occurrences';
import type { Occurrence } from './occurrences';
import { structureOf } from './structure';
import type { Structure } from './structure';

/** A list that an editor still shows with grace. */
export const maxReferences = 2000;

/** @param configs of the workspace; the model's own may be among them, and its open text counts */
export function references(model: Model, position: Position, configs: readonly Structure[], includeDeclaration: boolean): Location[] | null {
  const own = structureOf(model);
  const here = occurrenceAt(own, position);
  if (!here) {
    return null;
  }
  // Names of rules and anchors mean nothing outside of their file.
  const all = here.kind === 'anchor' || here.kind === 'rule' ? [own] : [own, ...configs.filter(({ uri }) => uri !== own.uri)];
  const select = here.kind === 'pattern' ? touching(here.value, model) : (structure: Structure) => sameAs(here, structure);
  const found: Location[] = [];
  for (const structure of all) {
    found.push(...select(structure).filter(({ isDefinition }) => includeDeclaration || !isDefinition).map(({ range }) => ({ uri: structure.uri, range })));
    if (found.length >= maxReferences) {
      break;
    }
  }
  return found.slice(0, maxReferences);
}

/** The same for a line of a checkpoint's listing, whose layer stands there. @param line from 0 */
export function referencesFromListing(checkpoint: Checkpoint, line: number, configs: readonly Structure[]): Location[] | null {
  const [layer] = [...checkpointListing(checkpoint).layerLines].find(([, at]) => at === line) ?? [];
  if (layer === undefined) {
    return null;
  }
  const select = touching(layer, { checkpoint });
  return configs.flatMap((structure) => select(structure).map(({ range }) => ({ uri: structure.uri, range }))).slice(0, maxReferences);
}

/** Entries that take or exclude one of the layers that `pattern` names: in this checkpoint, or by its own text when there is none or nothing matches. */
function touching(pattern: string, { checkpoint }: Pick<Model, 'checkpoint'>): (structure: Structure) => Occurrence[] {
  const matched = checkpoint ? [...matchList(checkpoint, [pattern])].map((index) => checkpoint.layers[index]?.name ?? '') : [];
  const names = matched.length > 0 || pattern.includes('*') ? matched : [pattern];
  const known = new Map<string, boolean>();
  const touches = (text: string): boolean => {
    let touched = known.get(text);
    if (touched === undefined) {
      const glob = compileGlob(text);
      touched = text === pattern || names.some((name) => glob.test(name));
      known.set(text, touched);
    }
    return touched;
  };
  return (structure) => occurrences(structure).filter(({ kind, value }) => kind === 'pattern' && touches(value));
}

/** From a pattern to the layers it matches, and from the checkpoint's path to its listing. Targets are lines of the listing document. */
import type { Location, LocationLink, Position, Range } from 'vscode-languageserver-types';
import { matchList } from '../config/match';
import { checkpointListing, listingUri, nameColumn } from './checkpointText';
import type { Model } from './model';
import { contains, patternAt } from './tree';

/** An editor shows some hundred targets at most with grace; the hover says how many there are. */
export const maxTargets = 200;

export function definition(model: Model, position: Position, linkSupport: boolean): LocationLink[] | Location[] | null {
  const { checkpoint } = model;
  if (!checkpoint) {
    return null;
  }
  const uri = listingUri(checkpoint.path);
  const named = model.parsed.config.checkpoint;
  if (named && contains(named.range, position)) {
    return answer(named.range, uri, [lineRange(0, 0, 0)], linkSupport);
  }
  const found = patternAt(model, position);
  if (!found) {
    return null;
  }
  const { layerLines } = checkpointListing(checkpoint);
  const targets = [...matchList(checkpoint, [found.pattern.value.replace(/^!/, '')]).slice(0, maxTargets)].flatMap((index) => {
    const name = checkpoint.layers[index]?.name ?? '';
    const line = layerLines.get(name);
    return line === undefined ? [] : [lineRange(line, nameColumn, nameColumn + name.length)];
  });
  return targets.length > 0 ? answer(found.pattern.range, uri, targets, linkSupport) : null;
}

function answer(origin: Range, uri: string, targets: readonly Range[], linkSupport: boolean): LocationLink[] | Location[] {
  return linkSupport
    ? targets.map((range) => ({ originSelectionRange: origin, targetUri: uri, targetRange: range, targetSelectionRange: range }))
    : targets.map((range) => ({ uri, range }));
}

function lineRange(line: number, from: number, to: number): Range {
  return { start: { line, character: from }, end: { line, character: to } };
}

/** What every entry takes by its tool's own rule, behind it: `39 layers · 15.07 %`. */
import type { InlayHint, Position, Range } from 'vscode-languageserver-types';
import { layerCount, percent, separator } from '../text';
import { contains } from '../tree';
import { isKept, writtenEntries } from './entries';
import type { WrittenEntry } from './entries';
import type { DialectModel } from './model';

/** Of all configs in a file. Two of a script may share a list, and the counts of their tools may be the same. */
export function dialectInlayHints(models: readonly DialectModel[], range: Range): InlayHint[] {
  const all = models.flatMap((model) => hintsOf(model, range));
  return [...new Map(all.reverse().map((hint) => [JSON.stringify([hint.position, hint.label]), hint])).values()].reverse();
}

function hintsOf(model: DialectModel, range: Range): InlayHint[] {
  if (!model.checkpoint || model.checkpoint.layers.length === 0) {
    return [];
  }
  const entries = writtenEntries(model);
  const lines = new Map<number, number>();
  entries.forEach(({ entry }) => lines.set(entry.range.start.line, (lines.get(entry.range.start.line) ?? 0) + 1));
  return entries.map((each) => hint(model, each, (lines.get(each.entry.range.start.line) ?? 0) > 1)).filter(({ position }) => contains(range, position));
}

function hint(model: DialectModel, { entry, result }: WrittenEntry, crowded: boolean): InlayHint {
  const { matchedLayers, matchedParamsPercent, decidedLayers } = result;
  const partly = matchedLayers > 0 && !entry.aside && decidedLayers < matchedLayers ? ` (${decidedLayers} decided)` : '';
  return {
    position: placeOf(model, entry.range, crowded), paddingLeft: true, tooltip: tooltip(model, { entry, result }),
    label: [layerCount(matchedLayers) + partly, ...matchedLayers > 0 ? [percent(matchedParamsPercent)] : []].join(separator),
  };
}

/** Behind the entry; behind the whole line where the entry is a key with its value, unless others stand in that line. */
function placeOf({ document }: DialectModel, { end }: Range, crowded: boolean): Position {
  const [, rest = ''] = /^([^\r\n]*)/.exec(document.getText({ start: end, end: { line: end.line + 1, character: 0 } })) ?? [];
  return /^\s*:/.test(rest) && !crowded ? { line: end.line, character: end.character + rest.trimEnd().length } : end;
}

function tooltip({ dialect, parsed }: DialectModel, { entry, result: { matchedLayers, matchedParamsPercent, decidedLayers } }: WrittenEntry): string {
  if (matchedLayers === 0) {
    return `Takes no layer of the checkpoint. ${entry.matchesNothing ?? ''}`.trim() + (entry.elsewhere ? '' : parsed.unmatched === 'error' ? ' The tool stops with an error.' : ' The tool passes over it without a word.');
  }
  const takes = `Takes ${layerCount(matchedLayers)} with ${percent(matchedParamsPercent)} of all linear weights by the rule of ${dialect.title}.`;
  const does = isKept(entry.treatment) ? `keeps them (${entry.treatment.label})` : `quantizes them (${entry.treatment.label})`;
  return `${takes} ${entry.aside ? `Beside quantizing: ${entry.treatment.label}.` : decidedLayers === matchedLayers ? `It decides all of them and ${does}.` : `Other entries take ${matchedLayers - decidedLayers}; it decides ${decidedLayers} and ${does}.`}`;
}

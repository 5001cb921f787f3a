/** Rules, anchors (method presets) and sections of all configs in the workspace, by a few letters of their names. */
import { SymbolKind } from 'vscode-languageserver-types';
import type { SymbolInformation } from 'vscode-languageserver-types';
import { escaped } from '../checkpoint/errors';
import type { Range } from '../protocol';
import { anchorUses } from './structure';
import type { Structure } from './structure';

/** Nobody reads further; a letter more narrows it down. */
export const maxSymbols = 500;

/** Best matches first. Editors show the file beside each. */
export function workspaceSymbols(configs: readonly Structure[], query: string): SymbolInformation[] {
  const found = configs.flatMap((structure) => symbolsOf(structure).flatMap(({ name, kind, range, containerName }) => {
    const score = subsequenceScore(name, query);
    return score === undefined || name.trim() === '' ? [] : [{ score, symbol: { name: escaped(name), kind, location: { uri: structure.uri, range }, containerName } }];
  }));
  return found.sort((a, b) => a.score - b.score).slice(0, maxSymbols).map(({ symbol }) => symbol);
}

function symbolsOf(structure: Structure): { name: string; kind: SymbolKind; range: Range; containerName: string }[] {
  const { root, config } = structure;
  return [
    ...(root?.kind === 'map' ? root.entries : []).map(({ key, keyRange }) => ({ name: key, kind: SymbolKind.Namespace, range: keyRange, containerName: 'section' })),
    ...config.rules.flatMap(({ named }) => (named ? [{ name: named.value, kind: SymbolKind.Class, range: named.range, containerName: 'rule' }] : [])),
    ...anchorUses(structure).filter(({ isAlias }) => !isAlias).map(({ name, range }) => ({ name: `&${name}`, kind: SymbolKind.Constant, range, containerName: 'anchor' })),
  ];
}

/**
 * How far the letters of `query`, in their order and whatever their case, lie apart in `name`: 0 for its beginning, less is better.
 * @returns undefined when one is missing
 */
export function subsequenceScore(name: string, query: string): number | undefined {
  const [text, letters] = [name.toLowerCase(), query.toLowerCase().replace(/\s+/g, '')];
  const whole = text.indexOf(letters);
  if (whole >= 0) {
    return whole;
  }
  let score = text.length;
  let at = -1;
  for (const letter of letters) {
    const next = text.indexOf(letter, at + 1);
    if (next < 0) {
      return undefined;
    }
    score += next - at - 1;
    at = next;
  }
  return score;
}

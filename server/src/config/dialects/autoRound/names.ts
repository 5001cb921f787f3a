/** How AutoRound's exporter finds layers by names, parts of names and expressions. Read in auto-round (2026-08), `resolver.py`, `to_standard_regex` and `find_matching_blocks`. */
import type { Checkpoint, Range } from '../../../protocol';
import type { Located } from '../../parse';
import { rangeOf } from '../../tree';
import type { TreeNode } from '../../tree';
import type { DialectEntry, DialectFile, DialectProblem, Treatment } from '../dialect';
import type { NameRule } from '../field';
import type { Fields } from '../fields';
import { expressions, names } from '../offers';
import { regexOrProblem } from '../patterns';
import { compileRegex } from '../regex';

/** Part: not the name of a layer, which a checkpoint says. */
export interface ExportEntry extends DialectEntry { kind: 'settings' | 'ignore' | 'block'; isPart: boolean; search(name: string): boolean }

export const partialName: NameRule = {
  doc: 'The whole name of a layer; anything else is searched for anywhere in names, as an expression where it holds one of `.*`, `^`, `$`, `|`, `(`, `)`, `[`, `]`, `?`, `+`. Every dot but that of `.*` is a plain dot.',
  takes: (entry) => { const regex = compileRegex(standard(entry), 'python'); return ({ name }) => name === entry || regex.search(name); }, offers: (checkpoint) => [...expressions('', '', ['', ''])(checkpoint).map((each) => each.replaceAll('\\.', '.')), ...names(checkpoint)],
};

/** As `to_standard_regex` writes it. What stands around it matters to a quantifier at the start: `?.ff` becomes `.*?\.ff`. */
function standard(text: string): string {
  if (!/\.\*|[\^$|()[\]?+]/.test(text)) {
    return text.replace(/[.*{}\\]/g, '\\$&');
  }
  const escaped = text.replace(/\.(?!\*)/g, '\\.');
  return `${/^(?:\^|\.\*)/.test(escaped) ? '' : '.*'}${escaped}${/(?:\$|\.\*)$/.test(escaped) ? '' : '.*'}`;
}

/** What an entry takes depends on which layers there are: see `prepare`. */
export function entryOf({ value, range }: Located<string>, kind: 'settings' | 'ignore', treatment: Treatment, problems: DialectProblem[]): ExportEntry[] {
  const text = kind === 'ignore' && /\d$/.test(value) ? `${value}.` : value;
  const regex = regexOrProblem(standard(text), 'python', range, problems);
  const why = kind === 'ignore' && text !== value ? `AutoRound puts a dot behind the digit at its end, so it takes what is inside of "${value}" and never a layer whose name ends so. Name such a layer in layer_config with "BF16".` :
    value.includes('\\.') ? 'AutoRound escapes dots itself, and takes the backslash for a part of the name. Write dots alone.' : /\.[+?{]/.test(value) ? 'Every dot but that of ".*" is a plain dot for AutoRound. Write ".*".' : undefined;
  return [{
    text: value, range, kind, treatment, isPart: true, isPath: /^[\w.-]+$/.test(value), elsewhere: !regex, ...why === undefined ? {} : { matchesNothing: why },
    search: (name) => regex?.search(name) === true || (kind === 'ignore' && name.includes(text)), takes: ({ name }) => name === text,
  }];
}

/** One text with commas; blanks do not count. */
export function ignored(fields: Fields, { document }: DialectFile): Located<string>[] {
  const text = fields.text('ignore_layers');
  const range = fields.range('ignore_layers');
  const source = document.getText(range);
  const isPlain = source.slice(1, -1) === text; // what is written is what it means, so each name has a place of its own
  let at = document.offsetAt(range.start) + 1;
  return (text ? text.split(',') : []).flatMap((piece) => {
    const start = at + piece.length - piece.trimStart().length;
    at += piece.length + 1;
    const value = piece.replaceAll(' ', '');
    if (value === '') {
      fields.report('autoround-export/comma', 'error', range, 'ignore_layers holds an empty name, which is an IndexError. Remove the comma around it.');
      return [];
    }
    return [{ value, range: isPlain ? rangeOf(document, start, start + piece.trim().length) : range }];
  });
}

/** A text of expressions for the names of blocks, or lists of whole names. */
export function blocks(fields: Fields, base: Treatment, problems: DialectProblem[]): ExportEntry[] {
  const written = fields.value('to_quant_block_names');
  const entry = (text: string, range: Range, takes: (block: string) => boolean): ExportEntry => ({ text, range, kind: 'block', treatment: base, isPart: true, isPath: false, matchesNothing: 'Where none takes a block AutoRound stops with a ValueError.', search: () => false, takes: ({ block }) => block !== null && takes(block) });
  if (written?.kind === 'scalar' && typeof written.value === 'string') {
    return written.value.split(',').map((each) => each.trim()).filter((each) => each !== '').flatMap((text) => {
      const regex = regexOrProblem(text, 'python', written.range, problems);
      return regex ? [entry(text, written.range, (block) => regex.search(block))] : [];
    });
  }
  const texts = (node: TreeNode | undefined): TreeNode[] => (node?.kind === 'list' ? node.items.flatMap(texts) : node ? [node] : []);
  return texts(written).flatMap((node) => (node.kind === 'scalar' && typeof node.value === 'string' ? [entry(node.value, node.range, (block) => block === node.value)] : []));
}

/** A whole name takes that layer; anything else is looked for in all names. */
export function prepare(entries: readonly ExportEntry[], { layers }: Checkpoint): void {
  const known = new Set(layers.map(({ name }) => name));
  for (const entry of entries.filter(({ kind }) => kind !== 'block')) {
    const text = entry.kind === 'ignore' && /\d$/.test(entry.text) ? `${entry.text}.` : entry.text;
    entry.isPart = !known.has(text);
    entry.takes = entry.isPart ? ({ name }) => entry.search(name) : ({ name }) => name === text;
  }
}

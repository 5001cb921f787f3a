/** What the rule texts of stable-diffusion.cpp and llama-quantize share: `expression=type`, std::regex_search on tensor names, the first match decides. */
import type { Layer } from '../../protocol';
import { rangeOf } from '../tree';
import { kept, problem, quantized } from './dialect';
import type { Decision, DialectEntry, DialectFile, DialectProblem } from './dialect';
import { describeShare } from './evaluate';
import type { Field, NameRule } from './field';
import { ggmlName, ggmlRecipes, ggmlTypes } from './ggmlTypes';
import { expressions } from './offers';
import { regexOrProblem } from './patterns';
import { compileRegex } from './regex';

/** Expressions on names of tensors. @param spelt as the tool compiles them */
export function tensorRule(spelt: (expression: string) => string): NameRule {
  return { takes: (entry) => { const regex = compileRegex(spelt(entry), 'ecmascript'); return ({ name }) => regex.search(`${name}.weight`); }, offers: expressions('', '\\.weight', ['', '']) };
}

/** Types of ggml with what they take. */
export const typeField: Field = {
  type: 'text', doc: 'A type of ggml; bits per weight count the scales.', source: 'ggml, ggml.c (2026-08)',
  values: Object.fromEntries(Object.entries(ggmlTypes).map(([name, [bits, block]]) => [name, `${bits} bits per weight${block > 1 ? `, blocks of ${block}` : ''}`])),
};

/** One `expression=type`, with the offset of its first character. */
export interface Piece { text: string; start: number }
export interface TypeEntry extends DialectEntry {
  type: string;
  /** Whether it takes a tensor of this name. */
  names(tensor: string): boolean;
  /** Names nothing but tensors that the tool leaves as they are: see otherTensors.ts. */
  inVain?: boolean;
}

/** Pieces between separators, each where it stands. */
export function pieces(text: string, separator: RegExp): Piece[] {
  const found: Piece[] = [];
  let start = 0;
  for (const match of [...text.matchAll(separator), undefined]) {
    const end = match?.index ?? text.length;
    if (end > start) {
      found.push({ text: text.slice(start, end), start });
    }
    start = end + (match?.[0].length ?? 0);
  }
  return found;
}

/** Whether a text is such a list: no file of keys and values, and most pieces end in a type of ggml. */
export function isRuleText({ form, document }: DialectFile): boolean {
  const parts = document.getText().split(/[\s,]+/).filter(Boolean);
  const rules = parts.filter((part) => ggmlName(/[^=]=([A-Za-z0-9_]+)$/.exec(part)?.[1] ?? '') !== undefined);
  return form === 'text' && rules.length > 0 && 2 * rules.length >= parts.length;
}

/** @param expression as it is compiled. @param written for messages and tables. */
export function typeEntry(file: DialectFile, written: string, expression: string, start: number, length: number, type: string, problems: DialectProblem[]): TypeEntry[] {
  const range = rangeOf(file.document, start, start + length);
  const regex = regexOrProblem(expression, 'ecmascript', range, problems);
  const [bits = 16] = ggmlTypes[type] ?? [];
  // Rules are compared with each other, so every name comes many times.
  const known = new Map<string, boolean>();
  const names = (tensor: string): boolean => {
    const found = known.get(tensor) ?? regex?.search(tensor) === true;
    known.set(tensor, found);
    return found;
  };
  return [{
    text: written, range, type, isPath: false, elsewhere: !regex, treatment: bits >= 16 ? { ...kept, label: type, weightBits: bits, ...ggmlRecipes[type] } : quantized(type, bits, 16, ggmlRecipes[type]),
    names, takes: ({ name }: Layer) => names(`${name}.weight`), matchesNothing: 'Names are those of the tensors in the file, .weight included; the expression may stand anywhere in them.',
  }];
}

/** Layers whose inputs the blocks of their type do not divide. */
export function blockTraps(entries: readonly TypeEntry[], decisions: readonly Decision[], checkpoint: Parameters<typeof describeShare>[1], effect: string): DialectProblem[] {
  return entries.flatMap((entry) => {
    const [, block = 1] = ggmlTypes[entry.type] ?? [];
    const odd = decisions.filter((decision) => decision.entry === entry && decision.layer.inFeatures % block !== 0).map(({ layer }) => layer);
    return odd.length === 0 ? [] : [problem('ggml/block-width', 'warning', entry.range,
      `Blocks of ${block} (${entry.type}) do not divide the inputs of ${describeShare(odd, checkpoint)}, such as "${odd[0]?.name ?? ''}" (${odd[0]?.inFeatures ?? 0}): ${effect}`)];
  });
}

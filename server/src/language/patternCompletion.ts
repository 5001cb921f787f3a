/** Layer patterns for `layers:`: what people usually mean first (the same layer of every block, containers), then single blocks and every name. Narrowed by what is typed. */
import { CompletionItemKind } from 'vscode-languageserver-types';
import { matchList } from '../config/match';
import type { Checkpoint, Layer } from '../protocol';
import type { Offer } from './completionItems';
import type { Cursor } from './cursor';
import type { Model } from './model';
import { layerCount, percent, separator, share } from './text';
import { schemaAt } from './tree';
import { plainScalar } from './yamlText';

/** Editors stay quick with this many; typing more narrows the list. */
const maxOffers = 200;

/** Where a pattern comes from; what it takes is counted when it is shown. */
interface Candidate { pattern: string; note: string; group: number }

/** For `resolveCompletion`. */
export interface PatternData { uri: string; pattern: string }

export function patternItems({ checkpoint, parsed: { config } }: Model, cursor: Cursor): Offer[] {
  const sign = cursor.typed.startsWith('!') ? '!' : '';
  const typed = cursor.typed.replace(/^!\s*/, '');
  const siblings = new Set(cursor.siblings);
  const taken = sign && checkpoint ? new Set(matchList(checkpoint, cursor.siblings)) : undefined;
  const ruleOf = new Map(config.rules.flatMap(({ name, layers }) => layers.map(({ value }): [string, string] => [value, name])));
  // What other rules name already is seldom meant again.
  const fitting = (checkpoint ? candidatesOf(checkpoint) : examples()).filter(({ pattern }) => fits(pattern, typed) && !siblings.has(sign + pattern))
    .map((candidate) => ({ ...candidate, rule: ruleOf.get(candidate.pattern) })).sort((a, b) => rank(a, typed) - rank(b, typed));
  const offers: Offer[] = [];
  for (const { pattern, note, group, rule } of fitting) {
    const matched = checkpoint ? matchList(checkpoint, [pattern]) : [];
    const removed = taken ? [...matched].filter((index) => taken.has(index)).length : 0;
    if (offers.length === maxOffers) {
      break;
    }
    if (taken && removed === 0) {
      continue;
    }
    const layers = [...matched].flatMap((index) => checkpoint?.layers[index] ?? []);
    const counts = !checkpoint ? [] : taken ? [`takes out ${layerCount(removed)}`] : [layerCount(layers.length), percent(share(layers, checkpoint.layers))];
    offers.push({
      label: sign + pattern,
      newText: plainScalar(sign + pattern, cursor),
      kind: group === groups.name || group === groups.single ? CompletionItemKind.Field : CompletionItemKind.Class,
      detail: [...counts, note, rule && pattern !== typed ? `in ${rule}` : ''].filter(Boolean).join(separator),
      // Beside the label is little room.
      ...(checkpoint ? { summary: taken ? `− ${removed}` : `${layers.length}${separator}${share(layers, checkpoint.layers).toFixed(1)} %` } : {}),
      sortText: String(offers.length).padStart(5, '0'),
      always: true,
      ...(checkpoint ? { data: { pattern } } : {}),
    });
  }
  return offers;
}

/** Exactly what is typed first, what other rules have last. */
function rank({ pattern, group, rule }: Candidate & { rule: string | undefined }, typed: string): number {
  return pattern === typed ? -1 : group + (rule === undefined ? 0 : 0.5);
}

/** The letters typed between stars must stand in the pattern in this order: `ff.2` finds nothing, `ff*2` finds `**.ff.net.2`. */
function fits(pattern: string, typed: string): boolean {
  const text = pattern.toLowerCase();
  let from = 0;
  for (const piece of typed.toLowerCase().split(/\*+/).filter(Boolean)) {
    const at = text.indexOf(piece, from);
    if (at < 0) {
      return false;
    }
    from = at + piece.length;
  }
  return true;
}

const groups = { family: 0, container: 1, leaf: 2, single: 3, block: 4, name: 5 } as const;

const known = new WeakMap<Checkpoint, Candidate[]>();

function candidatesOf(checkpoint: Checkpoint): Candidate[] {
  let candidates = known.get(checkpoint);
  if (!candidates) {
    candidates = collect(checkpoint);
    known.set(checkpoint, candidates);
  }
  return candidates;
}

function collect(checkpoint: Checkpoint): Candidate[] {
  const { layers } = checkpoint;
  const found = new Map<string, Candidate>();
  const add = (pattern: string, group: number, note: string): void => {
    if (!found.has(pattern)) {
      found.set(pattern, { pattern, note, group });
    }
  };
  const role = (layer: Layer): string => (layer.role === 'other' ? '' : layer.role);
  for (const layer of layers) {
    add(family(layer), layer.block === null ? groups.single : groups.family, role(layer));
  }
  add('**', groups.container, 'every layer');
  for (const layer of layers) {
    const segments = family(layer).split('.');
    segments.slice(0, -1).forEach((segment, index) => {
      if (segment !== '*' && !/^\d+$/.test(segment)) {
        add(index === 0 ? `${segment}.**` : `**.${segment}.**`, groups.container, '');
      }
    });
  }
  for (const { name } of layers) {
    const leaf = /([^.]+)$/.exec(name)?.[1] ?? '';
    if (name !== leaf && !/^\d+$/.test(leaf)) {
      add(`**.${leaf}`, groups.leaf, '');
    }
  }
  layers.forEach(({ block }) => block !== null && add(`${block}.**`, groups.block, 'one block'));
  layers.forEach((layer) => add(layer.name, groups.name, role(layer)));
  return [...found.values()].sort((a, b) => a.group - b.group);
}

/** The layer's name with its block's number open: the same layer of every block. */
function family({ name, block }: Layer): string {
  return block === null ? name : block.replace(/\d+$/, '*') + name.slice(block.length);
}

function examples(): Candidate[] {
  const written = schemaAt(['rules', 0, 'layers'])?.examples ?? [];
  return written.map((pattern) => ({ pattern: String(pattern), note: 'example', group: groups.family }));
}

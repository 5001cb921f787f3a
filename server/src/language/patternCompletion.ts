/** Layer patterns for `layers:`: what people usually mean first (the same layer of every block, containers), then single blocks and every name. Narrowed by what is typed. */
import { CompletionItemKind } from 'vscode-languageserver-types';
import { matchList } from '../config/match';
import type { Checkpoint, Layer } from '../protocol';
import type { Offer } from './completion';
import type { Cursor } from './cursor';
import { layerCount, percent, separator, share } from './text';
import { schemaAt } from './tree';
import { plainScalar } from './yamlText';

/** Editors stay quick with this many; typing more narrows the list. */
const maxOffers = 200;

interface Candidate { pattern: string; note: string; count: number; share: number; group: number }

export function patternItems(checkpoint: Checkpoint | undefined, cursor: Cursor): Offer[] {
  const excludes = cursor.typed.startsWith('!');
  const typed = cursor.typed.replace(/^!\s*/, '');
  const candidates = checkpoint ? candidatesOf(checkpoint) : examples();
  const taken = excludes && checkpoint ? new Set(matchList(checkpoint, cursor.siblings)) : undefined;
  return candidates.filter((candidate) => fits(candidate.pattern, typed)).flatMap((candidate) => {
    const removed = taken && checkpoint ? [...matchList(checkpoint, [candidate.pattern])].filter((index) => taken.has(index)).length : 0;
    if ((taken && removed === 0) || cursor.siblings.includes((excludes ? '!' : '') + candidate.pattern)) {
      return [];
    }
    return [{ candidate, removed }];
  }).slice(0, maxOffers).map(({ candidate, removed }, index): Offer => ({
    label: (excludes ? '!' : '') + candidate.pattern,
    newText: plainScalar((excludes ? '!' : '') + candidate.pattern, cursor),
    kind: candidate.group === groups.name || candidate.group === groups.single ? CompletionItemKind.Field : CompletionItemKind.Class,
    detail: [...(checkpoint ? taken ? [`takes out ${layerCount(removed)}`] : [layerCount(candidate.count), percent(candidate.share)] : []), candidate.note].filter(Boolean).join(separator),
    sortText: String(index).padStart(5, '0'),
    always: true,
  }));
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
  const add = (pattern: string, group: number, note: string, matched: readonly Layer[] = layersOf(checkpoint, pattern)): void => {
    if (!found.has(pattern) && matched.length > 0) {
      found.set(pattern, { pattern, note, count: matched.length, share: share(matched, layers), group });
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
  const blocks = new Map<string, Layer[]>();
  layers.forEach((layer) => layer.block !== null && blocks.set(layer.block, [...(blocks.get(layer.block) ?? []), layer]));
  blocks.forEach((members, block) => add(`${block}.**`, groups.block, 'one block', members));
  layers.forEach((layer) => add(layer.name, groups.name, role(layer), [layer]));
  return [...found.values()].sort((a, b) => a.group - b.group);
}

/** The layer's name with its block's number open: the same layer of every block. */
function family({ name, block }: Layer): string {
  return block === null ? name : block.replace(/\d+$/, '*') + name.slice(block.length);
}

function layersOf(checkpoint: Checkpoint, pattern: string): Layer[] {
  return [...matchList(checkpoint, [pattern])].flatMap((index) => checkpoint.layers[index] ?? []);
}

function examples(): Candidate[] {
  const written = schemaAt(['rules', 0, 'layers'])?.examples ?? [];
  return written.map((pattern) => ({ pattern: String(pattern), note: 'example', count: 0, share: 0, group: groups.family }));
}

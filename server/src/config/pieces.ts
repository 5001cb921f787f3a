/**
 * Long configs are read in pieces: each key at the margin with what belongs to it, and each item of a list behind such a key. A keystroke changes one of them; the others
 * are known from before. What a text means depends on the text alone: the pieces only bound what a mistake spoils to the item that it stands in.
 *
 * For a document that is being written, the pieces before and behind a change are the same objects as before, so that what was made of them is found again (WeakMaps in
 * parse.ts, resolve.ts and others). Lines above that come or go move their places as they are: a model of an earlier version sees them move too, and is out of date by then.
 */
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { Position } from 'vscode-languageserver-types';
import type { ProblemData, Range } from '../protocol';
import type { ConfigProblem } from './codes';
import { ownText } from './remembered';
import type { Entry, ListNode, MapNode, TreeNode } from './tree';

/** Of one text, with places in it. */
export interface Piece {
  root: TreeNode | null;
  problems: ConfigProblem[];
  nodes: number;
  anchors: boolean;
  /** Of anchors that are not in it. */
  aliases: boolean;
}

type Parse = (document: TextDocument, depth: number) => Piece;

/** A piece of a text, its first line there, and how deep it stands: 0 for a key at the margin, 1 for an item. */
interface Part { text: string; line: number; depth: 0 | 1 }
interface Section { head: Part; items: Part[]; indentation: number }

/** A piece of one document, with every place in it: these move with the lines above. */
interface Kept extends Part { piece: Piece; places: Position[] }

/** What a document was made of at its last version. Belongs to one document alone. */
export interface PieceMemory { kept: Kept[] }

/** Remembered by text, at line 0. */
const known = new Map<string, Piece>();
const maxKnown = 8192;

/** @returns undefined where a text does not fall into pieces that mean the same by themselves: another form, documents within documents, anchors used elsewhere. */
export function parseInPieces(text: string, parse: Parse, memory?: PieceMemory): Piece | undefined {
  const sections = split(text);
  if (!sections) {
    return undefined;
  }
  const all = readAll(sections.flatMap(({ head, items }) => [head, ...items]), parse, memory);
  let taken = 0;
  const read = sections.map(({ items, indentation }) => ({ head: all[taken++] as Piece, items: all.slice(taken, taken += items.length), first: items[0], indentation }));
  if ((all.some(({ anchors }) => anchors) && all.some(({ aliases }) => aliases))) {
    return undefined;
  }
  const problems = all.flatMap((piece) => piece.problems);
  const entries: Entry[] = [];
  for (const { head, items, first, indentation } of read) {
    // A quote that is open at the margin may end anywhere below.
    if (head.root?.kind !== 'map' || head.problems.some(({ code }) => code === 'config/yaml')) {
      return undefined;
    }
    const last = head.root.entries.at(-1);
    if (!first || !last) {
      entries.push(...head.root.entries);
      continue;
    }
    const lists = items.map(({ root }) => (root?.kind === 'list' ? root : undefined));
    if (head.root.entries.length !== 1 || items.some(({ problems: wrong }, i) => wrong.length === 0 && lists[i]?.items.length !== 1)) {
      return undefined;
    }
    const start = { line: first.line, character: indentation };
    const list: ListNode = { kind: 'list', range: { start, end: lists.findLast((each) => each !== undefined)?.range.end ?? start }, items: lists.flatMap((each) => each?.items ?? []) };
    entries.push({ ...last, value: list });
  }
  const [firstEntry, lastEntry] = [entries[0], entries.at(-1)];
  return firstEntry && lastEntry ? { root: merged(entries, { start: firstEntry.keyRange.start, end: endOf(read.at(-1)?.head.root, lastEntry) }, problems), problems, nodes: all.reduce((sum, { nodes }) => sum + nodes, 0), anchors: false, aliases: false } : undefined;
}

/** Where the whole mapping ends: with its last section, or with the list that is that section's value. */
function endOf(head: TreeNode | null | undefined, last: Entry): Range['end'] {
  return last.value.kind === 'list' || !head ? last.value.range.end : head.range.end;
}

/** Equal keys of different sections: the first counts. */
function merged(all: Entry[], range: Range, problems: ConfigProblem[]): MapNode {
  const seen = new Set<string>();
  const repeated = all.filter(({ key }) => (seen.has(key) ? true : !seen.add(key)));
  for (const { key, keyRange } of repeated) {
    problems.push({ code: 'config/duplicate-key', severity: 'error', message: `"${key}" stands here already. Keep one of the two.`, range: keyRange });
  }
  return repeated.length > 0 ? { kind: 'map', range, entries: all.filter((entry) => !repeated.includes(entry)), repeated } : { kind: 'map', range, entries: all };
}

function readAll(parts: readonly Part[], parse: Parse, memory: PieceMemory | undefined): Piece[] {
  const old = memory?.kept ?? [];
  const isSame = (a: Kept | undefined, b: Part | undefined): boolean => a !== undefined && a.text === b?.text && a.depth === b.depth;
  let before = 0;
  while (before < parts.length && isSame(old[before], parts[before])) {
    before++;
  }
  let behind = 0;
  while (behind < parts.length - before && behind < old.length - before && isSame(old[old.length - 1 - behind], parts[parts.length - 1 - behind])) {
    behind++;
  }
  const kept = parts.map((part, i) => {
    const same = i < before ? old[i] : i >= parts.length - behind ? old[old.length - parts.length + i] : undefined;
    return same ? shifted(same, part.line) : fresh(part, parse);
  });
  if (memory) {
    memory.kept = kept;
  }
  return kept.map(({ piece }) => piece);
}

function shifted(kept: Kept, line: number): Kept {
  const by = line - kept.line;
  if (by !== 0) {
    kept.line = line;
    kept.places.forEach((place) => { place.line += by; });
  }
  return kept;
}

function fresh({ text: part, line, depth }: Part, parse: Parse): Kept {
  const text = ownText(part);
  const key = `${depth}${text}`;
  const piece = known.get(key) ?? parse(TextDocument.create('piece:', 'yaml', 0, text), depth);
  known.delete(key);
  known.set(key, piece);
  if (known.size > maxKnown) {
    known.delete(known.keys().next().value ?? '');
  }
  const places: Position[] = [];
  return { text, depth, line, piece: copied(piece, line, places), places };
}

/** @param places takes every place of the copy */
function copied(piece: Piece, by: number, places: Position[]): Piece {
  const place = ({ line, character }: Position): Position => {
    const copy = { line: line + by, character };
    places.push(copy);
    return copy;
  };
  const range = ({ start, end }: Range): Range => ({ start: place(start), end: place(end) });
  const entry = ({ key, keyRange, value }: Entry): Entry => ({ key, keyRange: range(keyRange), value: node(value) });
  const node = (of: TreeNode): TreeNode => {
    switch (of.kind) {
      case 'scalar': return { kind: 'scalar', range: range(of.range), value: of.value };
      case 'list': return { kind: 'list', range: range(of.range), items: of.items.map(node) };
      case 'map': return { kind: 'map', range: range(of.range), entries: of.entries.map(entry), ...of.repeated ? { repeated: of.repeated.map(entry) } : {} };
    }
  };
  const data = ({ fixes }: ProblemData): ProblemData => ({ fixes: fixes.map((fix) => ({ ...fix, edits: fix.edits.map((edit) => ({ ...edit, range: range(edit.range) })) })) });
  return { ...piece, root: piece.root && node(piece.root), problems: piece.problems.map((problem) => ({ ...problem, ...problem.range ? { range: range(problem.range) } : {}, ...problem.data ? { data: data(problem.data) } : {} })) };
}

const keyLine = /^[A-Za-z_][\w-]*:(?=[ \r]|$)/;
const bareKeyLine = /^[A-Za-z_][\w-]*:[ ]*(?:#.*)?\r?$/;

/**
 * A line at the margin below items that can be no key: words without a colon; or what would have its value on its own line and something with a colon further in below, which is the end of a line that was
 * broken in two. A value that might go on below (an open quote or bracket, a block of text) is none.
 */
function isBrokenOff(line: string, text: string, end: number): boolean {
  if (!/:(?:[ ]|\r?$)/.test(line)) {
    return !/^[?&!|>%@`]/.test(line) && !/^\s*:/.test(text.slice(end, end + 1000)); // the library takes a colon on the next line
  }
  const count = (character: string): number => line.split(character).length;
  const closed = count('"') % 2 === 1 && !line.includes('\'') && count('[') <= count(']') && count('{') <= count('}') && !/[|>][+\-\d]*\s*$/.test(line);
  return closed && !/^[?:]/.test(line) && !/:[ ]*(?:#.*)?\r?$/.test(line) && /^(?:[ ]*(?:#.*)?\r?\n)*[ ]+[^\s#][^#\n]*:[ \r\n]/.test(text.slice(end, end + 1000));
}

/** Further in than the items of a list: nothing that could start another. */
function isInside(text: string, offset: number, indentation: number): boolean {
  for (let i = offset; i <= offset + indentation; i++) {
    if (text.charCodeAt(i) !== 0x20) {
      return false;
    }
  }
  return true;
}

const empty = /^[ ]*(?:#.*)?\r?$/;

/** By the margin: keys there start sections, and dashes below a key without a value, in one column, start its items. */
function split(text: string): Section[] | undefined {
  if (/\r(?!\n)|^\uFEFF|^(?:---|\.\.\.|%)|^:(?:[ \r]|$)|^ *:[ \r]*(?:#.*)?$/m.test(text)) {
    return undefined;
  }
  const sections: Section[] = [];
  let start = 0; // of the part that is being read
  let startLine = 0;
  let current: Section | undefined;
  let bare = false;
  const close = (end: number): void => {
    const part = { text: text.slice(start, end), line: startLine };
    if (current && current.head.text === '') {
      current.head = { ...part, depth: 0 };
    } else {
      current?.items.push({ ...part, depth: 1 });
    }
  };
  for (let line = 0, offset = 0; offset < text.length; line++) {
    const end = text.indexOf('\n', offset) + 1 || text.length;
    if (current?.items.length && isInside(text, offset, current.indentation)) {
      offset = end;
      continue;
    }
    const written = text.slice(offset, end).replace(/\n$/, '');
    const margin = written.search(/[^ ]/);
    if (!empty.test(written)) {
      const dashed = /^ *-(?:[ \r]|$)/.test(written);
      const inList = Boolean(current?.items.length);
      if (current && inList && (dashed ? margin < current.indentation : margin === 0 ? isBrokenOff(written, text, end) : margin <= current.indentation && written[margin] !== ':')) {
        // Left of the items, and no key at the margin: a mistake of the item that it follows.
      } else if (margin === 0 && !dashed) {
        if (!keyLine.test(written)) {
          return undefined;
        }
        if (current) {
          close(offset);
          [start, startLine] = [offset, line]; // what stands above the first key belongs to it
        }
        current = { head: { text: '', line, depth: 0 }, items: [], indentation: -1 };
        sections.push(current);
        bare = bareKeyLine.test(written);
      } else if (dashed && current && bare && (current.indentation < 0 || current.indentation === margin)) {
        close(offset);
        [start, startLine] = [offset, line];
        current.indentation = margin;
      } else if (margin === 0 || !current || margin <= current.indentation) {
        return undefined; // stands left of the items
      } else if (current.indentation < 0) {
        bare = false; // its value is no list
      }
    }
    offset = end;
  }
  close(text.length);
  return current ? sections : undefined;
}

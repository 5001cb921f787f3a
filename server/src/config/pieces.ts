/**
 * Long configs are read in pieces: each key at the margin with what belongs to it, and each item of a list behind such a key. A keystroke changes one of them; the others
 * are known from before. What a text means depends on the text alone: the pieces only bound what a mistake spoils to the item that it stands in.
 */
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { ProblemData, Range } from '../protocol';
import type { ConfigProblem } from './codes';
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

/** A piece of a text, and its first line there. */
interface Part { text: string; line: number }
interface Section { head: Part; items: Part[]; indentation: number }

/** Remembered by text, and where it stood last: most stand there still. */
interface Known { piece: Piece; line: number; moved: Piece }
const known = new Map<string, Known>();
const maxKnown = 8192;

/** @returns undefined where a text does not fall into pieces that mean the same by themselves: another form, documents within documents, anchors used elsewhere. */
export function parseInPieces(text: string, parse: Parse): Piece | undefined {
  const sections = split(text);
  const read = sections?.map(({ head, items, indentation }) => ({ head: at(head, 0, parse), items: items.map((item) => at(item, 1, parse)), first: items[0], indentation }));
  const all = read?.flatMap(({ head, items }) => [head, ...items]) ?? [];
  if (!read || (all.some(({ anchors }) => anchors) && all.some(({ aliases }) => aliases))) {
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

function at({ text, line }: Part, depth: number, parse: Parse): Piece {
  const key = `${depth}${text}`;
  let found = known.get(key);
  if (found) {
    known.delete(key);
  } else {
    const piece = parse(TextDocument.create('piece:', 'yaml', 0, text), depth);
    found = { piece, line: 0, moved: piece };
  }
  known.set(key, found);
  if (known.size > maxKnown) {
    known.delete(known.keys().next().value ?? '');
  }
  if (found.line !== line) {
    found.line = line;
    found.moved = moved(found.piece, line);
  }
  return found.moved;
}

function moved(piece: Piece, by: number): Piece {
  const range = ({ start, end }: Range): Range => ({ start: { line: start.line + by, character: start.character }, end: { line: end.line + by, character: end.character } });
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
/** Left of an item's own lines, and yet not at the margin, nothing is right. */
const misplaced = /^ +[\w\],}-]/;
/** Words without a colon, ends of brackets, a text in quotes. */
const noKey = /^(?:[\w.][^:]*$|[\],}]|"[^"\\:]*"[^:"]*$)/;

/** A line at the margin, in a list, that can be no key: the end of a line that was broken in two. As a key it would have its value on its own line, and something with a colon below. */
function isBrokenOff(line: string, text: string, end: number): boolean {
  if (noKey.test(line)) {
    return true;
  }
  const count = (character: string): number => line.split(character).length;
  const whole = count('"') % 2 === 1 && !line.includes('\'') && count('[') === count(']') && count('{') === count('}') && !/[|>][+\-\d]*\s*$/.test(line);
  return whole && /^[\w.]/.test(line) && !/:[ ]*(?:#.*)?\r?$/.test(line) && /^(?:[ ]*(?:#.*)?\r?\n)*[ ]+[^\s#][^#\n]*:[ \r\n]/.test(text.slice(end, end + 1000));
}

const empty = /^[ ]*(?:#.*)?\r?$/;

/** By the margin: keys there start sections, and dashes below a key without a value, in one column, start its items. */
function split(text: string): Section[] | undefined {
  if (/\r(?!\n)|^\uFEFF|^(?:---|\.\.\.|%)|^ *:(?:[ \r]|$)/m.test(text)) {
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
      current.head = part;
    } else {
      current?.items.push(part);
    }
  };
  for (let line = 0, offset = 0; offset < text.length; line++) {
    const end = text.indexOf('\n', offset) + 1 || text.length;
    const written = text.slice(offset, end).replace(/\n$/, '');
    const margin = written.search(/[^ ]/);
    if (!empty.test(written)) {
      const dashed = /^ *-(?:[ \r]|$)/.test(written);
      if (current?.items.length && (margin === 0 ? isBrokenOff(written, text, end) : misplaced.test(written) && (margin < current.indentation || (margin === current.indentation && !dashed)))) {
        // No list goes on behind it: a mistake of the item that it follows.
      } else if (margin === 0 && !dashed) {
        if (!keyLine.test(written)) {
          return undefined;
        }
        if (current) {
          close(offset);
          [start, startLine] = [offset, line]; // what stands above the first key belongs to it
        }
        current = { head: { text: '', line }, items: [], indentation: -1 };
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

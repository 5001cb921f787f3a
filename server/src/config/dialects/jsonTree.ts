/** JSON text → the tree that YAML gives too. Strict, as the tools' own readers are; at the first fault it stops, and the tree holds what was read until there. */
import type { TextDocument } from 'vscode-languageserver-textdocument';
import type { Position } from 'vscode-languageserver-types';
import { Fault, JsonReader } from '../../checkpoint/json';
import type { Scalar, Tree, TreeNode } from '../tree';
import { rangeOf } from '../tree';
import { problem } from './dialect';
import type { DialectProblem } from './dialect';

/** A layer list for the largest models takes some hundred kilobytes. */
export const maxJsonLength = 4 * 1024 * 1024;

export interface JsonTree extends Pick<Tree, 'root'> { problems: DialectProblem[] }

export function parseJsonTree(document: TextDocument): JsonTree {
  const text = document.getText();
  if (text.length > maxJsonLength) {
    return { root: null, problems: [problem('dialect/json', 'error', rangeOf(document, 0, 1),
      `This file holds ${Math.ceil(text.length / 1024)} KiB of text; a quantization config may hold ${maxJsonLength / 1024} KiB. Check that this is the right file.`)] };
  }
  const reader = new Reader(text);
  try {
    reader.read();
  } catch (error) {
    if (!(error instanceof Fault)) {
      throw error;
    }
    const duplicate = error.code === 'checkpoint/duplicate';
    const at = Math.min(error.position, Math.max(0, text.length - 1));
    return { root: reader.root, problems: [problem(duplicate ? 'dialect/duplicate-key' : 'dialect/json', 'error', rangeOf(document, at, at + 1), duplicate ?
      `${error.message}. Python keeps the last one without a word: keep one of the two. What follows is not read.` :
      `This is not valid JSON: ${error.message}. What follows is not read.`)] };
  }
  return { root: reader.root, problems: [] };
}

class Reader {
  root: TreeNode | null = null;
  private readonly json: JsonReader;

  private readonly lineStarts: number[] = [0];
  private line = 0;

  constructor(private readonly text: string) {
    this.json = new JsonReader(text);
    for (const { index, 0: end } of text.matchAll(/\r\n|\n|\r/g)) {
      this.lineStarts.push(index + end.length);
    }
  }

  read(): void {
    this.value((node) => { this.root = node; });
    this.json.end();
  }

  /** Hands a container on before it is full, so that what was read before a fault is in the tree. */
  private value(keep: (node: TreeNode) => void): void {
    const start = this.json.position;
    const first = this.json.peek();
    const range = { start: this.place(start), end: this.place(start) };
    if (first === '{') {
      const node: TreeNode = { kind: 'map', range, entries: [] };
      keep(node);
      this.json.object((key, position) => {
        const keyRange = { start: this.place(position), end: this.place(this.endOfString(position)) };
        this.value((value) => node.entries.push({ key, keyRange, value }));
      });
    } else if (first === '[') {
      const node: TreeNode = { kind: 'list', range, items: [] };
      keep(node);
      this.json.array(() => this.value((item) => node.items.push(item)));
    } else {
      keep({ kind: 'scalar', range, value: this.json.value() as Scalar });
    }
    range.end = this.place(this.lastRead());
  }

  /** As `TextDocument.positionAt`, for offsets near the one before: no token holds the end of a line. */
  private place(offset: number): Position {
    while ((this.lineStarts[this.line + 1] ?? Infinity) <= offset) {
      this.line++;
    }
    while ((this.lineStarts[this.line] ?? 0) > offset) {
      this.line--;
    }
    return { line: this.line, character: offset - (this.lineStarts[this.line] ?? 0) };
  }

  /** Where the value read last ends: white space lies between it and the next token. */
  private lastRead(): number {
    let end = this.json.position;
    while (end > 0 && /\s/.test(this.text.charAt(end - 1))) {
      end--;
    }
    return end;
  }

  private endOfString(start: number): number {
    let end = start + 1;
    while (end < this.text.length && this.text[end] !== '"') {
      end += this.text[end] === '\\' ? 2 : 1;
    }
    return end + 1;
  }
}

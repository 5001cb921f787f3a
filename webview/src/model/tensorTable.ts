/** Filter and order of a checkpoint's tensors. Pure; made for thousands of rows on every keystroke. */
import type { TensorInfo } from '../../../server/src/protocol';

export type TensorColumn = 'name' | 'dtype' | 'shape' | 'bytes' | 'offset';
export interface Order<C extends string = string> { column: C; descending: boolean }

const natural = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

/** Compares names the way people count: `blocks.2` before `blocks.10`. */
export function compareNames(a: string, b: string): number {
  return natural.compare(a, b);
}

/**
 * Rows that hold every word of the query. A word is looked for in name, dtype and shape (`128x512`), ignoring case; a leading `-` turns it round,
 * and `*` stands for any characters.
 */
export function filterTensors(tensors: readonly TensorInfo[], query: string): TensorInfo[] {
  const words = query.toLowerCase().split(/\s+/).filter((word) => word !== '' && word !== '-');
  const tests = words.map((word) => ({ wanted: !word.startsWith('-'), parts: word.replace(/^-/, '').split('*') }));
  return tensors.filter((tensor) => {
    const text = `${tensor.name} ${tensor.dtype} ${tensor.shape.join('x')}`.toLowerCase();
    return tests.every(({ wanted, parts }) => holdsInOrder(text, parts) === wanted);
  });
}

/** Greedy search is exact here, because every part may be followed by anything; linear in the text. */
function holdsInOrder(text: string, parts: readonly string[]): boolean {
  let from = 0;
  for (const part of parts) {
    const at = text.indexOf(part, from);
    if (at < 0) {
      return false;
    }
    from = at + part.length;
  }
  return true;
}

export function sortTensors(tensors: readonly TensorInfo[], order: Order<TensorColumn>): TensorInfo[] {
  const compare = comparators[order.column];
  const sign = order.descending ? -1 : 1;
  return [...tensors].sort((a, b) => sign * compare(a, b) || compareNames(a.name, b.name));
}

const comparators: Record<TensorColumn, (a: TensorInfo, b: TensorInfo) => number> = {
  name: (a, b) => compareNames(a.name, b.name),
  dtype: (a, b) => a.dtype.localeCompare(b.dtype),
  shape: (a, b) => elements(a) - elements(b),
  bytes: (a, b) => a.bytes - b.bytes,
  offset: (a, b) => a.offset - b.offset,
};

export function elements(tensor: TensorInfo): number {
  return tensor.shape.reduce((product, size) => product * size, 1);
}

/** `[['BF16', 94], ['F32', 2]]`, most frequent first. */
export function countDtypes(tensors: readonly TensorInfo[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const { dtype } of tensors) {
    counts.set(dtype, (counts.get(dtype) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]);
}

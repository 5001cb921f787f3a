/** One row of the table that `npm run bench` closes with. */
import { appendFileSync } from 'node:fs';

export interface Row {
  /** What was measured, and on what. */
  what: string;
  /** With units, and the statistic where there is one. */
  measured: string;
  /** Nothing was promised without one. */
  target?: string;
  met?: boolean;
}

/**
 * Prints a row, and hands it to `npm run bench`: as a line of JSON at the end of the file that QUANTSCOPE_BENCH_ROWS names. A benchmark in any language may
 * write such lines.
 */
export function row(values: Row): void {
  const { what, measured, target, met } = values;
  process.stdout.write(`→ ${what}: ${measured}${target === undefined ? '' : `, target ${target}${met === undefined ? '' : `: ${met ? 'met' : 'MISSED'}`}`}\n`);
  const file = process.env['QUANTSCOPE_BENCH_ROWS'];
  if (file !== undefined) {
    appendFileSync(file, `${JSON.stringify(values)}\n`);
  }
}

/** Of any number of values; NaN of none. @param share 0.5 is the median */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
}

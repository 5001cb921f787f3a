/** How numbers are written, the same in every view. A value nobody measured is an en dash. */

export const NONE = '–';

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** Decimal units (1 MB = 10⁶ bytes), as disks and `budget.size` count. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 99.95 ? value.toFixed(0) : value.toFixed(value >= 9.995 ? 1 : 2)} ${UNITS[unit] ?? ''}`;
}

/** `12345678` → `12.3 M`: parameters and values. */
export function formatCount(count: number): string {
  const steps: [number, string][] = [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']];
  for (const [size, suffix] of steps) {
    if (Math.abs(count) >= size) {
      return `${(count / size).toPrecision(3)} ${suffix}`;
    }
  }
  return String(count);
}

export function formatInteger(value: number): string {
  return value.toLocaleString('en-US');
}

/** Only a whole is 100 %. */
export function formatPercent(share: number): string {
  return share >= 1 ? '100 %' : share > 0.9999 ? '> 99.99 %' : `${(100 * share).toFixed(2)} %`;
}

export function formatBits(bits: number): string {
  return bits.toFixed(3);
}

/** Measured against expected: `×1.02`. Two decimals around 1 keep a column aligned. */
export function formatRatio(ratio: number): string {
  if (ratio >= 1000 || ratio < 0.001) {
    return `×${ratio.toExponential(1)}`;
  }
  return `×${ratio >= 0.095 && ratio < 9.995 ? ratio.toFixed(2) : ratio.toPrecision(3)}`;
}

export function formatDecibel(value: number | null): string {
  return value === null ? NONE : `${value.toFixed(2)} dB`;
}

/** Four significant digits, trailing zeros too so that columns line up; exponents where plain digits would be long. */
export function formatNumber(value: number | null): string {
  if (value === null) {
    return NONE;
  }
  const size = Math.abs(value);
  const text = Number.isInteger(value) && size < 1e5 ? String(value) : size >= 9999.5 || size < 1e-3 ? value.toExponential(3) : value.toPrecision(4);
  return text.replaceAll('-', '−');
}

/** `[1152, 1152]` → `1152 × 1152`. */
export function formatShape(shape: readonly number[]): string {
  return shape.length === 0 ? 'scalar' : shape.join(' × ');
}

/** Keeps the end of a dotted name, where layers differ: `…blocks.3.attn1.to_q`. */
export function elideStart(name: string, characters: number): string {
  return name.length <= characters ? name : `…${name.slice(name.length - characters + 1)}`;
}

/** Keeps the start of a sentence, such as a prompt. */
export function elideEnd(text: string, characters: number): string {
  return text.length <= characters ? text : `${text.slice(0, characters - 1).trimEnd()}…`;
}

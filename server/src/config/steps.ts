/** How far apart the levels of a quantizer are, at the values of one row. */
import type { Quantizer } from '../protocol';

/** Mean squared error of the best codebook for a Gaussian, per bits (Lloyd–Max; OrbitQuant Eq 3 in wide layers). */
const lloydMax = [1, 0.3634, 0.1175, 0.03454, 0.009497, 0.002499, 0.0006442, 0.0001635, 0.0000412] as const;

/**
 * Mean squared distance of neighbouring levels over the values of a row, in the coordinates that are quantized. For quantizers whose levels are not evenly spaced it is what an even one of the
 * same error would have: error = step² / 12. @returns null where there are no such levels: kept weights, and twin-log, whose steps follow the value
 * @param tensorAbsMax of all rows, for one scale per tensor
 */
export function squaredStep(quantizer: Quantizer, row: Float32Array, tensorAbsMax: number): number | null {
  switch (quantizer.kind) {
    case 'keep': case 'twin-log': return null;
    case 'codebook': case 'midrise': return 12 * (lloydMax[quantizer.bits] ?? 1) * meanSquare(row);
    case 'int': {
      const { bits, symmetric, group, clip } = quantizer;
      const levels = 2 ** bits - 1;
      const share = typeof clip === 'number' ? clip : 1;
      return overGroups(row, group === 'row' || group === 'tensor' ? row.length : group, (part) => {
        const [low, high] = group === 'tensor' ? [-tensorAbsMax, tensorAbsMax] : range(part);
        const step = symmetric ? Math.max(-low, high) / Math.max(1, 2 ** (bits - 1) - 1) : (Math.max(0, high) - Math.min(0, low)) / levels;
        return (share * step) ** 2;
      });
    }
    case 'float': {
      const { format, group } = quantizer;
      const [largest, fraction, least] = format.endsWith('4') ? [6, 1, 0] : [448, 3, -6];
      return overGroups(row, typeof group === 'number' ? group : row.length, (part) => {
        const [low, high] = group === 'tensor' ? [-tensorAbsMax, tensorAbsMax] : range(part);
        const exact = Math.max(-low, high) / largest;
        const scale = format.startsWith('mx') && exact > 0 ? 2 ** Math.floor(Math.log2(Math.max(-low, high)) - Math.floor(Math.log2(largest))) : exact;
        // Below the least exponent numbers are evenly spaced.
        return part.reduce((sum, value) => sum + (scale * 2 ** (Math.max(least, scale > 0 && value !== 0 ? Math.floor(Math.log2(Math.abs(value) / scale)) : least) - fraction)) ** 2, 0) / part.length;
      });
    }
  }
}

export function meanSquare(values: Float32Array): number { return values.reduce((sum, value) => sum + value * value, 0) / Math.max(1, values.length); }

function overGroups(row: Float32Array, group: number, squared: (part: Float32Array) => number): number {
  let sum = 0;
  for (let from = 0; from < row.length; from += group) {
    const part = row.subarray(from, from + group);
    sum += squared(part) * part.length;
  }
  return sum / Math.max(1, row.length);
}

function range(values: Float32Array): [low: number, high: number] {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
}

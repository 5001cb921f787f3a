/** Numeric functions that follow numpy to the last bit, where the reference implementations lean on it. */

/** numpy.linspace. */
export function linspace(start: number, end: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => (i === count - 1 && count > 1 ? end : start + ((end - start) * i) / Math.max(1, count - 1)));
}

/** numpy.round and Python's round: halves to even. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

/** The candidate a person most likely meant, or undefined when none is close: at most a third of the letters differ (Damerau–Levenshtein). */
export function nearest(written: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(written.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(written.toLowerCase(), candidate.toLowerCase(), bestDistance);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/**
 * Insertions, deletions, substitutions and swaps of neighbours that turn a into b; `limit` where it takes that many or more. A config that matches nothing
 * compares every pattern with every layer, so common ends are skipped and hopeless pairs given up early.
 */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) {
    return limit;
  }
  let start = 0;
  while (start < a.length && start < b.length && a.charCodeAt(start) === b.charCodeAt(start)) {
    start++;
  }
  let [aEnd, bEnd] = [a.length, b.length];
  while (aEnd > start && bEnd > start && a.charCodeAt(aEnd - 1) === b.charCodeAt(bEnd - 1)) {
    aEnd--;
    bEnd--;
  }
  const width = bEnd - start;
  let beforePrevious = new Uint32Array(width + 1);
  let previous = Uint32Array.from({ length: width + 1 }, (_, j) => j);
  let row = new Uint32Array(width + 1);
  for (let i = 1; i <= aEnd - start; i++) {
    const letter = a.charCodeAt(start + i - 1);
    const letterBefore = a.charCodeAt(start + i - 2);
    row[0] = i;
    let least = i;
    for (let j = 1; j <= width; j++) {
      const other = b.charCodeAt(start + j - 1);
      let value = Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (previous[j - 1] ?? 0) + (letter === other ? 0 : 1));
      if (i > 1 && j > 1 && letter === b.charCodeAt(start + j - 2) && letterBefore === other) {
        value = Math.min(value, (beforePrevious[j - 2] ?? 0) + 1);
      }
      row[j] = value;
      least = Math.min(least, value);
    }
    if (least > limit) {
      return limit;
    }
    [beforePrevious, previous, row] = [previous, row, beforePrevious];
  }
  return Math.min(limit, previous[width] ?? 0);
}

/** The candidate a person most likely meant, or undefined when none is close: at most a third of the letters differ (Damerau–Levenshtein). */
export function nearest(written: string, candidates: readonly string[]): string | undefined {
  const text = written.toLowerCase();
  const names = candidates.map((candidate) => candidate.toLowerCase());
  const rows = [0, 1, 2].map(() => new Uint32Array(names.reduce((most, { length }) => Math.max(most, length), 0) + 2));
  let best: string | undefined;
  // What stands between common ends can be replaced letter by letter, so nothing that is further away has to be compared to its end.
  let bestDistance = names.reduce((least, name) => Math.min(least, between(text, name).most), Math.max(1, Math.floor(written.length / 3))) + 1;
  names.forEach((name, i) => {
    const distance = editDistance(text, name, bestDistance, rows);
    if (distance < bestDistance) {
      best = candidates[i];
      bestDistance = distance;
    }
  });
  return best;
}

/** Where common ends leave off, and how many letters stand between them in the longer text. */
function between(a: string, b: string): { start: number; aEnd: number; bEnd: number; most: number } {
  let start = 0;
  while (start < a.length && start < b.length && a.charCodeAt(start) === b.charCodeAt(start)) {
    start++;
  }
  let [aEnd, bEnd] = [a.length, b.length];
  while (aEnd > start && bEnd > start && a.charCodeAt(aEnd - 1) === b.charCodeAt(bEnd - 1)) {
    aEnd--;
    bEnd--;
  }
  return { start, aEnd, bEnd, most: Math.max(aEnd, bEnd) - start };
}

/**
 * Insertions, deletions, substitutions and swaps of neighbours that turn a into b; `limit` where it takes that many or more. A config that matches nothing
 * compares every pattern with every layer, so common ends are skipped, hopeless pairs given up early, and of each row only what is nearer than `limit` to the diagonal is looked at.
 * @param rows three, each two longer than b.
 */
function editDistance(a: string, b: string, limit: number, rows: readonly Uint32Array[]): number {
  if (Math.abs(a.length - b.length) >= limit) {
    return limit;
  }
  const { start, aEnd, bEnd } = between(a, b);
  const width = bEnd - start;
  let [beforePrevious, previous, row] = rows as [Uint32Array, Uint32Array, Uint32Array];
  for (let j = 0; j <= width; j++) {
    previous[j] = j;
  }
  for (let i = 1; i <= aEnd - start; i++) {
    const letter = a.charCodeAt(start + i - 1);
    const letterBefore = a.charCodeAt(start + i - 2);
    const [first, last] = [Math.max(1, i - limit + 1), Math.min(width, i + limit - 1)];
    row[first - 1] = first === 1 ? i : limit;
    let least = first === 1 ? i : limit;
    for (let j = first; j <= last; j++) {
      const other = b.charCodeAt(start + j - 1);
      let value = Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (previous[j - 1] ?? 0) + (letter === other ? 0 : 1));
      if (i > 1 && j > 1 && letter === b.charCodeAt(start + j - 2) && letterBefore === other) {
        value = Math.min(value, (beforePrevious[j - 2] ?? 0) + 1);
      }
      row[j] = value;
      least = Math.min(least, value);
    }
    row[last + 1] = limit; // the next row reaches one further
    if (least >= limit) {
      return limit;
    }
    [beforePrevious, previous, row] = [previous, row, beforePrevious];
  }
  return Math.min(limit, previous[width] ?? 0);
}

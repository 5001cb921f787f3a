/** Consecutive items whose sizes add up to at most `most`; an item larger than that comes alone. */
export function* inBatches<T>(items: Iterable<T>, sizeOf: (item: T) => number, most: number): Iterable<T[]> {
  let [batch, size]: [T[], number] = [[], 0];
  for (const item of items) {
    const own = sizeOf(item);
    if (batch.length > 0 && size + own > most) {
      yield batch;
      [batch, size] = [[], 0];
    }
    batch.push(item);
    size += own;
  }
  if (batch.length > 0) {
    yield batch;
  }
}

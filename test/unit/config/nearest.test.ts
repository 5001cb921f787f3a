import assert from 'node:assert/strict';
import { nearest } from '../../../server/src/config/nearest';
import { pick, random } from '../../fixtures/random';

/** The definition of the optimal string alignment distance, written down. */
function distance(a: string, b: string): number {
  if (a === '' || b === '') {
    return a.length + b.length;
  }
  const [end, other] = [a.slice(0, -1), b.slice(0, -1)];
  const swap = a.length > 1 && b.length > 1 && a.at(-1) === b.at(-2) && a.at(-2) === b.at(-1) ? distance(a.slice(0, -2), b.slice(0, -2)) + 1 : Infinity;
  return Math.min(distance(end, b) + 1, distance(a, other) + 1, distance(end, other) + (a.at(-1) === b.at(-1) ? 0 : 1), swap);
}

describe('nearest', () => {
  const cases: [written: string, candidates: string[], expected: string | undefined][] = [
    ['shceme', ['scheme', 'method'], 'scheme'],
    ['orbitqant', ['orbitquant', 'rtn'], 'orbitquant'],
    ['RTN', ['orbitquant', 'rtn'], 'rtn'],
    ['kep', ['keep', 'name'], 'keep'],
    ['budget', ['keep', 'name'], undefined],
    ['x', ['y'], 'y'],
    ['x', ['keep'], undefined],
    ['', ['a', 'keep'], 'a'],
    ['abc', [], undefined],
  ];
  for (const [written, candidates, expected] of cases) {
    it(`"${written}" of ${candidates.join(', ')}: ${expected ?? 'none'}`, () => {
      assert.equal(nearest(written, candidates), expected);
    });
  }

  it('finds the closest by the definition of the distance', () => {
    const next = random(4);
    const word = (): string => Array.from({ length: 1 + Math.floor(next() * 6) }, () => pick(next, ['a', 'b', 'c'])).join('');
    let found = 0;
    for (let i = 0; i < 300; i++) {
      const written = word();
      const candidates = Array.from({ length: 4 }, word);
      const distances = candidates.map((candidate) => distance(written, candidate));
      const least = Math.min(...distances);
      const expected = least <= Math.max(1, Math.floor(written.length / 3)) ? candidates[distances.indexOf(least)] : undefined;
      found += Number(expected !== undefined);
      assert.equal(nearest(written, candidates), expected, `${written} of ${candidates.join(', ')}`);
    }
    assert.ok(found > 50 && found < 300, `${found}`);
  });
});

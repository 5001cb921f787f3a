import assert from 'node:assert/strict';
import { nearest } from '../../../server/src/config/nearest';

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
});

import assert from 'node:assert/strict';
import { compileGlob } from '../../../server/src/config/glob';
import { pick, random } from '../../fixtures/random';

/** The definition, written down: exponential and obviously right. */
function matches(pattern: string, name: string): boolean {
  if (pattern === '') {
    return name === '';
  }
  if (pattern.startsWith('**')) {
    const rest = pattern.replace(/^\*+/, '');
    return Array.from({ length: name.length + 1 }, (_, i) => name.slice(i)).some((tail) => matches(rest, tail));
  }
  if (pattern.startsWith('*')) {
    const reach = name.indexOf('.') < 0 ? name.length : name.indexOf('.');
    return Array.from({ length: reach + 1 }, (_, i) => name.slice(i)).some((tail) => matches(pattern.slice(1), tail));
  }
  return name[0] === pattern[0] && matches(pattern.slice(1), name.slice(1));
}

describe('glob', () => {
  const cases: [pattern: string, name: string, expected: boolean][] = [
    ['proj_out', 'proj_out', true],
    ['proj_out', 'x.proj_out', false],
    ['to_q', 'blocks.0.to_q', false],
    ['**.to_q', 'blocks.0.to_q', true],
    ['**.to_q', 'to_q', false],
    ['blocks.*.to_q', 'blocks.12.to_q', true],
    ['blocks.*.to_q', 'blocks.1.attn.to_q', false],
    ['blocks.**.to_q', 'blocks.1.attn.to_q', true],
    ['blocks.1', 'blocks.10', false],
    ['blocks.1*', 'blocks.10', true],
    ['**.norm*.linear', 'blocks.0.norm1_context.linear', true],
    ['**.norm*.linear', 'norm_out.linear', false],
    ['**', '', true],
    ['*', '', true],
    ['*', 'a.b', false],
    ['***', 'a.b', true],
    ['**.ff.**', 'a.ff.', true],
    ['a*a', 'a', false],
    ['**aa', 'aa', true],
    ['*a*', 'bab', true],
    ['a?c', 'abc', false],
    ['[ab]', 'a', false],
    ['(a|b)+', 'a', false],
    ['*𝒳', 'a𝒳', true],
    ['', '', true],
  ];
  for (const [pattern, name, expected] of cases) {
    it(`"${pattern}" ${expected ? 'takes' : 'leaves'} "${name}"`, () => {
      assert.equal(compileGlob(pattern).test(name), expected);
      assert.equal(matches(pattern, name), expected, 'the reference agrees');
    });
  }

  it('agrees with the definition on short random patterns', () => {
    const next = random(1);
    const text = (letters: string[], length: number): string => Array.from({ length: Math.floor(next() * length) }, () => pick(next, letters)).join('');
    let taken = 0;
    for (let i = 0; i < 20_000; i++) {
      const pattern = text(['a', 'b', '.', '*', '**'], 8);
      const name = text(['a', 'a', 'b', '.'], 8);
      const expected = matches(pattern, name);
      taken += Number(expected);
      assert.equal(compileGlob(pattern).test(name), expected, `"${pattern}" on "${name}"`);
    }
    assert.ok(taken > 2000, `only ${taken} of 20000 pairs match: the test says little`);
  });

  it('agrees with the definition on patterns of more than 32 and 64 tokens', () => {
    const next = random(2);
    let taken = 0;
    for (let i = 0; i < 2000; i++) {
      const name = Array.from({ length: 40 + Math.floor(next() * 60) }, () => pick(next, ['a', 'b', 'c', '.'])).join('');
      // A name with a few pieces replaced by stars, and now and then one letter changed. Four stars keep the definition affordable.
      let pattern = `*${name.slice(1)}`;
      for (let stars = 0; stars < 3; stars++) {
        const at = Math.floor(next() * (pattern.length - 3));
        pattern = pattern.slice(0, at) + pick(next, ['*', '**']) + pattern.slice(at + Math.floor(next() * 3));
      }
      if (next() < 0.3) {
        const at = Math.floor(next() * pattern.length);
        pattern = pattern.slice(0, at) + pick(next, ['a', 'b', '.']) + pattern.slice(at + 1);
      }
      const expected = matches(pattern, name);
      taken += Number(expected);
      assert.equal(compileGlob(pattern).test(name), expected, `"${pattern}" on "${name}"`);
    }
    assert.ok(taken > 200 && taken < 1800, `${taken} of 2000 pairs match: the test is one-sided`);
  });

  it('answers at once for 10,000 stars', () => {
    const name = 'transformer_blocks.0.attn.to_q';
    assert.equal(compileGlob('*'.repeat(10_000)).test(name), true);
    assert.equal(compileGlob('*a'.repeat(10_000)).test(name), false);
    assert.equal(compileGlob('**.'.repeat(10_000)).test(name), false);
    assert.equal(compileGlob(`${'*'.repeat(10_000)}q`).test(name), true);
    assert.equal(compileGlob('*a'.repeat(10_000)).test('a'.repeat(10_000)), true);
    assert.equal(compileGlob(`${'*a'.repeat(5000)}*b`).test('a'.repeat(10_000)), false);
  });
});

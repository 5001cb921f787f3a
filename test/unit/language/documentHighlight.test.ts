import assert from 'node:assert/strict';
import { documentHighlights } from '../../../server/src/language/documentHighlight';
import { atCursor, withMarks } from './models';

/** The text with what is highlighted, and the kinds: w for the place that gives a meaning, r for a use. */
function marked(text: string): string[] {
  const { model, position } = atCursor(text);
  const found = documentHighlights(model, position);
  return found ? [withMarks(model, found.map(({ range }) => range)), found.map(({ kind }) => (kind === 3 ? 'w' : 'r')).join('')] : [];
}

describe('document highlights', () => {
  it('show an anchor and its aliases, from each of them', () => {
    const text = 'defaults: { method: &m rtn }\nrules:\n  - { layers: [&p "**.q"], method: *m }\n  - { layers: [*p], method: *m }\nx: &m 1\n';
    for (const place of ['&|m', '*|m']) {
      assert.deepEqual(marked(text.replace(place.replace('|', ''), place)), ['defaults: { method: «&m» rtn }\nrules:\n  - { layers: [&p "**.q"], method: «*m» }\n  - { layers: [*p], method: «*m» }\nx: &m 1\n', 'wrr']);
    }
  });

  it('show the same pattern in other rules, taken or excluded, and where an alias brings it in', () => {
    assert.deepEqual(marked('rules:\n  - { layers: [&a "**.q|", b] }\n  - { layers: ["!**.q", **.q, *a] }\n'), ['rules:\n  - { layers: [&a «"**.q"», b] }\n  - { layers: [«"!**.q"», «**.q», «*a»] }\n', 'rrrr']);
  });

  it('show uses of a method, a scheme, a keep and a file', () => {
    assert.deepEqual(marked('defaults: { method: rt|n }\nrules:\n  - { layers: rtn, method: { name: rtn, weights: {} } }\n'), ['defaults: { method: «rtn» }\nrules:\n  - { layers: rtn, method: { name: «rtn», weights: {} } }\n', 'rr']);
    assert.deepEqual(marked('defaults: { scheme: W4A4 }\nrules:\n  - { layers: a, scheme: |W4A4 }\n'), ['defaults: { scheme: «W4A4» }\nrules:\n  - { layers: a, scheme: «W4A4» }\n', 'rr']);
    assert.deepEqual(marked('defaults: { keep: bf|16 }\nrules:\n  - { layers: a, keep: bf16 }\n  - { layers: a, keep: fp16 }\n'), ['defaults: { keep: «bf16» }\nrules:\n  - { layers: a, keep: «bf16» }\n  - { layers: a, keep: fp16 }\n', 'rr']);
    assert.deepEqual(marked('checkpoint: ./a|/m\nloras:\n  - path: /project/a/m\n  - path: "a/../a/m"\n  - path: m\n'), ['checkpoint: «./a/m»\nloras:\n  - path: «/project/a/m»\n  - path: «"a/../a/m"»\n  - path: m\n', 'rrr']);
  });

  it('show the name of a rule as what gives it its meaning', () => {
    assert.deepEqual(marked('rules: [{ name: 𝒳 a|, layers: a }]\r\n'), ['rules: [{ name: «𝒳 a», layers: a }]\r\n', 'w']);
  });

  it('work while a bracket or a quote is missing', () => {
    assert.deepEqual(marked('rules:\n  - layers: ["a|\n    method: rtn\n  - layers: [b, a\n    keep: bf16\n'), ['rules:\n  - layers: ["«a»\n    method: rtn\n  - layers: [b, «a»\n    keep: bf16\n', 'rr']);
  });

  for (const nothing of ['|', 'ver|sion: 1', 'version: |1', 'rules: [{ lay|ers: a }]', '# comm|ent', 'a: *no|ne']) {
    it(`leave ${JSON.stringify(nothing)} to the editor`, () => assert.deepEqual(marked(nothing), []));
  }
});

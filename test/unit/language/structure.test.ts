import assert from 'node:assert/strict';
import { mend } from '../../../server/src/language/mend';
import { anchorUses, lexemes, structureOf } from '../../../server/src/language/structure';
import { parse } from '../config/found';
import { modelOf, withMarks } from './models';

describe('mended text', () => {
  const cases: [what: string, text: string, expected: string][] = [
    ['a bracket that the next key ends', 'rules:\n  - layers: [a, "b"\n    keep: bf16\n', 'rules:\n  - layers: [a, "b"]\n    keep: bf16\n'],
    ['brackets in brackets, before a comment', 'a: { b: [c # d\ne: 1\n', 'a: { b: [c]} # d\ne: 1\n'],
    ['a bracket over several lines', 'a: [\n  b,\n  c\nd: 1', 'a: [\n  b,\n  c]\nd: 1'],
    ['a bracket at the end', 'a:\r\n  - [b\r\n', 'a:\r\n  - [b]\r\n'],
    ['a quote in brackets', 'a: ["b, c]\nd: 1\n', 'a: [ b, c]\nd: 1\n'],
    ['a quote that finds another\'s', 'a: ["b, "c"]\n', 'a: [ b, "c"]\n'],
    ['a quote behind a key', 'a: "b\nc: \'d\n', 'a:  b\nc:  d\n'],
    ['quote and bracket', '  - layers: ["a\n    keep: x\n', '  - layers: [ a]\n    keep: x\n'],
    ['a rule in braces', 'rules:\n  - { layers: a, keep: bf16\n  - { layers: b }\n', 'rules:\n  - { layers: a, keep: bf16}\n  - { layers: b }\n'],
    ['a bracket on a line of its own', 'a:\n  [b,\n   c\nd: 1\n', 'a:\n  [b,\n   c]\nd: 1\n'],
    ['a key without its colon', 'a: 1\nbud # c\n\nc: 2\nr:\n  - lay\n    keep: x\n', 'a: 1\nbud: # c\n\nc: 2\nr:\n  - lay:\n    keep: x\n'],
    ['nothing in sound text', 'a: [b,\n  "c: [", # it\'s\n]\n"d: e": it\'s "so\nf: |\n  [ "\ng: \'h\'\'i\'\n', 'a: [b,\n  "c: [", # it\'s\n]\n"d: e": it\'s "so\nf: |\n  [ "\ng: \'h\'\'i\'\n'],
  ];
  for (const [what, text, expected] of cases) {
    it(`closes ${what}`, () => assert.equal(mend(text), expected));
  }

  it('keeps what follows a forgotten quote or bracket readable', () => {
    for (const half of ['["a', '["a"', '"a', '[a, "b', '{ a: [', '\'a', '[a,']) {
      const { config } = structureOf(modelOf(`version: 1\nrules:\n  - name: one\n    layers: ${half}\n    keep: bf16\n  - name: two\n    layers: [b]\nbudget: { bits: 4 }\n`));
      assert.deepEqual([config.rules.map(({ name }) => name), config.rules[1]?.layers[0]?.range.start.line, config.budget?.value], [['one', 'two'], 6, { bits: 4 }], half);
    }
  });

  it('leaves text alone that has no YAML error', () => {
    const model = modelOf('version: 5\nname: it\'s\n');
    assert.equal(structureOf(model).document, model.document);
  });

  it('comes to an end in long hostile text, and keeps its lines', () => {
    for (const piece of ['[', '{', '"', '\'', '- ', 'a: ', '\n', '!', '[a, ', '"a, ', '|\n', '{a: [', '#', ' ', 'a:\n', '- a\n', '\\', '"\\', '&a ', '["a\n', ' [\n']) {
      const text = piece.repeat(Math.floor(100_000 / piece.length));
      assert.equal(mend(text).split('\n').length, text.split('\n').length, piece);
    }
  });
});

describe('anchors', () => {
  it('belong to the last one of their name before them', () => {
    const model = modelOf('a: &x 1 # &no\nb: *x\nc: ["&no", &x y, *x, *y]\nd: &x\ne: *x\nf: |\n  &no *x\n');
    const uses = anchorUses(structureOf(model));
    assert.equal(withMarks(model, uses.map(({ range }) => range)), 'a: «&x» 1 # &no\nb: «*x»\nc: ["&no", «&x» y, «*x», *y]\nd: «&x»\ne: «*x»\nf: |\n  &no *x\n');
    assert.deepEqual(uses.map(({ group }) => uses.findIndex((each) => each.group === group)), [0, 0, 2, 2, 4, 4]);
  });

  it('are not looked for in what is no config', () => {
    assert.deepEqual(lexemes(structureOf({ ...modelOf('['.repeat(1000)), parsed: parse('['.repeat(1000)) })), []);
  });
});

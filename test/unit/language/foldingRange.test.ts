import assert from 'node:assert/strict';
import { foldingRanges } from '../../../server/src/language/foldingRange';
import { modelOf } from './models';

/** First and last line of each fold, 0-based, and its kind. */
function folds(text: string, limit?: number): string[] {
  return foldingRanges(modelOf(text), limit).map(({ startLine, endLine, kind }) => `${startLine}-${endLine}${kind === undefined ? '' : ` ${kind}`}`);
}

describe('folding ranges', () => {
  const text = [
    '# What this is,', '# in two lines.', 'version: 1', 'rules:', '  - name: a', '    layers:', '      - x', '      - y', '', '  # why', '  - layers: [', '      "b",', '      c,', '    ]', '    keep: bf16',
    '', '# more', 'budget: { bits: 4 }', 'preview:', '  prompts:', '    - a fox', '', '# end', '',
  ].join('\n');

  it('are of comments, sections, rules, lists and brackets', () => {
    assert.deepEqual(folds(text), ['0-1 comment', '3-14', '4-7', '5-7', '10-14', '18-20', '19-20']);
    assert.deepEqual(folds(text.replaceAll('\n', '\r\n')), folds(text));
  });

  it('leave a closing bracket in sight', () => {
    assert.deepEqual(folds('a: [\n  { b: 1,\n    c: 2 },\n  [\n    d\n  ],\n  e]\n'), ['0-6', '1-2', '3-4']);
    assert.deepEqual(folds('rules: [\n  a,\n  b\n]\n'), ['0-2']);
    assert.deepEqual(folds('x: 1\nrules:\n  [\n    a,\n  ]\n'), ['1-3', '2-3']);
  });

  it('are of regions, in each other, and of comment blocks between', () => {
    assert.deepEqual(folds('#region a\n# x\n# y\nb: 1\n# region c\nd: 1\n# endregion\n#endregion\n# endregion\n# regional\ne: 1 # region\n'), ['0-7 region', '1-2 comment', '4-6 region']);
  });

  it('stay while text is half written', () => {
    assert.deepEqual(folds('rules:\n  - layers: ["a\n    keep: x\n  - layers:\n      - b\n      -\nbudget:\n  bits: 4\n'), ['0-5', '1-2', '3-5', '6-7']);
    assert.deepEqual([folds(''), folds('a:'), folds('['.repeat(70)), folds('{\n')], [[], [], [], []]);
  });

  it('are as many as the client takes, the widest first', () => {
    assert.deepEqual(folds(text, 2), ['3-14', '10-14']);
    assert.deepEqual(folds(text, 0), []);
  });
});

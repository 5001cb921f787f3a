import assert from 'node:assert/strict';
import type { SelectionRange } from 'vscode-languageserver-types';
import { selectionRanges } from '../../../server/src/language/selectionRange';
import { atCursor, modelOf } from './models';

/** What is selected step by step, from the innermost out. */
function steps(marked: string): string[] {
  const { model, position } = atCursor(marked);
  const [chain] = selectionRanges(model, [position]);
  const texts: string[] = [];
  for (let at: SelectionRange | undefined = chain; at; at = at.parent) {
    texts.push(model.document.getText(at.range));
  }
  return texts;
}

describe('selection ranges', () => {
  it('grow from a segment of a pattern to the document', () => {
    const rule = 'name: a\n    layers: ["**.attn.to_q", b]';
    assert.deepEqual(steps('version: 1\nrules:\n  - name: a\n    layers: ["**.at|tn.to_q", b] # c\n  - { layers: c }\n'), [
      'attn', '**.attn.to_q', '"**.attn.to_q"', '["**.attn.to_q", b]', 'layers: ["**.attn.to_q", b]', rule, `- ${rule}`, `- ${rule} # c\n  - { layers: c }`, `rules:\n  - ${rule} # c\n  - { layers: c }`,
      `version: 1\nrules:\n  - ${rule} # c\n  - { layers: c }`, `version: 1\nrules:\n  - ${rule} # c\n  - { layers: c }\n`,
    ]);
  });

  it('take a dash with its item, and a key alone', () => {
    assert.deepEqual(steps('rules:\n  - layers:\n      - &x tw|o words\n      - b\n').slice(0, 4), ['two', 'two words', '- &x two words', '- &x two words\n      - b']);
    assert.deepEqual(steps('a: 1\nbud|get: { bits: 4 }\n').slice(0, 3), ['budget', 'budget: { bits: 4 }', 'a: 1\nbudget: { bits: 4 }']);
  });

  it('take a comment, then its block', () => {
    assert.deepEqual(steps('a: 1\n  # one\n  # t|wo words\nb: 2 # three\n'), ['two', '# two words', '# one\n  # two words', 'a: 1\n  # one\n  # two words\nb: 2', 'a: 1\n  # one\n  # two words\nb: 2 # three\n']);
    assert.deepEqual(steps('a: 1 # |x')[1], '# x');
  });

  it('count in UTF-16 and know every line end', () => {
    assert.deepEqual(steps('rules:\r\n  - { name: "𝒳𝒴 z|z", layers: a }\r\n').slice(0, 4), ['zz', '𝒳𝒴 zz', '"𝒳𝒴 zz"', 'name: "𝒳𝒴 zz"']);
  });

  it('work on half-written text and on nothing', () => {
    assert.deepEqual(steps('rules:\n  - layers: ["a.b|\n    keep: x\nbudget: {}\n').slice(0, 2), ['b', 'a.b']);
    assert.deepEqual([steps('|'), steps('a:|'), steps('a: 1\n|')], [[''], ['a:'], ['a: 1\n']]);
  });

  it('answer for each position, in their order, one inside of the other', () => {
    const model = modelOf('a: *x\nr: &r { name: n, layers: [p, q] }\nrules: [*r, { layers: *r }]\n');
    const positions = Array.from({ length: 3 }, (_, line) => Array.from({ length: 40 }, (_each, character) => ({ line, character }))).flat()
      .filter((position) => model.document.offsetAt(position) - model.document.offsetAt({ line: position.line, character: 0 }) === position.character);
    const chains = selectionRanges(model, positions);
    assert.equal(chains.length, positions.length);
    chains.forEach((chain, index) => {
      const at = model.document.offsetAt(positions[index] ?? { line: 0, character: 0 });
      for (let each: SelectionRange | undefined = chain; each; each = each.parent) {
        const [start, end] = [model.document.offsetAt(each.range.start), model.document.offsetAt(each.range.end)];
        assert.ok(start <= at && at <= end);
        const [outerStart, outerEnd] = each.parent ? [model.document.offsetAt(each.parent.range.start), model.document.offsetAt(each.parent.range.end)] : [-1, Infinity];
        assert.ok(outerStart <= start && end <= outerEnd && outerEnd - outerStart > end - start);
      }
    });
  });
});

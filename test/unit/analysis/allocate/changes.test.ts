import assert from 'node:assert/strict';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { textChanges, textHash } from '../../../../server/src/analysis/allocate/changes';
import { random } from '../../../fixtures/random';

function changes(before: string, after: string): [string, string][] {
  const document = TextDocument.create('file:///a', '', 1, before);
  const found = textChanges(document, after);
  found.forEach(({ range, oldText }) => assert.equal(document.getText(range), oldText));
  assert.equal(TextDocument.applyEdits(document, found.map(({ range, newText }) => ({ range, newText }))), after);
  return found.map(({ oldText, newText }) => [oldText, newText]);
}

describe('changes of an allocation in the text', () => {
  it('are whole lines, apart where lines between them stay', () => {
    assert.deepEqual(changes('a\nb\nc\nd\n', 'a\nb\nc\nd\n'), []);
    assert.deepEqual(changes('rules:\n  - one\nbudget: 1\n', 'rules:\n  - new\n  - one\nbudget: 2\n'), [['', '  - new\n'], ['budget: 1\n', 'budget: 2\n']]);
    assert.deepEqual(changes('a\nb\nc\n', 'a\nc\n'), [['b\n', '']]);
  });

  it('keep line ends, and a last line without one', () => {
    assert.deepEqual(changes('a\r\nb', 'a\r\nb\r\nc\r\n'), [['b', 'b\r\nc\r\n']]);
    assert.deepEqual(changes('', 'a'), [['', 'a']]);
    assert.deepEqual(changes('a', ''), [['a', '']]);
  });

  it('make any text of any other with the fewest lines', () => {
    const next = random(3);
    const lines = (): string[] => Array.from({ length: Math.floor(next() * 8) }, () => `${'abc'[Math.floor(next() * 3)] ?? ''}\n`);
    const kept = ([a, ...before]: string[], [b, ...after]: string[]): number =>
      (a === undefined || b === undefined ? 0 : a === b ? 1 + kept(before, after) : Math.max(kept(before, [b, ...after]), kept([a, ...before], after)));
    for (let i = 0; i < 500; i++) {
      const [before, after] = [lines(), lines()];
      const touched = changes(before.join(''), after.join('')).reduce((sum, [removed, added]) => sum + (removed.length + added.length) / 2, 0);
      assert.equal(touched, before.length + after.length - 2 * kept(before, after), JSON.stringify([before, after]));
    }
  });

  it('replace the middle as one where comparing every pair of lines would take too long', () => {
    const many = (letter: string): string => Array.from({ length: 2500 }, (_, i) => `${letter}${i}\n`).join('');
    assert.equal(changes(`same\n${many('a')}same\n`, `same\n${many('b')}same\n`).length, 1);
  });

  it('belong to one text', () => {
    assert.notEqual(textHash('a\n'), textHash('a\r\n'));
    assert.match(textHash(''), /^[0-9a-f]{64}$/);
  });
});

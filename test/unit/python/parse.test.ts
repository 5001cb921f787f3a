/** A text that differs a little from one read before is parsed where it differs, with the tree that it has from the start. */
import assert from 'node:assert/strict';
import { parser } from '@lezer/python';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { parsePython } from '../../../server/src/python/parse';
import { longScript, randomEdit } from '../../fixtures/edits';
import { random } from '../../fixtures/random';

describe('parsing Python', () => {
  it('after random edits and after taking them back', () => {
    const next = random(3);
    const whole = longScript();
    let document = TextDocument.create('file:///a.py', 'python', 1, whole);
    for (let i = 0; i < 60; i++) {
      document = TextDocument.update(document, [randomEdit(document, next)], i + 2);
      assert.equal(parsePython(document.getText()).toString(), parser.parse(document.getText()).toString(), `edit ${i}`);
      if (i % 5 === 4) {
        document = TextDocument.create('file:///a.py', 'python', i + 2, whole);
        assert.equal(parsePython(whole).toString(), parser.parse(whole).toString());
      }
    }
  });

  it('of other files in between, and of none', () => {
    for (const text of ['import a\n', '', 'import a\n', 'import a, b\n', longScript(), 'f(', 'f("', '']) {
      assert.equal(parsePython(text).toString(), parser.parse(text).toString(), text.slice(0, 40));
    }
  });
});

import assert from 'node:assert/strict';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { RenameError, prepareRename, rename } from '../../../server/src/language/rename';
import { atCursor } from './models';

/** The text after the rename; the words of the refusal when there is one. */
function renamed(marked: string, newName: string): string {
  const { model, position } = atCursor(marked);
  try {
    const prepared = prepareRename(model, position);
    assert.ok(model.document.getText(prepared.range).includes(prepared.placeholder));
    return TextDocument.applyEdits(model.document, rename(model, position, newName));
  } catch (error) {
    assert.ok(error instanceof RenameError, String(error));
    return error.message;
  }
}

describe('rename', () => {
  it('gives a rule another name, written as YAML wants it', () => {
    assert.equal(renamed('rules:\n  - name: o|ne # one\n    layers: one\n', 'two'), 'rules:\n  - name: two # one\n    layers: one\n');
    assert.equal(renamed('rules:\n  - name: o|ne\n    layers: one\n', 'embedders and heads'), 'rules:\n  - name: embedders and heads\n    layers: one\n');
    assert.equal(renamed('rules:\n  - name: o|ne\n    layers: one\n', ' a - b '), 'rules:\n  - name: " a - b "\n    layers: one\n');
    assert.equal(renamed('rules: [{ name: one|, layers: a }]', 'a: "b", #c'), 'rules: [{ name: "a: \\"b\\", #c", layers: a }]');
    assert.equal(renamed('rules: [{ name: \'o|ne\', layers: a }]', 'it\'s'), 'rules: [{ name: \'it\'\'s\', layers: a }]');
    assert.equal(renamed('rules:\r\n  - name: "|𝒳"\r\n    layers: a\r\n', '12'), 'rules:\r\n  - name: "12"\r\n    layers: a\r\n');
    assert.equal(renamed('rules: [{ name: o|ne, layers: a }]', 'yes'), 'rules: [{ name: "yes", layers: a }]');
  });

  it('gives an anchor and its aliases another name, and leaves others of the old name alone', () => {
    const text = 'a: &x 1\nb: *x\nc: [*x, "*x", &y 2]\nd: &x 3\ne: *x\n';
    const expected = 'a: &new 1\nb: *new\nc: [*new, "*x", &y 2]\nd: &x 3\ne: *x\n';
    assert.equal(renamed(text.replace('&x', '&|x'), 'new'), expected);
    assert.equal(renamed(text.replace('[*x', '[*x|'), 'new'), expected);
    assert.equal(renamed(text.replace('[*x', '[|*x'), 'new'), expected);
  });

  it('at an alias renames the anchor, also where the alias stands for a name', () => {
    assert.equal(renamed('n: &n one\nrules:\n  - { name: *n|, layers: a }\n', 'm'), 'n: &m one\nrules:\n  - { name: *m, layers: a }\n');
  });

  it('selects what is renamed', () => {
    const prepared = (marked: string): string[] => {
      const { model, position } = atCursor(marked);
      const { range, placeholder } = prepareRename(model, position);
      return [model.document.getText(range), placeholder];
    };
    assert.deepEqual(prepared('a: &x|y 1'), ['xy', 'xy']);
    assert.deepEqual(prepared('a: &xy 1\nb: |*xy'), ['xy', 'xy']);
    assert.deepEqual(prepared('rules: [{ name: "a \\"b\\"|", layers: a }]'), ['"a \\"b\\""', 'a "b"']);
  });

  it('refuses names that would mean something else', () => {
    for (const name of ['', '  ', 'a\nb', 'x'.repeat(201)]) {
      assert.match(renamed('rules: [{ name: o|ne, layers: a }]', name), /^The name of a rule has 1 to 200 characters on one line/);
    }
    assert.match(renamed('rules: [{ name: o|ne, layers: a }, { name: two, layers: a }]', 'two'), /^Another rule is called "two"/);
    assert.match(renamed('rules: [{ name: o|ne, layers: a }, { layers: a }]', 'rule 2'), /^Another rule is called "rule 2"/);
    for (const name of ['', 'a b', 'a,', '[a', '*a', 'a:', '-a', 'a\n']) {
      assert.match(renamed('a: &|x 1', name), /cannot name an anchor\. Use letters/, name);
    }
    assert.match(renamed('a: &|x 1\nb: &y 2', 'y'), /^&y is there already/);
    assert.equal(renamed('a: &|x 1\nb: &y 2', 'x'), 'a: &x 1\nb: &y 2');
  });

  it('refuses everything else in words', () => {
    for (const marked of ['|', 'ver|sion: 1', 'rules: [{ na|me: a, layers: b }]', 'rules: [{ layers: b| }]', 'defaults: { method: rt|n }', '# &|x', 'a: *no|ne']) {
      assert.match(renamed(marked, 'new'), /^Only the name of a rule, an anchor \(&name\) or its alias \(\*name\) can be renamed\./, marked);
    }
    assert.match(renamed('rules:\n  - name: >\n      lo|ng\n    layers: a\n', 'new'), /over several lines/);
  });

  it('works while a bracket is missing elsewhere', () => {
    assert.equal(renamed('rules:\n  - layers: ["a\n  - name: o|ne\n    layers: [b\n', 'two'), 'rules:\n  - layers: ["a\n  - name: two\n    layers: [b\n');
  });
});

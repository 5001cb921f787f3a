import assert from 'node:assert/strict';
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { FormattingOptions } from 'vscode-languageserver-types';
import { isGap, tokensOf } from '../../../server/src/config/tokens';
import { parseTree, toValue } from '../../../server/src/config/tree';
import { format } from '../../../server/src/language/formatting';
import type { Range } from '../../../server/src/protocol';
import { pick, random } from '../../fixtures/random';
import { documentOf } from '../config/found';

const usual: FormattingOptions = { tabSize: 2, insertSpaces: true };

function formatted(text: string, options: Partial<FormattingOptions> = {}, range?: Range): string {
  const document = documentOf(text);
  return TextDocument.applyEdits(document, format(document, { ...usual, ...options }, range));
}

/** The same with `«` and `»` around the lines that are to be formatted. */
function formattedRange(marked: string): string {
  const [from, to] = [marked.indexOf('«'), marked.indexOf('»') - 1];
  const document = documentOf(marked.replace(/[«»]/g, ''));
  return formatted(document.getText(), {}, { start: document.positionAt(from), end: document.positionAt(to) });
}

describe('formatting', () => {
  const cases: [name: string, before: string, after: string][] = [
    ['indents blocks by two, dashes included', 'rules:\n-   name: a\n    layers:\n    -  x\n    -    y\n    method:\n         name: rtn\n', 'rules:\n  - name: a\n    layers:\n      - x\n      - y\n    method:\n      name: rtn\n'],
    ['puts one space behind colons and commas and inside braces', 'a:   {b:1,c : 2 ,d:   [ x,"y" ,z ]}\n', 'a: { b:1, c: 2, d: [x, "y", z] }\n'],
    ['does the same where quotes allow to leave the space out', '{"a":1,"b":{}}\n', '{ "a": 1, "b": {} }\n'],
    ['leaves empty brackets empty', 'a: {  }\nb: [ ]\n', 'a: {}\nb: []\n'],
    ['keeps one empty line of many, and none at the start or the end', '\n\na: 1\n\n\n\nb: 2\n\n\n', 'a: 1\n\nb: 2\n'],
    ['cuts spaces at the ends of lines', 'a: 1   \n   \nb: 2 # x  \n', 'a: 1\n\nb: 2 # x\n'],
    ['adds the last line end', 'a: 1', 'a: 1\n'],
    ['keeps quotes, and comments where they stand beside a value', 'a: \'x\'\nb:  "y"      # why\nc: z # t\n', 'a: \'x\'\nb: "y"      # why\nc: z # t\n'],
    ['moves comments with what is in their column', '# top\na:\n    # of b\n    b: 1\n    # of b too\n# of c\nc: 2\n', '# top\na:\n  # of b\n  b: 1\n  # of b too\n# of c\nc: 2\n'],
    ['moves comments of no column with what is nearest', 'a:\n      # far\n    b:\n       c: 1\n   # near\nd: 2\n', 'a:\n  # far\n  b:\n    c: 1\n# near\nd: 2\n'],
    ['moves brackets that go on with their line', 'rules:\n- layers: ["a",\n           "b"]\n', 'rules:\n  - layers: ["a",\n             "b"]\n'],
    ['indents brackets that open at the end of a line', 'a: [\n x,\n     { b: 1,\n       c: 2 },\n      # end\n   ]\n', 'a: [\n  x,\n  { b: 1,\n    c: 2 },\n  # end\n]\n'],
    ['indents nested ones', '- [\n{\na: 1\n}\n   ]\n', ''],
    ['keeps anchors, aliases and tags apart', 'a: &x   1\nb: [ *x , !!str   2 ]\n', 'a: &x 1\nb: [*x, !!str 2]\n'],
    ['moves block texts with their key', 'a:\n    b: |\n       text\n         more\n\n       end\n    c: 1\n', 'a:\n  b: |\n     text\n       more\n\n     end\n  c: 1\n'],
    ['keeps the line ends of block texts', 'a: |+\n  x\n\n\nb: |\n  y', 'a: |+\n  x\n\n\nb: |\n  y'],
    ['moves texts over several lines', 'a:\n    b: "x\n        y"\n    c: z\n      w\n', 'a:\n  b: "x\n      y"\n  c: z\n    w\n'],
    ['puts a value that stands below its key into place', 'a:\n      b\nc:\n -\n     d: 1\n', 'a:\n  b\nc:\n  -\n    d: 1\n'],
    ['writes nested dashes in one line', 'a:\n - -  x\n   -  y\n -  - z\n', 'a:\n  - - x\n    - y\n  - - z\n'],
    ['formats patterns whose quotes were forgotten', 'rules:\n- layers: [ **.a ,!**.b ]\n', 'rules:\n  - layers: [**.a, !**.b]\n'],
    ['keeps a byte order mark', '\uFEFFa:   1\nb:\n   c: 1\n', '\uFEFFa: 1\nb:\n  c: 1\n'],
    ['keeps the mark of a document', '---\na:  1\n...\n', '---\na: 1\n...\n'],
    ['goes on behind a value that is missing', 'a:\nb:  \n  # none\nc:\n  - \n  - x\n', 'a:\nb:\n# none\nc:\n  -\n  - x\n'],
  ];
  cases.splice(cases.findIndex(([name]) => name === 'indents nested ones'), 1, ['indents nested ones', 'a:\n- [\n  {\n   b: 1\n      }\n   ]\n', 'a:\n  - [\n      {\n        b: 1\n      }\n    ]\n']);
  for (const [name, before, after] of cases) {
    it(name, () => {
      assert.equal(formatted(before), after);
      assert.equal(formatted(after), after, 'twice');
      if (before.includes('\n')) {
        assert.equal(formatted(before.replaceAll('\n', '\r\n')), after.replaceAll('\n', '\r\n'), 'with CRLF');
      }
    });
  }

  for (const broken of ['a: [x\nb:   1\n', 'a:\n\tb:   1\n', 'a: "x\n', 'a: 1\n---\nb:   2\n', '? a\n:   b\n', '', '# only   \n', 'a: &x [*x]\nb:   1\n']) {
    it(`leaves ${JSON.stringify(broken)} alone`, () => assert.equal(formatted(broken), broken));
  }

  it('takes the width of an indentation from the editor', () => {
    assert.equal(formatted('a:\n  b:\n  - c:\n      d: [\n       x]\n', { tabSize: 4 }), 'a:\n    b:\n        - c:\n              d: [\n                  x]\n');
  });

  it('leaves spaces and line ends to editors that take care of them', () => {
    assert.equal(formatted('a:  1  \n\nb: 2', { trimTrailingWhitespace: false, insertFinalNewline: false }), 'a: 1  \n\nb: 2');
    assert.equal(formatted('a:  1\n\n\n', { trimFinalNewlines: false }), 'a: 1\n\n\n');
  });

  it('edits only what changes', () => {
    assert.deepEqual(format(documentOf('a: 1\nb:  2\nc:\n  - x\n  -  y\n'), usual), [
      { range: { start: { line: 1, character: 2 }, end: { line: 1, character: 4 } }, newText: ' ' },
      { range: { start: { line: 4, character: 3 }, end: { line: 4, character: 5 } }, newText: ' ' },
    ]);
  });

  const ranges: [marked: string, after: string][] = [
    ['a:   1\n«b:   2\n»c:   3\n', 'a:   1\nb: 2\nc:   3\n'],
    ['a:   1\nb: «  2»\nc:   3\n', 'a:   1\nb: 2\nc:   3\n'],
    ['r:\n- a:   1\n  b:\n    «    c:  1\n        d:   2\n»- e:   1\n', 'r:\n- a:   1\n  b:\n    c: 1\n    d: 2\n- e:   1\n'],
    ['r:\n    - a:\n«         - x\n»         -  y\n', 'r:\n    - a:\n         - x\n         -  y\n'],
    ['r:\n«    - a\n\n\n    -  b\n»c:   1', 'r:\n  - a\n\n  - b\nc:   1'],
  ];
  for (const [marked, after] of ranges) {
    it(`formats only ${JSON.stringify(marked)}`, () => assert.equal(formattedRange(marked), after));
  }

  it('never changes what a config says, whatever its layout, and is done after once', () => {
    for (let seed = 1; seed <= 40; seed++) {
      const text = randomConfig(random(seed));
      const [before, after] = [text, formatted(text)].map((each) => ({ tree: parseTree(documentOf(each)), each }));
      assert.ok(before?.tree.root && after?.tree.root && before.tree.problems.length === 0, `seed ${seed}: ${JSON.stringify(text)}`);
      assert.deepEqual(JSON.stringify(toValue(after.tree.root)), JSON.stringify(toValue(before.tree.root)), `seed ${seed}`);
      assert.deepEqual(words(after.each), words(text), `seed ${seed}`);
      assert.equal(formatted(after.each), after.each, `seed ${seed}: ${JSON.stringify(text)}`);
      assert.doesNotMatch(after.each, /[^\S\n]\n|\n\n\n|[^\n]$/, `seed ${seed}: ${JSON.stringify(after.each)}`);
      const { lineCount } = documentOf(text);
      const start = Math.floor(random(seed + 1000)() * lineCount);
      const part = formatted(text, {}, { start: { line: start, character: 0 }, end: { line: start + 3, character: 0 } });
      assert.equal(JSON.stringify(toValue(parseTree(documentOf(part)).root ?? assert.fail())), JSON.stringify(toValue(before.tree.root)), `part, seed ${seed}`);
    }
  });
});

/** Keys, values and comments in their order. */
function words(text: string): string[] {
  return tokensOf(text).filter((token) => !isGap(token) || token.type === 'comment').map(({ source }) => source.trim().replace(/\n\s+/g, '\n'));
}

/** A config of valid YAML in the worst of layouts. */
function randomConfig(next: () => number): string {
  const spaces = (least = 0): string => ' '.repeat(least + Math.floor(next() * 4 * next()));
  const chance = (odds: number): boolean => next() < odds;
  const comment = (indent: string): string => (chance(0.15) ? `${indent}#${spaces()}note ${Math.floor(next() * 100)}\n` : chance(0.1) ? `${spaces()}\n`.repeat(1 + Math.floor(next() * 3)) : '');
  const tail = (): string => (chance(0.1) ? `${spaces(1)}# behind` : spaces());
  const scalar = (): string => pick(next, ['1', 'rtn', 'W4A4', '"**.ff.*"', '\'!x\'', 'a b', '0.5', '"q # no"', 'true']);
  const flow = (depth: number, indent: string): string => {
    if (depth === 0 || chance(0.6)) {
      return scalar();
    }
    const gap = (): string => (chance(0.15) ? `\n${indent}${spaces(1)}` : spaces());
    const isMap = chance(0.5);
    const items = Array.from({ length: Math.floor(next() * 4) }, (_, i) => `${gap()}${isMap ? `k${i}:${spaces(1)}` : ''}${flow(depth - 1, indent)}${spaces()}`);
    return (isMap ? ['{', '}'] : ['[', ']']).join(`${items.join(',')}${gap()}`);
  };
  const block = (depth: number, indent: string): string => {
    const inner = `${indent} ${spaces()}`;
    const value = (): string => {
      if (depth > 0 && chance(0.4)) {
        return `${tail()}\n${comment(inner)}${block(depth - 1, inner)}`;
      }
      return chance(0.05) ? ` |\n${inner} text\n${inner}  more\n` : chance(0.05) ? ` &a${depth} ${scalar()}${tail()}\n` : `${spaces(1)}${flow(2, inner)}${tail()}\n`;
    };
    const count = 1 + Math.floor(next() * 4);
    const list = chance(0.4);
    return Array.from({ length: count }, (_, i) => `${comment(indent)}${indent}${list ? '-' : `k${i}${chance(0.2) ? ' ' : ''}:`}${value()}`).join('');
  };
  return Array.from({ length: 1 + Math.floor(next() * 5) }, (_, i) => `${comment('')}key${i}:${chance(0.5) ? ` ${flow(2, ' ')}${tail()}\n` : `${tail()}\n${block(3, spaces(1))}`}`).join('');
}

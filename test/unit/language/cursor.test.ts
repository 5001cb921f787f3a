import assert from 'node:assert/strict';
import { cursorAt } from '../../../server/src/language/cursor';
import { placeAt } from '../../../server/src/language/tree';
import { parseTree } from '../../../server/src/config/tree';
import { documentOf } from '../config/found';

describe('cursor', () => {
  const texts = [
    'version: 1\ncheckpoint: "./m 1" # c\ndefaults: { method: { name: rtn, rotate: false }, scheme: W4A4 }\nrules:\n  - name: a b\n    layers: ["**.q", x, \'!y\']\n    keep: bf16\n  - layers: one\n    method:\n      name: rtn\n      weights:\n        group: 64\n',
    'rules:\n- layers:\n  - "a"\n  - b\n  keep: bf16\n- layers: [\n    a,  # why\n    "b"\n  ]\n  scheme: W4A4\nbudget:\n    bits: 4.5\n',
    '{version: 1, "rules": [{layers: [a, "b"], keep: bf16}],\n  budget: {size: 1 GB}}\n',
    '---\nversion: 1\n\n# comment\nrules:\n  -   name: deep\n      layers: x\n\n      keep: fp16\n',
  ];

  for (const [index, text] of texts.entries()) {
    for (const [name, written] of [['LF', text], ['CRLF', text.replaceAll('\n', '\r\n')]] as const) {
      it(`agrees with the syntax tree inside of every key and scalar of sound text ${index + 1} (${name})`, () => {
        const document = documentOf(written);
        const { root, problems } = parseTree(document);
        assert.deepEqual(problems, []);
        let compared = 0;
        for (let offset = 0; offset <= written.length; offset++) {
          if (written[offset - 1] === '\r') {
            continue; // no editor has a cursor inside of a line break
          }
          const place = placeAt(root, document.positionAt(offset));
          if (!place || (!place.onKey && place.node.kind !== 'scalar') || / /.test(document.getText(place.range)) && place.onKey) {
            continue;
          }
          const cursor = cursorAt(written, offset);
          const path = place.onKey ? place.path.slice(0, -1) : place.path;
          assert.deepEqual(cursor?.path, path, `offset ${offset}`);
          assert.deepEqual([document.positionAt(cursor.start), document.positionAt(cursor.end)], [place.range.start, place.range.end], `offset ${offset}`);
          assert.equal(cursor.kind === 'key', place.onKey);
          compared++;
        }
        assert.ok(compared > 40, `${compared}`);
      });
    }
  }

  const nothing: [what: string, marked: string][] = [
    ['in a comment', 'a: 1 # |'], ['in a block scalar', 'a: |\n  tex^t\nb: 1'], ['behind a finished value', 'a: "x" ^'], ['behind a closed bracket', 'a: [b] ^'],
    ['between two values', 'a: [b ^ , c]'], ['before a value', 'a: ^  b'], ['on a directive', '%YAML ^1.2\n---\na: 1'],
  ];
  for (const [what, marked] of nothing) {
    it(`finds nothing ${what}`, () => {
      const text = marked.replace('^', '').replace(/^a: 1 # \|$/, 'a: 1 # ');
      assert.equal(cursorAt(text, marked.includes('^') ? marked.indexOf('^') : text.length), undefined);
    });
  }

  it('takes a forgotten bracket or quote back at the next line that cannot belong to it', () => {
    for (const open of ['layers: [a', 'layers: ["a', 'layers: "a', 'layers: { a: [', 'layers: [{a: "b']) {
      const text = `rules:\n  - ${open}\n    keep: `;
      assert.deepEqual(cursorAt(text, text.length)?.path, ['rules', 0, 'keep'], open);
    }
  });

  it('comes to an end in long hostile text', () => {
    for (const piece of ['[', '{', '"', '\'', '- ', 'a: ', '\n', '!', ': ', '[a, ', '"a, ', '|\n', '{a: [', '#', ' ', 'a:\n', '- a\n', '\\', '"\\']) {
      const text = piece.repeat(Math.floor(200_000 / piece.length));
      const path = cursorAt(text, text.length)?.path ?? [];
      assert.ok(path.length <= 200, piece);
    }
  });
});

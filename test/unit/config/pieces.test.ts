/** Long texts are read in pieces. Whatever is right as a whole gives the same tree; whatever is wrong as a whole is wrong in pieces too. */
import assert from 'node:assert/strict';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { parseConfig } from '../../../server/src/config/parse';
import { parseInPieces } from '../../../server/src/config/pieces';
import type { PieceMemory } from '../../../server/src/config/pieces';
import { resolvePlan } from '../../../server/src/config/resolve';
import { parsePiece, parseTree } from '../../../server/src/config/tree';
import { publishedCheckpoint } from '../../fixtures/checkpoints';
import { longConfig, randomEdit } from '../../fixtures/edits';
import { random } from '../../fixtures/random';
import { documentOf } from './found';

const base = `# a config
version: 1   # one
checkpoint: "./model"
defaults: { method: orbitquant, scheme: W4A4 }

rules:
  # the first
  - name: modulation
    layers: ["**.norm*.linear", 'x']
    scheme: W4A16
    method: { name: rtn, weights: { group: 64 } }

  - layers:
      - proj_out
      - "**.ff.**"   # both

    keep: bf16
  # before the last
  - layers: [x_embedder,
      context_embedder]
    name: >
      a long
      name
  - {layers: a, keep: bf16}
  -
    layers: b
loras:
- path: ./a.safetensors
  scale: 0.8

- path: ./b.safetensors
budget:
  size: 6.9GB
preview:
  # nothing yet
findings: {}
`;

/** The library lets a value that is not there reach up to what comes next, and what ends with it too: which is another place in a piece. */
function comparable(root: unknown): unknown {
  const text = JSON.stringify(root);
  return text.includes('"value":null') ? JSON.parse(text.replace(/"end":\{[^}]*\}/g, '"end":0')) : root;
}

describe('texts in pieces', () => {
  const whole = (text: string): ReturnType<typeof parsePiece> => parsePiece(documentOf(text), 0);
  const pieces = (text: string): ReturnType<typeof parseInPieces> => parseInPieces(text, parsePiece);

  it('are the same as in one', () => {
    for (const text of [base, base.replaceAll('\n', '\r\n'), base.trimEnd(), `${base}# end`, base.slice(base.indexOf('rules')), longConfig('./model').split('\n').slice(0, 400).join('\n')]) {
      const { root, problems } = whole(text);
      assert.deepEqual([pieces(text)?.root, pieces(text)?.problems], [root, problems]);
    }
  });

  it('keep a mistake to the item that it stands in', () => {
    const root = pieces(base.replace('"**.ff.**"', '"**.ff.**'))?.root;
    assert.deepEqual(root?.kind === 'map' && root.entries.map(({ key }) => key), ['version', 'checkpoint', 'defaults', 'rules', 'loras', 'budget', 'preview', 'findings']);
  });

  it('are left to the library where pieces mean something else', () => {
    for (const text of ['- a\n- b\n', '{a: 1}\n', 'a: &x 1\nb: *x\n', 'a: 1\n---\nb: 2\n', 'a: 1\rb: 2\n', '"a": 1\n', 'a:\n  b: 1\n c: 2\n- d\n', '']) {
      assert.equal(pieces(text), undefined, JSON.stringify(text));
    }
    assert.equal(pieces('a: &x 1\nb: [*x, *y]\n'), undefined);
    assert.deepEqual(pieces('a: *x\n')?.problems, whole('a: *x\n').problems);
  });

  it('agree with the whole on what is right, on damaged texts too', () => {
    const next = random(5);
    const many = `${longConfig('./model').split('\n').slice(0, 44).join('\n')}\nbudget: { size: 6.9GB }\n`;
    let agreed = 0;
    for (let round = 0; round < 400; round++) {
      let document = documentOf(round % 2 === 0 ? base : many);
      for (let i = Math.floor(next() * 3); i >= 0; i--) {
        const { range, text } = randomEdit(document, next);
        const [from, to] = [document.offsetAt(range.start), document.offsetAt(range.end)];
        document = documentOf(document.getText().slice(0, from) + text + document.getText().slice(to));
      }
      const text = document.getText();
      const [one, parts] = [whole(text), pieces(text)];
      if (parts) {
        agreed++;
        assert.deepEqual(parts.problems.length === 0, one.problems.length === 0, `round ${round}: ${JSON.stringify(text)}\n${JSON.stringify([one.problems, parts.problems])}`);
        if (one.problems.length === 0) {
          assert.deepEqual(comparable(parts.root), comparable(one.root), `round ${round}: ${JSON.stringify(text)}`);
        }
      }
    }
    assert.ok(agreed > 200, `${agreed}`);
  });

  it('move with the lines above them', () => {
    const text = longConfig('./model');
    const [before, after] = [text, text.replace('rules:', '\n\nrules:')].map((each) => parseTree(documentOf(each)));
    const line = (tree: typeof before): number | undefined => (tree?.root?.kind === 'map' ? tree.root.entries.at(-1)?.keyRange.start.line : undefined);
    assert.equal((line(after) ?? NaN) - (line(before) ?? NaN), 2);
    assert.deepEqual(parseTree(documentOf(text)), before);
  });

  it('of a document that is being written say what its text says, and so does the plan', () => {
    const checkpoint = publishedCheckpoint('FLUX.1-dev');
    const next = random(11);
    const memory: PieceMemory = { kept: [] };
    let document = TextDocument.create('file:///a.quant.yaml', 'quantconfig', 0, longConfig('./model').split('\n').slice(0, 404).join('\n'));
    for (let i = 1; i <= 60; i++) {
      document = TextDocument.update(document, [randomEdit(document, next)], i);
      const [written, read] = [parseConfig(document, memory), parseConfig(documentOf(document.getText()))];
      // As JSON: deepEqual takes a second for a plan.
      assert.equal(JSON.stringify([written, resolvePlan(written.config, checkpoint)]), JSON.stringify([read, resolvePlan(read.config, checkpoint)]), `edit ${i}`);
    }
  });
});

/** Every structural feature on text as it is while somebody types: cut off, with pieces missing or doubled, in every style that YAML has. */
import assert from 'node:assert/strict';
import type { Position, Range, SelectionRange } from 'vscode-languageserver-types';
import { definition } from '../../../server/src/language/definition';
import { documentHighlights } from '../../../server/src/language/documentHighlight';
import { documentLinks } from '../../../server/src/language/documentLink';
import { documentSymbols, flatSymbols } from '../../../server/src/language/documentSymbol';
import { foldingRanges } from '../../../server/src/language/foldingRange';
import type { Model } from '../../../server/src/language/model';
import { references } from '../../../server/src/language/references';
import { RenameError, prepareRename, rename } from '../../../server/src/language/rename';
import { selectionRanges } from '../../../server/src/language/selectionRange';
import { structureOf } from '../../../server/src/language/structure';
import { workspaceSymbols } from '../../../server/src/language/workspaceSymbol';
import { layersNamed } from '../../fixtures/checkpoints';
import { pick, random } from '../../fixtures/random';
import { modelOf } from './models';

const checkpoint = layersNamed('blocks.0.attn.q', 'blocks.0.ff.up', 'out');

const sample = `# region what
# A config with everything: 𝒳 and "quotes".
version: 1
checkpoint: "./m odel"
defaults: &base { method: &int4 { name: rtn, weights: { group: 64 } }, scheme: W4A4 }
# endregion
rules:
  - name: "𝒳 one"
    layers: [&p "**.attn.*", '!blocks.1.**',
      *p, blocks.*.ff.up ]   # why
    method: *int4
  - { name: two, layers: *p, keep: bf16 }
  - layers:
    - out
    - *.in
    name: >
      long
  - *base
loras: [{ path: a.safetensors, scale: 0.5 }]
preview: { decoder: ./taesd, prompts: [a fox, 'b.safetensors'] }
`;

/** Asks everything. @returns all ranges of the answers */
function askAll(model: Model, position: Position): Range[] {
  const listFolder = (): { name: string; isFolder: boolean }[] => [{ name: 'a.safetensors', isFolder: false }, { name: 'm odel', isFolder: true }];
  const structure = structureOf(model);
  const chain: Range[] = [];
  for (let at: SelectionRange | undefined = selectionRanges(model, [position])[0]; at; at = at.parent) {
    chain.push(at.range);
  }
  const refused: Range[] = [];
  try {
    refused.push(prepareRename(model, position).range, ...rename(model, position, 'fresh').map(({ range }) => range));
  } catch (error) {
    assert.ok(error instanceof RenameError, String(error));
  }
  return [
    ...chain, ...refused,
    ...flatSymbols(documentSymbols(model), '').map(({ location }) => location.range),
    ...foldingRanges(model).map(({ startLine, endLine }) => ({ start: { line: startLine, character: 0 }, end: { line: endLine, character: 0 } })),
    ...(documentHighlights(model, position) ?? []).map(({ range }) => range),
    ...(references(model, position, [structure], true) ?? []).map(({ range }) => range),
    ...documentLinks(model, listFolder).map(({ range }) => range),
    ...workspaceSymbols([structure], '').map(({ location }) => location.range),
    ...(definition(model, position, { linkSupport: true, listings: true, methodDocs: 'file:///docs', listFolder }) ?? []).flatMap((link) => ('originSelectionRange' in link ? link.originSelectionRange ?? [] : [])),
  ];
}

function check(text: string, at: number): void {
  const model = modelOf(text, { checkpoint });
  const { document } = model;
  for (const { start, end } of askAll(model, document.positionAt(at))) {
    assert.ok(start.line <= end.line && (start.line < end.line || start.character <= end.character) && end.line < document.lineCount, JSON.stringify({ text, at, start, end }));
  }
}

describe('half-written text', () => {
  it('is answered by every feature, cut off anywhere', () => {
    for (let end = 0; end <= sample.length; end += 15) {
      check(sample.slice(0, end), end);
      check(sample.slice(end), 0);
    }
  });

  it('is answered by every feature, with pieces missing, doubled and moved', () => {
    const next = random(6);
    for (let round = 0; round < 80; round++) {
      let text = next() < 0.3 ? sample.replaceAll('\n', '\r\n') : sample;
      let at = 0;
      for (let edits = 0; edits < 3; edits++) {
        at = Math.floor(next() * text.length);
        const cut = Math.floor(next() * 12);
        const piece = pick(next, ['', '"', '\'', '[', '{', '}', ']', ': ', '\n', '- ', '&p ', '*p', '*', '!', '#', '|', '>', '𝒳', '\t', '  ', ',', '\u0000', '\ud835', 'layers:\n', text.slice(at, at + 40)]);
        text = text.slice(0, at) + piece + text.slice(at + cut);
      }
      check(text, at);
    }
  });

  it('of hostile kinds comes to an end', () => {
    for (const piece of ['[', '- ', 'a: ', '&a ', '*a ', '&a [*a, ', '#\n', '# region\n', '"', '{a: [', '- &a\n', 'a: &a {\n', '\n\n']) {
      check(piece.repeat(Math.floor(1_000 / piece.length)), 500);
    }
    check(`a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n${'bcdef'.split('').map((name, i) => `${name}: &${name} [${Array<string>(9).fill(`*${'abcde'[i] ?? ''}`).join(', ')}]`).join('\n')}\n`, 50);
  });
});

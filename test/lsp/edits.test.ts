/** Many random increments on a long file: the server's text stays the client's, and every request in between is answered. */
import assert from 'node:assert/strict';
import type { DocumentDiagnosticReport } from 'vscode-languageserver/node';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { longConfig, randomEdit } from '../fixtures/edits';
import { random } from '../fixtures/random';
import { clients } from './client';

const edits = 60;
const asked = ['textDocument/completion', 'textDocument/hover', 'textDocument/documentHighlight', 'textDocument/definition'];

describe('random edits over the wire', function () {
  this.timeout(60_000);
  const start = clients();

  it(`${edits} of them never part the server's text from the client's`, async () => {
    const client = start();
    await client.initialize();
    const next = random(7);
    const text = longConfig('./nowhere');
    assert.ok(text.split('\n').length > 2000);
    const uri = await client.open(text);
    let document = TextDocument.create(uri, 'quantconfig', 1, text);
    /** What shows every character of a text: problems, symbols and folds with their places. */
    const told = async (of: string): Promise<unknown> => {
      const report = await client.ask<DocumentDiagnosticReport>('textDocument/diagnostic', { textDocument: { uri: of } });
      const outline = await client.ask('textDocument/documentSymbol', { textDocument: { uri: of } });
      return JSON.parse(JSON.stringify([report.kind === 'full' ? report.items : [], outline, await client.ask('textDocument/foldingRange', { textDocument: { uri: of } })]).replaceAll(of, ''));
    };
    for (let i = 0; i < edits; i++) {
      const changes = Array.from({ length: 1 + Math.floor(next() * 3) }, () => {
        const change = randomEdit(document, next);
        document = TextDocument.update(document, [change], i + 2);
        return change;
      });
      await client.change(uri, changes);
      if (i % 10 === 0) {
        const position = document.positionAt(Math.floor(next() * document.getText().length));
        await client.ask(asked[(i / 10) % asked.length] ?? '', { textDocument: { uri }, position });
      }
    }
    const twin = 'file:///project/twin.quant.yaml';
    await client.tell('textDocument/didOpen', { textDocument: { uri: twin, languageId: 'quantconfig', version: 1, text: document.getText() } });
    assert.deepEqual(await told(uri), await told(twin));
    // The length as such: what replaces everything up to the client's end leaves nothing behind.
    await client.change(uri, [{ range: { start: { line: 0, character: 0 }, end: document.positionAt(document.getText().length) }, text: 'version: 7\n' }]);
    const { items } = await client.ask<{ items: { code: string }[] }>('textDocument/diagnostic', { textDocument: { uri } });
    assert.deepEqual(items.map(({ code }) => code).sort(), ['config/missing-key', 'config/unknown-value']);
    for (const closed of [uri, twin]) {
      await client.tell('textDocument/didClose', { textDocument: { uri: closed } });
    }
    await client.ask('textDocument/hover', { textDocument: { uri }, position: { line: 0, character: 0 } }); // what was on its way has come
    client.drop('quantscope/planChanged');
    await client.end();
  });
});

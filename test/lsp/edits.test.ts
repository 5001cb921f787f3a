/** Many random increments on a long file: the server's text stays the client's, and every request in between is answered. */
import assert from 'node:assert/strict';
import type { Position } from 'vscode-languageserver/node';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import { longConfig, longLayerMap, longScript, randomEdit } from '../fixtures/edits';
import { pick, random } from '../fixtures/random';
import { clients } from './client';
import type { TestClient } from './client';

const edits = 50;
const asked = ['textDocument/completion', 'textDocument/hover', 'textDocument/documentHighlight', 'textDocument/definition'];

describe('random edits over the wire', function () {
  this.timeout(60_000);
  const start = clients();

  /** Opens a text, edits it, and compares what the server says of it with what it says of the same text opened anew. */
  async function edit(client: TestClient, path: string, languageId: string, text: string, asks: readonly string[], seed: number): Promise<{ uri: string; twin: string; end: Position }> {
    const next = random(seed);
    assert.ok(text.split('\n').length > 1500);
    const [uri, twin] = [URI.file(`/project/${path}`).toString(), URI.file(`/twin/${path}`).toString()];
    const open = (of: string, content: string): Promise<void> => client.tell('textDocument/didOpen', { textDocument: { uri: of, languageId, version: 1, text: content } });
    await open(uri, text);
    let document = TextDocument.create(uri, languageId, 1, text);
    for (let i = 0; i < edits; i++) {
      const changes = Array.from({ length: 1 + Math.floor(next() * 3) }, () => {
        const change = randomEdit(document, next);
        document = TextDocument.update(document, [change], i + 2);
        return change;
      });
      await client.change(uri, changes);
      if (i % 20 === 10) {
        const position = document.positionAt(Math.floor(next() * document.getText().length));
        await client.ask(pick(next, asked), { textDocument: { uri }, position });
      }
    }
    await open(twin, document.getText());
    const told = async (of: string): Promise<unknown> => JSON.parse(JSON.stringify(await Promise.all(asks.map((method) =>
      client.ask(method, { textDocument: { uri: of }, range: { start: { line: 0, character: 0 }, end: { line: 5000, character: 0 } } })))).replaceAll(of, '').replaceAll('/twin/', '/project/'));
    assert.deepEqual(await told(uri), await told(twin));
    return { uri, twin, end: document.positionAt(document.getText().length) };
  }

  it(`${edits} of them never part the server's text from the client's`, async () => {
    const client = start();
    await client.initialize();
    const ours = await edit(client, 'model.quant.yaml', 'quantconfig', longConfig('./nowhere'), ['textDocument/diagnostic', 'textDocument/documentSymbol', 'textDocument/foldingRange'], 7);
    const theirs = await edit(client, 'hf_quant_config.json', 'json', longLayerMap(), ['textDocument/diagnostic', 'textDocument/inlayHint', 'textDocument/codeLens'], 8);
    const script = await edit(client, 'quantize.py', 'python', longScript(), ['textDocument/diagnostic', 'textDocument/inlayHint', 'textDocument/codeLens'], 9);
    // The length as such: what replaces everything up to the client's end leaves nothing behind.
    await client.change(ours.uri, [{ range: { start: { line: 0, character: 0 }, end: ours.end }, text: 'version: 7\n' }]);
    const { items } = await client.ask<{ items: { code: string }[] }>('textDocument/diagnostic', { textDocument: { uri: ours.uri } });
    assert.deepEqual(items.map(({ code }) => code).sort(), ['config/missing-key', 'config/unknown-value']);
    for (const uri of [ours, theirs, script].flatMap((each) => [each.uri, each.twin])) {
      await client.tell('textDocument/didClose', { textDocument: { uri } });
    }
    await client.ask('textDocument/hover', { textDocument: { uri: ours.uri }, position: { line: 0, character: 0 } }); // what was on its way has come
    client.drop('quantscope/planChanged');
    await client.end();
  });
});

/** Text as editors send it: increments, UTF-16, line ends, odd versions, sizes. */
import assert from 'node:assert/strict';
import type { Diagnostic, DocumentDiagnosticReport, Hover } from 'vscode-languageserver/node';
import { clients } from './client';
import type { TestClient } from './client';

describe('documents over the wire', function () {
  this.timeout(20_000);
  const start = clients();

  async function opened(text: string): Promise<{ client: TestClient; uri: string; pull: () => Promise<Diagnostic[]> }> {
    const client = start();
    await client.initialize();
    const uri = await client.open(text);
    const pull = async (): Promise<Diagnostic[]> => {
      const report = await client.ask<DocumentDiagnosticReport>('textDocument/diagnostic', { textDocument: { uri } });
      return report.kind === 'full' ? report.items : [];
    };
    return { client, uri, pull };
  }

  const insert = (line: number, character: number, text: string, length = 0): object => ({ range: { start: { line, character }, end: { line, character: character + length } }, text });

  it('counts astral characters as two', async () => {
    const { client, uri, pull } = await opened('version: 1\nrules: [{ name: "𝒳𝒳", layers: x, kep: bf16 }]\n');
    const problem = (await pull()).find((each) => each.code === 'config/unknown-key');
    assert.deepEqual(problem?.range, { start: { line: 1, character: 35 }, end: { line: 1, character: 38 } });
    await client.change(uri, [insert(1, 35, 'keep', 3), insert(1, 18, '𝒴')]);
    assert.deepEqual((await pull()).map((each) => each.code), ['config/missing-key']);
    const hover = await client.ask<Hover>('textDocument/hover', { textDocument: { uri }, position: { line: 1, character: 38 } });
    assert.deepEqual(hover.range, { start: { line: 1, character: 37 }, end: { line: 1, character: 41 } });
    await client.settled(uri);
    await client.end();
  });

  it('takes CRLF and lone CR for line ends', async () => {
    const { client, uri, pull } = await opened('version: 1\r\ncheckpoint: ""\r\n');
    assert.deepEqual((await pull()).map((each) => each.range), [{ start: { line: 1, character: 12 }, end: { line: 1, character: 14 } }]);
    await client.change(uri, [insert(1, 12, '"  "', 2)]);
    assert.deepEqual((await pull()).map((each) => each.range.end), [{ line: 1, character: 16 }]);
    await client.settled(uri);
    await client.end();
  });

  it('answers about the latest text, whatever the versions say', async () => {
    const { client, uri, pull } = await opened('version: 1\ncheckpoint: " "\n');
    await client.change(uri, 'version: 2\n', 9);
    await client.change(uri, 'version: 3\ncheckpoint: " "\n', 4);
    await client.change(uri, 'version: 1\ncheckpoint: " "\nrules: 5\n', 4);
    assert.deepEqual((await pull()).map((each) => each.code), ['config/value', 'config/type']);
    await client.settled(uri);
    await client.end();
  });

  it('answers every keystroke of a typed config, and the last answer is about the last text', async () => {
    const text = 'version: 1\ncheckpoint: ./nowhere\nrules:\n  - layers: ["**.x"]\n';
    const { client, uri, pull } = await opened('');
    let line = 0;
    let character = 0;
    let last: Promise<Diagnostic[]> = pull();
    for (const letter of text) {
      await client.change(uri, [insert(line, character, letter)]);
      last = pull();
      [line, character] = letter === '\n' ? [line + 1, 0] : [line, character + 1];
    }
    assert.deepEqual((await last).map((each) => each.code), ['checkpoint/not-found']);
    await client.settled(uri);
    await client.end();
  });

  it('refuses 10 MB in words and goes on', async () => {
    const { client, uri, pull } = await opened(`version: 1\n# ${'x'.repeat(10_000_000)}\n`);
    const [problem] = await pull();
    assert.equal(problem?.code, 'config/too-large');
    assert.equal(await client.ask('textDocument/hover', { textDocument: { uri }, position: { line: 0, character: 1 } }), null);
    assert.deepEqual(await client.ask('textDocument/completion', { textDocument: { uri }, position: { line: 0, character: 1 } }), { isIncomplete: false, items: [] });
    await client.change(uri, [{ range: { start: { line: 1, character: 0 }, end: { line: 2, character: 0 } }, text: 'checkpoint: " "\n' }]);
    assert.deepEqual((await pull()).map((each) => each.code), ['config/value']);
    await client.settled(uri);
    await client.end();
  });

  const hostile: [name: string, text: string, code: string][] = [
    ['a tab', 'version: 1\nrules:\n\t- layers: x\n', 'config/tab'],
    ['a cycle of anchors', 'version: &a [*a]\n', 'config/alias'],
    ['anchors that multiply', `a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n${'bcdefghi'.split('').map((name, i) => `${name}: &${name} [${Array<string>(9).fill(`*${'abcdefgh'[i] ?? ''}`).join(', ')}]`).join('\n')}\n`, 'config/too-large'],
    ['brackets without end', '['.repeat(100_000), 'config/too-deep'],
    ['a null character', 'version: 1\ncheckpoint: "\\0"\n', 'checkpoint/relative-path'],
    ['a very long path', `version: 1\ncheckpoint: ${'x/'.repeat(2000)}\n`, 'checkpoint/not-found'],
  ];
  for (const [name, text, code] of hostile) {
    it(`reports ${name}`, async () => {
      const { client, pull } = await opened(text);
      assert.ok((await pull()).some((each) => each.code === code && each.severity === 1), JSON.stringify((await pull()).map((each) => [each.code, each.message])));
      await client.end();
    });
  }

  it('forgets a closed document', async () => {
    const { client, uri, pull } = await opened('version: 5\n');
    await client.tell('textDocument/didClose', { textDocument: { uri } });
    assert.deepEqual(await pull(), []);
    await client.end();
  });

  it('works on documents that have no file yet', async () => {
    const client = start();
    await client.initialize();
    const uri = 'untitled:Untitled-1';
    await client.tell('textDocument/didOpen', { textDocument: { uri, languageId: 'quantconfig', version: 1, text: 'version: 1\ncheckpoint: ./x\n' } });
    await client.settled(uri);
    const report = await client.ask<DocumentDiagnosticReport>('textDocument/diagnostic', { textDocument: { uri } });
    assert.deepEqual(report.kind === 'full' ? report.items.map((each) => each.code) : [], ['config/unsaved']);
    await client.end();
  });
});

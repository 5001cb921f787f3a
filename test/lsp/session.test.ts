/** A whole session with the server as a process: everything it offers is asked for, and every message it sends is accounted for. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CancellationTokenSource } from 'vscode-languageserver/node';
import type { CompletionList, DocumentDiagnosticReport, DocumentSymbol, ServerCapabilities, WorkspaceEdit } from 'vscode-languageserver/node';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import { temporaryFolders } from '../fixtures/folder';
import { TestClient, example, vscodeCapabilities } from './client';

/** One request for every provider of LSP that works on one document. What a server offers and this table lacks fails the test. */
const requests: Partial<Record<keyof ServerCapabilities, { method: string; more?: object }[]>> = {
  diagnosticProvider: [{ method: 'diagnostic' }],
  completionProvider: [{ method: 'completion' }],
  hoverProvider: [{ method: 'hover' }],
  signatureHelpProvider: [{ method: 'signatureHelp' }],
  definitionProvider: [{ method: 'definition' }],
  referencesProvider: [{ method: 'references', more: { context: { includeDeclaration: true } } }],
  documentHighlightProvider: [{ method: 'documentHighlight' }],
  documentSymbolProvider: [{ method: 'documentSymbol' }],
  codeActionProvider: [{ method: 'codeAction', more: { context: { diagnostics: [] } } }],
  codeLensProvider: [{ method: 'codeLens' }],
  documentLinkProvider: [{ method: 'documentLink' }],
  documentFormattingProvider: [{ method: 'formatting', more: { options: { tabSize: 2, insertSpaces: true } } }],
  documentRangeFormattingProvider: [{ method: 'rangeFormatting', more: { options: { tabSize: 2, insertSpaces: true } } }],
  documentOnTypeFormattingProvider: [{ method: 'onTypeFormatting', more: { ch: '\n', options: { tabSize: 2, insertSpaces: true } } }],
  renameProvider: [{ method: 'prepareRename' }, { method: 'rename', more: { newName: 'other' } }],
  foldingRangeProvider: [{ method: 'foldingRange' }],
  selectionRangeProvider: [{ method: 'selectionRange' }],
  semanticTokensProvider: [{ method: 'semanticTokens/full' }, { method: 'semanticTokens/range' }],
  inlayHintProvider: [{ method: 'inlayHint' }],
};
/** Asked for in another way below, or on the client's own account. */
const others = ['workspaceSymbolProvider', 'executeCommandProvider'];

describe('a session with the language server', function () {
  this.timeout(60_000);
  const folder = temporaryFolders();

  it('is answered to the end, and nothing is sent that nobody waits for', async () => {
    const { client } = TestClient.spawn();
    const workspace = join(example, '..');
    const { capabilities } = await client.initialize(vscodeCapabilities, {
      workspaceFolders: [{ uri: URI.file(workspace).toString(), name: 'examples' }], initializationOptions: { cacheDirectory: folder(), engine: { threads: 1 } },
    });
    const text = readFileSync(example, 'utf8');
    const uri = await client.open(text, example);

    // Everything, at the name of a rule, while the text is whole and while it is half written.
    const ask = async (at: { line: number; character: number }): Promise<void> => {
      const range = { start: { line: 0, character: 0 }, end: { line: 30, character: 0 } };
      for (const provider of Object.keys(capabilities).filter((key) => key.endsWith('Provider') && !others.includes(key)) as (keyof ServerCapabilities)[]) {
        assert.ok(requests[provider], `${provider} is offered, but no session asks for it: add it to the table`);
        for (const { method, more } of requests[provider] ?? []) {
          const answer = await client.ask<unknown>(`textDocument/${method}`, { textDocument: { uri }, position: at, positions: [at], range, ...more });
          assert.notEqual(answer, undefined, method);
        }
      }
    };
    const line = text.split('\n').findIndex((each) => each.includes('name: modulation'));
    await ask({ line, character: 12 });

    // Typing a rule letter by letter, with every language feature asked for in the middle of a word.
    const typed = '  - name: "late"\n    layers: ["proj_out_*", *no\n';
    let at = { line: line, character: 0 };
    for (const letter of typed) {
      await client.change(uri, [{ range: { start: at, end: at }, text: letter }]);
      at = letter === '\n' ? { line: at.line + 1, character: 0 } : { ...at, character: at.character + 1 };
    }
    await ask({ line, character: 12 });
    const broken = await client.ask<DocumentDiagnosticReport>('textDocument/diagnostic', { textDocument: { uri } });
    assert.ok(broken.kind === 'full' && broken.items.some(({ code }) => code === 'config/yaml'));
    await client.change(uri, text);
    await client.settled(uri);

    const whole = await client.ask<DocumentDiagnosticReport>('textDocument/diagnostic', { textDocument: { uri } });
    assert.deepEqual(whole, { kind: 'full', items: [] });
    const symbols = await client.ask<DocumentSymbol[]>('textDocument/documentSymbol', { textDocument: { uri } });
    assert.deepEqual(symbols.find(({ name }) => name === 'rules')?.children?.map(({ name }) => name), ['modulation', 'embedders and final layers']);
    assert.equal((await client.ask<unknown[]>('workspace/symbol', { query: 'modul' })).length, 1);
    const { text: listing } = await client.ask<{ text: string }>('workspace/textDocumentContent', { uri: `quantscope-checkpoint:/x.layers?${join(workspace, 'glyph-dit')}` });
    assert.match(listing, /^DiTTransformer2DModel · 56 layers/);
    const list = await client.ask<CompletionList>('textDocument/completion', { textDocument: { uri }, position: { line: text.split('\n').length - 1, character: 0 } });
    assert.ok(list.items.length > 0);
    const renamed = await client.ask<WorkspaceEdit>('textDocument/rename', { textDocument: { uri }, position: { line, character: 12 }, newName: 'early' });
    const [change] = renamed.documentChanges ?? [];
    assert.ok(change && 'edits' in change);
    await client.change(uri, TextDocument.applyEdits(TextDocument.create(uri, '', 1, text), change.edits.filter((edit) => 'newText' in edit)));
    await client.settled(uri);

    // What costs nothing, then a measurement: the engine starts, reports and progress come, and all is said to be well again.
    const { plan } = await client.request('quantscope/plan', { uri });
    assert.deepEqual(plan.rules.map(({ name }) => name), ['early', 'embedders and final layers']);
    const [first] = (await client.request('quantscope/checkpoint', { path: join(workspace, 'glyph-dit') })).layers;
    assert.ok(first && (await client.request('quantscope/methods', null)).length > 0);
    await client.request('quantscope/newConfig', { checkpoint: join(workspace, 'glyph-dit'), method: 'rtn', scheme: 'W4A16', folder: workspace });
    const { layers } = await client.request('quantscope/analyze', { uri, layers: [first.name], workDoneToken: 'session' });
    assert.deepEqual(layers.map(({ name }) => name), [first.name]);
    await assert.rejects(client.request('quantscope/plan', { uri: `${uri}x` }), /is not open in the editor/);
    const cancelled = new CancellationTokenSource();
    const analysis = client.connection.sendRequest('quantscope/analyze', { uri }, cancelled.token);
    cancelled.cancel();
    await assert.rejects(analysis, { code: -32800 });
    for (let health = ''; health !== 'ok';) {
      const status = await client.nextOf('quantscope/status');
      health = status.info && status.health === 'ok' ? 'ok' : '';
    }

    await client.tell('textDocument/didSave', { textDocument: { uri } });
    await client.tell('workspace/didChangeWorkspaceFolders', { event: { added: [], removed: [{ uri: URI.file(workspace).toString(), name: 'examples' }] } });
    await client.tell('textDocument/didClose', { textDocument: { uri } });
    assert.equal(await client.ask('textDocument/hover', { textDocument: { uri }, position: { line, character: 12 } }), null);
    assert.equal(await client.ask('shutdown', {}), null);
    await client.tell('exit', {});
    assert.equal(await client.exitCode(), 0);
    // How often the plan has changed depends on how fast this machine types; the engine says that it stops.
    const expected: [method: string, least: number][] = [['quantscope/planChanged', 0], ['quantscope/reports', 1], ['quantscope/status', 1], ['$/progress', 2], ['workspace/inlayHint/refresh', 0]];
    for (const [method, least] of expected) {
      assert.ok(client.drop(method).length >= least, method);
    }
    assert.deepEqual(client.unread, []);
  });
});

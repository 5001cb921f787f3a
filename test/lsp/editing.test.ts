/** What changes the text or shows it in another way, over the wire. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CodeAction, CompletionItem, CompletionList, SemanticTokens, SemanticTokensDelta, TextEdit, WorkspaceDiagnosticReport } from 'vscode-languageserver/node';
import { CancellationTokenSource } from 'vscode-languageserver/node';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import { temporaryFolders } from '../fixtures/folder';
import { safetensors } from '../fixtures/safetensors';
import { clients, vscodeCapabilities } from './client';
import type { TestClient } from './client';

const capabilities = {
  ...vscodeCapabilities,
  textDocument: {
    ...vscodeCapabilities.textDocument,
    completion: { completionItem: { snippetSupport: true, labelDetailsSupport: true }, completionList: { itemDefaults: ['editRange'] } },
    codeAction: { dataSupport: true, disabledSupport: true, resolveSupport: { properties: ['edit'] } },
  },
};

describe('editing', function () {
  this.timeout(20_000);
  const start = clients();
  const folder = temporaryFolders();
  const text = 'version: 1\ncheckpoint: m.safetensors\ndefaults: {method: rtn, scheme:  W8A8}\nrules:\n- layers: [blocks.0.q, "**.q"]\n  keep: bf16\n- layers: ["!out", # why\n    a, b]\n  keep: fp16\n';

  async function opened(): Promise<{ client: TestClient; uri: string; path: string; at: (line: number, character: number) => object }> {
    const client = start();
    await client.initialize(capabilities);
    const path = folder({ 'm.safetensors': safetensors(Object.fromEntries(['blocks.0.q', 'blocks.1.q', 'out'].map((name) => [`${name}.weight`, { dtype: 'BF16', shape: [8, 4] }]))) });
    const uri = await client.open(text, join(path, 'x.quant.yaml'));
    return { client, uri, path, at: (line, character) => ({ textDocument: { uri }, position: { line, character } }) };
  }

  it('formats, colours by delta, resolves completions and refactorings, and shows the plan anew', async () => {
    const { client, uri, path, at } = await opened();
    const here = { textDocument: { uri } };
    const options = { tabSize: 2, insertSpaces: true };

    const before = await client.ask<SemanticTokens>('textDocument/semanticTokens/full', here);
    const range = await client.ask<SemanticTokens>('textDocument/semanticTokens/range', { ...here, range: { start: { line: 0, character: 0 }, end: { line: 0, character: 20 } } });
    assert.deepEqual(range.data, before.data.slice(0, 10));

    const list = await client.ask<CompletionList>('textDocument/completion', at(4, 26));
    assert.equal(list.itemDefaults?.editRange && 'start' in list.itemDefaults.editRange && list.itemDefaults.editRange.start.character, 23);
    const item = list.items.find(({ label }) => label === 'blocks.*.q');
    assert.deepEqual([item?.textEditText, item?.labelDetails?.description, item?.documentation], ['"blocks.*.q"', '2 · 66.7 %', undefined]);
    assert.match(JSON.stringify((await client.ask<CompletionItem>('completionItem/resolve', item ?? {})).documentation), /`blocks\.0–1`/);
    assert.deepEqual(await client.ask('completionItem/resolve', { label: 'x' }), { label: 'x' });

    const actions = (line: number, only?: string[]): Promise<CodeAction[]> => client.ask<CodeAction[]>('textDocument/codeAction', { ...here, range: { start: { line, character: 12 }, end: { line, character: 12 } }, context: { diagnostics: [], ...(only ? { only } : {}) } });
    const split = (await actions(4)).find(({ title }) => title.startsWith('Split "rule 1" into'));
    assert.equal(split?.kind, 'refactor.rewrite');
    assert.deepEqual((await actions(4, ['refactor.move'])).map(({ title }) => title), ['Move "rule 1" down, which changes no layer']);
    assert.deepEqual(await actions(4, ['quickfix']), []);
    assert.match((await actions(6, ['refactor'])).find(({ disabled }) => disabled)?.disabled?.reason ?? '', /comments between its patterns/);

    const plan = `quantscope-plan:/x.plan?${encodeURIComponent(uri)}`;
    const content = async (): Promise<string> => (await client.ask<{ text: string }>('workspace/textDocumentContent', { uri: plan })).text;
    assert.match(await content(), /\n {2}W8A8 .* out .* ← defaults\n/);

    const edits = await client.ask<TextEdit[]>('textDocument/formatting', { ...here, options });
    const after = TextDocument.applyEdits(TextDocument.create(uri, '', 1, text), edits);
    assert.match(after, /\ndefaults: \{ method: rtn, scheme: W8A8 \}\nrules:\n {2}- layers: \[blocks\.0\.q, "\*\*\.q"\]\n {4}keep: bf16\n/);
    assert.equal((await client.ask<TextEdit[]>('textDocument/rangeFormatting', { ...here, options, range: { start: { line: 2, character: 0 }, end: { line: 3, character: 0 } } })).length, 3);
    await client.change(uri, after.replace('W8A8', 'W4A8'));
    assert.deepEqual(await client.next('workspace/textDocumentContent/refresh'), { uri: plan });
    await client.settled(uri);
    assert.match(await content(), /\n {2}W4A8 .* out .* ← defaults\n/);

    const delta = await client.ask<SemanticTokensDelta>('textDocument/semanticTokens/full/delta', { ...here, previousResultId: before.resultId });
    const now = await client.ask<SemanticTokens>('textDocument/semanticTokens/full', here);
    const data = delta.edits.reduce((old, { start: from, deleteCount, data: added = [] }) => [...old.slice(0, from), ...added, ...old.slice(from + deleteCount)], before.data);
    assert.deepEqual(data, now.data);
    assert.ok('data' in await client.ask<SemanticTokens | SemanticTokensDelta>('textDocument/semanticTokens/full/delta', { ...here, previousResultId: 'other' }));

    // The plan of a config that is not open.
    const other = join(path, 'y.quant.yaml');
    writeFileSync(other, after);
    const closed = async (name: string): Promise<string> => (await client.ask<{ text: string }>('workspace/textDocumentContent', { uri: `quantscope-plan:/y.plan?file://${name}` })).text;
    assert.match(await closed(other), /\n {2}W8A8 .* out .* ← defaults\n/);
    assert.match(await closed(join(path, 'gone.quant.yaml')), /gone\.quant\.yaml cannot be read any more/);
    await client.end();
  });

  it('tells the problems of configs that are not open, and again when they change', async () => {
    const client = start();
    const path = folder({ 'm.safetensors': safetensors({ 'out.weight': { dtype: 'BF16', shape: [8, 4] } }) });
    const write = (name: string, more: string): string => {
      writeFileSync(join(path, name), `version: 1\ncheckpoint: m.safetensors\ndefaults: { keep: original }\n${more}`);
      return URI.file(join(path, name)).toString();
    };
    const [good, bad] = [write('good.quant.yaml', ''), write('bad.quant.yaml', 'nonsense: 1\n')];
    await client.initialize(capabilities, { workspaceFolders: [{ uri: URI.file(path).toString(), name: 'w' }] });
    let ids: { uri: string; value: string }[] = [];
    const pull = async (): Promise<string[]> => {
      const { items } = await client.ask<WorkspaceDiagnosticReport>('workspace/diagnostic', { previousResultIds: ids });
      ids = items.flatMap(({ uri, resultId }) => (resultId ? [{ uri, value: resultId }] : []));
      return items.map((item) => `${item.uri === good ? 'good' : 'bad'} ${item.kind === 'full' ? item.items.map(({ code }) => code).join() : item.kind}`).sort();
    };
    assert.deepEqual(await pull(), ['bad config/unknown-key,checkpoint/unknown-architecture', 'good checkpoint/unknown-architecture']);
    const waiting = pull();
    write('bad.quant.yaml', '');
    await client.tell('workspace/didChangeWatchedFiles', { changes: [{ uri: bad, type: 2 }] });
    assert.deepEqual(await waiting, ['bad checkpoint/unknown-architecture', 'good unchanged']);
    // One that is opened is the editor's own question from then on.
    await client.open('version: 1\n', join(path, 'good.quant.yaml'));
    rmSync(join(path, 'bad.quant.yaml'));
    await client.tell('workspace/didChangeWatchedFiles', { changes: [{ uri: bad, type: 3 }] });
    assert.deepEqual(await pull(), ['bad ']);
    const cancel = new CancellationTokenSource();
    const endless = client.connection.sendRequest('workspace/diagnostic', { previousResultIds: [] }, cancel.token);
    cancel.cancel();
    await assert.rejects(endless, /cancel/i);
    await client.end();
  });
});

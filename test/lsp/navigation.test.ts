/** Outline, folding, selection, highlights, references, rename and links over the wire: with everything VS Code can, and with next to nothing. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type {
  DocumentHighlight, DocumentLink, DocumentSymbol, FoldingRange, Location, LocationLink, Position, Range, SelectionRange, SymbolInformation, WorkspaceEdit,
} from 'vscode-languageserver/node';
import { URI } from 'vscode-uri';
import { nodeRuntime } from '../../server/src/runtime';
import { temporaryFolders } from '../fixtures/folder';
import { listingUri } from '../../server/src/language/checkpointText';
import { safetensors } from '../fixtures/safetensors';
import { clients, vscodeCapabilities } from './client';
import type { TestClient } from './client';

const model = safetensors({ 'blocks.0.q.weight': { dtype: 'BF16', shape: [8, 4] }, 'out.weight': { dtype: 'BF16', shape: [8, 4] } });
const text = `version: 1
checkpoint: m.safetensors
defaults: { method: &m rtn, scheme: W4A4 }
rules:
  - name: one
    layers: ["**.q", out]
    method: *m
`;
const other = 'version: 1\ncheckpoint: ../m.safetensors\nrules: [{ name: other, layers: [blocks.0.q], method: rtn }]\n';

describe('navigation over the wire', function () {
  this.timeout(20_000);
  const start = clients();
  const folder = temporaryFolders();
  const { listFolder } = nodeRuntime();

  interface Session { client: TestClient; uri: string; otherUri: string; path: string; at: (line: number, character: number) => { textDocument: { uri: string }; position: Position } }

  async function opened(capabilities = vscodeCapabilities): Promise<Session> {
    const path = folder({ 'm.safetensors': model, 'a.quant.yaml': 'version: 9', 'in/b.quant.yml': other, 'node_modules/c.quant.yaml': other });
    const client = start({ listFolder });
    await client.initialize(capabilities, { workspaceFolders: [{ uri: URI.file(path).toString(), name: 'w' }] });
    const uri = await client.open(text, join(path, 'a.quant.yaml'));
    return { client, uri, otherUri: URI.file(join(path, 'in/b.quant.yml')).toString(), path, at: (line, character) => ({ textDocument: { uri }, position: { line, character } }) };
  }

  const lineOf = ({ start: { line } }: Range): number => line;

  it('answers VS Code everything', async () => {
    const { client, uri, otherUri, path, at } = await opened();
    const document = { textDocument: { uri } };

    const symbols = await client.ask<DocumentSymbol[]>('textDocument/documentSymbol', document);
    assert.deepEqual(symbols.map(({ name }) => name), ['version', 'checkpoint', 'defaults', 'rules']);
    assert.deepEqual(symbols[3]?.children?.map(({ name, detail }) => `${name}: ${detail ?? ''}`), ['one: rtn · 2 layers']);
    const found = await client.ask<SymbolInformation[]>('workspace/symbol', { query: 'o' });
    assert.deepEqual(found.filter(({ kind }) => kind === 5).map(({ name, location, containerName }) => [name, location.uri, containerName]), [['one', uri, 'rule'], ['other', otherUri, 'rule']]);
    assert.deepEqual(await client.ask<FoldingRange[]>('textDocument/foldingRange', document), [{ startLine: 3, endLine: 6 }, { startLine: 4, endLine: 6 }]);
    const [chain, second] = await client.ask<SelectionRange[]>('textDocument/selectionRange', { ...document, positions: [{ line: 5, character: 16 }, { line: 0, character: 0 }] });
    assert.deepEqual([chain?.range, chain?.parent?.range, second?.range], [
      { start: { line: 5, character: 14 }, end: { line: 5, character: 16 } }, { start: { line: 5, character: 14 }, end: { line: 5, character: 18 } }, { start: { line: 0, character: 0 }, end: { line: 0, character: 7 } },
    ]);
    assert.deepEqual((await client.ask<DocumentHighlight[]>('textDocument/documentHighlight', at(6, 13))).map(({ range, kind }) => [lineOf(range), kind]), [[2, 3], [6, 2]]);

    const references = (line: number, character: number): Promise<Location[]> => client.ask<Location[]>('textDocument/references', { ...at(line, character), context: { includeDeclaration: true } });
    assert.deepEqual((await references(5, 15)).map((each) => [each.uri, lineOf(each.range)]), [[uri, 5], [otherUri, 2]]);
    assert.deepEqual((await references(1, 15)).map((each) => [each.uri, lineOf(each.range)]), [[uri, 1], [otherUri, 1]]);
    assert.deepEqual((await references(2, 24)).map((each) => [each.uri, lineOf(each.range)]), [[uri, 2], [uri, 6], [otherUri, 2]]);
    // The listing of the checkpoint knows its layers by their lines.
    const listing = listingUri(join(path, 'm.safetensors'));
    const { text: listed } = await client.ask<{ text: string }>('workspace/textDocumentContent', { uri: listing });
    const fromListing = (name: string): Promise<Location[] | null> => client.ask('textDocument/references',
      { textDocument: { uri: listing }, position: { line: listed.split('\n').findIndex((line) => line.trim().startsWith(name)), character: 3 }, context: { includeDeclaration: false } });
    assert.deepEqual((await fromListing('blocks.0.q'))?.map((each) => [each.uri, lineOf(each.range)]), [[uri, 5], [otherUri, 2]]);
    assert.deepEqual((await fromListing('out '))?.map((each) => [each.uri, lineOf(each.range)]), [[uri, 5]]);
    assert.equal(await fromListing('outside of blocks'), null);
    // Open documents count as they are in the editor, others as they are on the disk now.
    await client.open('rules: [{ layers: out }]\n', join(path, 'in/b.quant.yml'));
    writeFileSync(join(path, 'd.quant.yaml'), 'rules:\n  - layers: ou\n  - layers: "o*"\n');
    assert.deepEqual((await references(5, 22)).map((each) => [each.uri, lineOf(each.range)]), [[uri, 5], [otherUri, 0], [URI.file(join(path, 'd.quant.yaml')).toString(), 2]]);
    await client.tell('workspace/didChangeWorkspaceFolders', { event: { added: [], removed: [{ uri: URI.file(path).toString(), name: 'w' }] } });
    assert.deepEqual((await references(5, 22)).map((each) => each.uri), [uri, otherUri]);

    assert.deepEqual(await client.ask('textDocument/prepareRename', at(4, 11)), { range: { start: { line: 4, character: 10 }, end: { line: 4, character: 13 } }, placeholder: 'one' });
    await assert.rejects(client.ask('textDocument/prepareRename', at(0, 1)), /Only the name of a rule, an anchor/);
    const renamed = await client.ask<WorkspaceEdit>('textDocument/rename', { ...at(6, 13), newName: 'int4' });
    assert.deepEqual(renamed.documentChanges?.map((change) => 'edits' in change && [change.textDocument, change.edits.map((edit) => ('newText' in edit ? [lineOf(edit.range), edit.newText] : []))]), [[{ uri, version: 1 }, [[2, 'int4'], [6, 'int4']]]]);
    await assert.rejects(client.ask('textDocument/rename', { ...at(6, 13), newName: 'a b' }), /cannot name an anchor/);

    assert.deepEqual((await client.ask<LocationLink[]>('textDocument/definition', at(6, 13))).map(({ targetUri, targetRange }) => [targetUri, lineOf(targetRange)]), [[uri, 2]]);
    assert.deepEqual((await client.ask<LocationLink[]>('textDocument/definition', at(2, 24))).map(({ targetUri }) => targetUri), ['file:///docs/methods/rtn.md']);
    assert.deepEqual(await client.ask<DocumentLink[]>('textDocument/documentLink', document), [
      { range: { start: { line: 1, character: 12 }, end: { line: 1, character: 25 } }, target: URI.file(join(path, 'm.safetensors')).toString(), tooltip: 'Open m.safetensors' },
    ]);
    await client.end();
  });

  it('answers an editor that can little with what it can show', async () => {
    const { client, uri, path, at } = await opened({});
    await client.next('textDocument/publishDiagnostics');
    const symbols = await client.ask<SymbolInformation[]>('textDocument/documentSymbol', { textDocument: { uri } });
    assert.deepEqual(symbols.slice(-4).map(({ name, containerName, location }) => [name, containerName, location.uri]), [['rules', undefined, uri], ['one', 'rules', uri], ['**.q', 'one', uri], ['out', 'one', uri]]);
    const renamed = await client.ask<WorkspaceEdit>('textDocument/rename', { ...at(4, 11), newName: 'two' });
    assert.deepEqual(renamed, { changes: { [uri]: [{ range: { start: { line: 4, character: 10 }, end: { line: 4, character: 13 } }, newText: 'two' }] } });
    const [link] = await client.ask<DocumentLink[]>('textDocument/documentLink', { textDocument: { uri } });
    assert.deepEqual(Object.keys(link ?? {}).sort(), ['range', 'target']);
    // Without listings of checkpoints a path leads to its file, and a pattern nowhere.
    assert.deepEqual((await client.ask<Location[]>('textDocument/definition', at(1, 15))).map((each) => each.uri), [URI.file(join(path, 'm.safetensors')).toString()]);
    assert.equal(await client.ask('textDocument/definition', at(5, 15)), null);
    await client.end();
  });

  it('offers what the editor knows', async () => {
    const [full, little] = [start(), start()];
    const provided = (await full.initialize()).capabilities;
    assert.deepEqual([provided.documentSymbolProvider, provided.workspaceSymbolProvider, provided.foldingRangeProvider, provided.selectionRangeProvider, provided.documentHighlightProvider, provided.referencesProvider],
      [true, true, true, true, true, true]);
    assert.deepEqual([provided.renameProvider, provided.documentLinkProvider, provided.workspace?.workspaceFolders], [{ prepareProvider: true }, {}, { supported: true, changeNotifications: true }]);
    assert.equal((await little.initialize({})).capabilities.renameProvider, true);
    await Promise.all([full.end(), little.end()]);
  });

  it('answers with nothing for documents that are not open', async () => {
    const client = start();
    await client.initialize();
    const at = { textDocument: { uri: 'file:///nowhere.quant.yaml' }, position: { line: 0, character: 0 } };
    for (const method of ['documentSymbol', 'foldingRange', 'documentHighlight', 'documentLink', 'definition', 'prepareRename']) {
      assert.equal(await client.ask(`textDocument/${method}`, at), null, method);
    }
    assert.equal(await client.ask('textDocument/references', { ...at, context: { includeDeclaration: true } }), null);
    assert.equal(await client.ask('textDocument/selectionRange', { ...at, positions: [at.position] }), null);
    assert.deepEqual(await client.ask('workspace/symbol', { query: '' }), []);
    await client.end();
  });
});

/** The language features over the wire, with everything VS Code can and with next to nothing. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CodeAction, CodeActionContext, CompletionList, Diagnostic, DocumentDiagnosticReport, Hover, InlayHint, Location, LocationLink, PublishDiagnosticsParams, TextEdit } from 'vscode-languageserver/node';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { methods } from '../../server/src/methods';
import { temporaryFolders } from '../fixtures/folder';
import { rawSafetensors, safetensors } from '../fixtures/safetensors';
import type { TensorSpec } from '../fixtures/safetensors';
import { clients, example, vscodeCapabilities } from './client';
import type { TestClient } from './client';

const tensors: Record<string, TensorSpec> = Object.fromEntries(['blocks.0.q', 'blocks.1.q', 'out'].map((name) => [`${name}.weight`, { dtype: 'BF16', shape: [8, 4] }]));
const everything = { start: { line: 0, character: 0 }, end: { line: 1000, character: 0 } };

async function pull(client: TestClient, uri: string): Promise<Diagnostic[]> {
  const report = await client.ask<DocumentDiagnosticReport>('textDocument/diagnostic', { textDocument: { uri } });
  assert.equal(report.kind, 'full');
  return report.items;
}

function codes(diagnostics: Diagnostic[]): unknown[] {
  return diagnostics.map((diagnostic) => diagnostic.code);
}

describe('language server with VS Code\'s capabilities', function () {
  this.timeout(20_000);
  const start = clients();
  const folder = temporaryFolders();

  async function opened(text: string): Promise<{ client: TestClient; uri: string; path: string }> {
    const client = start();
    await client.initialize();
    const path = folder({ 'm.safetensors': safetensors(tensors) });
    return { client, uri: await client.open(text, join(path, 'x.quant.yaml')), path };
  }

  it('tells what it can', async () => {
    const client = start();
    const { capabilities, serverInfo } = await client.initialize();
    assert.equal(serverInfo?.name, 'QuantScope');
    assert.equal(capabilities.textDocumentSync, 2);
    assert.ok(capabilities.diagnosticProvider && capabilities.hoverProvider && capabilities.definitionProvider && capabilities.inlayHintProvider && capabilities.codeActionProvider);
    assert.deepEqual(capabilities.workspace?.textDocumentContent, { schemes: ['quantscope-checkpoint', 'quantscope-plan'] });
    await client.end();
  });

  it('serves the bundled example without a complaint', async () => {
    const client = start();
    await client.initialize();
    const uri = await client.open(readFileSync(example, 'utf8'), example);
    assert.deepEqual(await pull(client, uri), []);
    const hints = await client.ask<InlayHint[]>('textDocument/inlayHint', { textDocument: { uri }, range: everything });
    assert.match(String(hints[0]?.label), /^DiTTransformer2DModel · 56 layers · /);
    const { plan } = await client.request('quantscope/plan', { uri });
    assert.equal(plan.layers.length, 56);
    await client.end();
  });

  it('answers pulled diagnostics with a code, a link to its docs and a quick fix', async () => {
    const { client, uri } = await opened('version: 1\ncheckpoint: m.safetensors\ndefaults: { keep: bf16 }\nrules:\n  - { layers: ["q"], keep: bf16 }\n');
    const [first, second, ...none] = await pull(client, uri);
    assert.deepEqual(none, []);
    assert.deepEqual([first?.code, first?.severity, first?.source, first?.codeDescription?.href],
      ['checkpoint/unknown-architecture', 3, 'quantscope', 'file:///docs/problems.md#checkpointunknown-architecture']);
    assert.equal(second?.code, 'plan/pattern-matches-nothing');
    assert.ok(first);
    const actions = await client.ask<CodeAction[]>('textDocument/codeAction', { textDocument: { uri }, range: second.range, context: { diagnostics: [first, second] } });
    assert.deepEqual(actions.map((action) => [action.title, action.kind, action.isPreferred]), [['Change to "**.q"', 'quickfix', true], ['Remove this rule', 'quickfix', undefined]]);
    assert.deepEqual(actions[0]?.edit?.changes?.[uri]?.map((edit) => edit.newText), ['"**.q"']);
    await client.end();
  });

  it('offers lints with several quick fixes, greys what has no effect, and fixes all that is safe', async () => {
    const text = 'version: 1\ncheckpoint: m.safetensors\ndefaults: { keep: bf16 }\nrules:\n  - { layers: [out, out.bias], keep: fp16 }\n  - { layers: "**", keep: bf16 }\npreview: { steps: 4 }\n';
    const { client, uri } = await opened(text);
    const problems = await pull(client, uri);
    const shadowed = problems.find(({ code }) => code === 'plan/shadowed-rule');
    assert.deepEqual([shadowed?.tags, shadowed?.relatedInformation?.map(({ location }) => location.uri)], [[1], [uri]]);
    assert.ok(shadowed && codes(problems).includes('plan/preview-cannot-run'));
    const ask = (context: CodeActionContext): Promise<CodeAction[]> => client.ask<CodeAction[]>('textDocument/codeAction', { textDocument: { uri }, range: shadowed.range, context });
    assert.deepEqual((await ask({ diagnostics: [shadowed], only: ['quickfix'] })).map(({ title, kind, isPreferred }) => [title, kind, isPreferred ?? false]), [
      ['Remove this rule, which has no effect', 'quickfix', true], ['Move this rule to the end', 'quickfix', false],
    ]);
    assert.deepEqual(await ask({ diagnostics: [shadowed], only: ['refactor.extract'] }), []);
    const [all, ...none] = await ask({ diagnostics: [], only: ['source.fixAll'] });
    assert.deepEqual([all?.kind, none], ['source.fixAll.quantscope', []]);
    const after = TextDocument.applyEdits(TextDocument.create(uri, '', 1, text), all?.edit?.changes?.[uri] ?? []);
    assert.equal(after, text.replace('  - { layers: [out, out.bias], keep: fp16 }\n', ''));
    await client.end();
  });

  it('measures adapters once typing pauses, and says so', async () => {
    const { client, uri, path } = await opened('version: 1\n');
    const matrix = (rows: number, columns: number, value: number): TensorSpec => ({ dtype: 'F32', shape: [rows, columns], data: new Uint8Array(new Float32Array(rows * columns).fill(value).buffer) });
    writeFileSync(join(path, 'w.safetensors'), safetensors({ 'out.weight': matrix(8, 4, 1) }));
    writeFileSync(join(path, 'a.safetensors'), safetensors({ 'transformer.out.lora_A.weight': matrix(1, 4, 0.01), 'transformer.out.lora_B.weight': matrix(8, 1, 1) }));
    await client.change(uri, 'version: 1\ncheckpoint: w.safetensors\ndefaults: { method: rtn, scheme: W4A16 }\nloras: [{ path: a.safetensors }]\n');
    await client.next('workspace/diagnostic/refresh');
    assert.ok(codes(await pull(client, uri)).includes('plan/lora-below-step'));
    await client.settled(uri);
    await client.end();
  });

  it('completes, with snippets, and the text it gives is free of problems', async () => {
    const text = 'version: 1\ncheckpoint: m.safetensors\nrules:\n  \n';
    const { client, uri } = await opened(text);
    const list = await client.ask<CompletionList>('textDocument/completion', { textDocument: { uri }, position: { line: 3, character: 2 } });
    const item = list.items.find((each) => each.label === 'rule: keep');
    assert.equal(item?.insertTextFormat, 2);
    const after = TextDocument.applyEdits(TextDocument.create(uri, '', 1, text), [item.textEdit as TextEdit]);
    await client.change(uri, after.replace(/\$\{1:proj_out\}/, '**.q').replace(/\$\{2\|original.*?\|\}/, 'bf16'));
    assert.deepEqual(codes(await pull(client, uri)), ['checkpoint/unknown-architecture', 'plan/uncovered']);
    await client.settled(uri);
    await client.end();
  });

  it('completes paths with what the machine lists', async () => {
    const client = start({ listFolder: (path) => (path === '/project' ? [{ name: 'FLUX.1-dev', isFolder: true }] : []) });
    await client.initialize();
    const uri = await client.open('checkpoint: \n');
    const list = await client.ask<CompletionList>('textDocument/completion', { textDocument: { uri }, position: { line: 0, character: 12 } });
    assert.deepEqual(list.items.map((item) => (item.textEdit as TextEdit).newText), ['./FLUX.1-dev']);
    await client.end();
  });

  it('hovers, and jumps into the listing of the checkpoint', async () => {
    const { client, uri } = await opened('version: 1\ncheckpoint: m.safetensors\nrules:\n  - { layers: ["**.q"], keep: bf16 }\n');
    const at = { textDocument: { uri }, position: { line: 3, character: 16 } };
    assert.match(JSON.stringify(await client.ask<Hover>('textDocument/hover', at)), /matches \*\*2 layers\*\*/);
    const links = await client.ask<LocationLink[]>('textDocument/definition', at);
    const target = links[0]?.targetUri ?? '';
    const { text } = await client.ask<{ text: string }>('workspace/textDocumentContent', { uri: target });
    const lines = text.split('\n');
    assert.deepEqual(links.map(({ targetSelectionRange: { start, end } }) => lines[start.line]?.slice(start.character, end.character)), ['blocks.0.q', 'blocks.1.q']);
    await client.end();
  });

  it('says in the listing why a checkpoint cannot be listed any more', async () => {
    const { client, uri, path } = await opened('version: 1\ncheckpoint: m.safetensors\n');
    const [link] = await client.ask<LocationLink[]>('textDocument/definition', { textDocument: { uri }, position: { line: 1, character: 14 } });
    writeFileSync(join(path, 'm.safetensors'), '');
    const { text } = await client.ask<{ text: string }>('workspace/textDocumentContent', { uri: link?.targetUri });
    assert.match(text, /^m\.safetensors: holds no bytes/);
    await client.end();
  });

  it('looks again when a checkpoint changes on the disk', async () => {
    const { client, uri, path } = await opened('version: 1\ncheckpoint: m.safetensors\ndefaults: { keep: bf16 }\n');
    assert.deepEqual(codes(await pull(client, uri)), ['checkpoint/unknown-architecture']);
    writeFileSync(join(path, 'm.safetensors'), 'gone');
    await client.tell('workspace/didChangeWatchedFiles', { changes: [{ uri: `${uri}x`, type: 2 }] });
    await client.next('workspace/diagnostic/refresh');
    await client.next('workspace/inlayHint/refresh');
    await client.settled(uri);
    assert.deepEqual(codes(await pull(client, uri)), ['checkpoint/truncated']);
    await client.end();
  });

  it('makes new configs that are free of problems, with every method it offers', async () => {
    const client = start();
    await client.initialize();
    const glyph = join(example, '../glyph-dit');
    const offered = await client.request('quantscope/methods', null);
    assert.deepEqual(offered.map(({ name }) => name), [...methods.keys()]);
    for (const { name: method, title, summary, schemes: [scheme = ''] } of offered) {
      const { text, fileName } = await client.request('quantscope/newConfig', { checkpoint: glyph, method, scheme, folder: join(example, '..') });
      assert.equal(fileName, 'glyph-dit.quant.yaml');
      assert.match(text, new RegExp(`^defaults: { method: ${method}, scheme: ${scheme} }$`, 'm'));
      const uri = await client.open(text, join(example, '..', `${method}-${fileName}`));
      assert.deepEqual(await pull(client, uri), [], `${title}: ${summary}`);
    }
    await client.end();
  });

  it('reports damaged and hostile checkpoints where they are named, and lives', async () => {
    const { client, uri, path } = await opened('version: 1\ncheckpoint: bad.safetensors\n');
    const header = JSON.stringify({ a: { dtype: 'F32', shape: [2], data_offsets: [0, 8] }, b: { dtype: 'F32', shape: [2], data_offsets: [4, 12] } });
    const bad: [code: string, bytes: Uint8Array][] = [
      ['checkpoint/empty', Buffer.alloc(0)],
      ['checkpoint/header-too-large', Buffer.from('f3a90b17c2d4e5f6', 'hex')],
      ['checkpoint/header-too-large', rawSafetensors('{}', 0, 2n ** 63n)],
      ['checkpoint/truncated', safetensors(tensors).subarray(0, -5)],
      ['checkpoint/offsets', rawSafetensors(header, 12)],
      ['checkpoint/utf8', rawSafetensors(Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]))],
    ];
    for (const [code, bytes] of bad) {
      writeFileSync(join(path, 'bad.safetensors'), bytes);
      await client.change(uri, `version: 1\ncheckpoint: bad.safetensors # ${bytes.length}\n`);
      const [problem] = await pull(client, uri);
      assert.deepEqual([problem?.code, problem?.range], [code, { start: { line: 1, character: 12 }, end: { line: 1, character: 27 } }]);
    }
    writeFileSync(join(path, 'x.safetensors.index.json'), JSON.stringify({ weight_map: { a: '../../etc/passwd' } }));
    await client.change(uri, 'version: 1\ncheckpoint: x.safetensors.index.json\n');
    assert.deepEqual(codes(await pull(client, uri)), ['checkpoint/shard-path']);
    await client.settled(uri);
    await client.end();
  });

  it('answers with its neutral value for documents that are not open', async () => {
    const client = start();
    await client.initialize();
    const at = { textDocument: { uri: 'file:///nowhere.quant.yaml' }, position: { line: 0, character: 0 } };
    assert.deepEqual(await pull(client, at.textDocument.uri), []);
    assert.equal(await client.ask('textDocument/hover', at), null);
    assert.equal(await client.ask('textDocument/completion', at), null);
    assert.equal(await client.ask('textDocument/definition', at), null);
    assert.equal(await client.ask('textDocument/inlayHint', { ...at, range: everything }), null);
    await assert.rejects(client.request('quantscope/plan', at.textDocument), /is not open in the editor/);
    await client.end();
  });
});

describe('language server with an editor that can little', function () {
  this.timeout(20_000);
  const start = clients();
  const folder = temporaryFolders();

  it('pushes diagnostics, and takes them back on close', async () => {
    const client = start();
    await client.initialize({});
    const path = join(folder({ 'm.safetensors': safetensors(tensors) }), 'x.quant.yaml');
    const uri = await client.open('version: 1\ncheckpoint: m.safetensors\n', path);
    const first = await client.next<PublishDiagnosticsParams>('textDocument/publishDiagnostics');
    assert.deepEqual([first.uri, first.version, codes(first.diagnostics)], [uri, 1, ['checkpoint/unknown-architecture', 'plan/uncovered']]);
    await client.change(uri, 'version: 1\n');
    const second = await client.next<PublishDiagnosticsParams>('textDocument/publishDiagnostics');
    assert.deepEqual([second.version, codes(second.diagnostics)], [2, ['config/missing-key']]);
    await client.settled(uri);
    await client.tell('textDocument/didClose', { textDocument: { uri } });
    assert.deepEqual(await client.next('textDocument/publishDiagnostics'), { uri, diagnostics: [] });
    await client.end();
  });

  it('gives plain text instead of snippets, and no definition, which it could not show', async () => {
    const client = start();
    await client.initialize({});
    const path = join(folder({ 'm.safetensors': safetensors(tensors) }), 'x.quant.yaml');
    const uri = await client.open('version: 1\ncheckpoint: m.safetensors\nrules:\n  \n', path);
    await client.next('textDocument/publishDiagnostics');
    const list = await client.ask<CompletionList>('textDocument/completion', { textDocument: { uri }, position: { line: 3, character: 2 } });
    assert.ok(list.items.length > 0 && list.items.every((item) => item.insertTextFormat === undefined && !/\$\{/.test((item.textEdit as TextEdit).newText)));
    assert.equal(await client.ask('textDocument/definition', { textDocument: { uri }, position: { line: 1, character: 14 } }), null);
    await client.end();
  });

  it('gives plain locations where links are not understood', async () => {
    const client = start();
    await client.initialize({ workspace: { textDocumentContent: {} } });
    const path = join(folder({ 'm.safetensors': safetensors(tensors) }), 'x.quant.yaml');
    const uri = await client.open('version: 1\ncheckpoint: m.safetensors\n', path);
    await client.next('textDocument/publishDiagnostics');
    const [location] = await client.ask<Location[]>('textDocument/definition', { textDocument: { uri }, position: { line: 1, character: 14 } });
    assert.deepEqual(Object.keys(location ?? {}).sort(), ['range', 'uri']);
    await client.end();
  });

  it('asks for no refresh and registers nothing', async () => {
    const client = start();
    await client.initialize({});
    const uri = await client.open('version: 1\n');
    await client.next('textDocument/publishDiagnostics');
    await client.tell('workspace/didChangeWatchedFiles', { changes: [] });
    await client.next('textDocument/publishDiagnostics');
    await client.settled(uri);
    await client.end();
  });

  it('survives an editor that refuses what it said it could', async () => {
    const client = start();
    ['client/registerCapability', 'workspace/inlayHint/refresh', 'workspace/diagnostic/refresh'].forEach((method) => client.refused.add(method));
    await client.initialize(vscodeCapabilities);
    const uri = await client.open('version: 1\ncheckpoint: nowhere.safetensors\n');
    await client.tell('workspace/didChangeWatchedFiles', { changes: [] });
    await client.next('workspace/diagnostic/refresh');
    await client.next('workspace/inlayHint/refresh');
    await client.settled(uri);
    assert.deepEqual(codes(await pull(client, uri)), ['checkpoint/not-found']);
    for (let warnings = 0; warnings < 3; warnings++) {
      assert.match((await client.next<{ message: string }>('window/logMessage')).message, /is not supported/);
    }
    await client.end();
  });
});

/** Files of other tools over the wire: registration, the checkpoint that the user chooses, documents that are none, and a client that only takes what is pushed. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ClientCapabilities, CodeLens, CompletionList, Diagnostic, DocumentDiagnosticReport, Hover, InlayHint, PublishDiagnosticsParams, RegistrationParams } from 'vscode-languageserver/node';
import { URI } from 'vscode-uri';
import { temporaryFolders } from '../fixtures/folder';
import { safetensors } from '../fixtures/safetensors';
import { clients, vscodeCapabilities } from './client';
import type { TestClient } from './client';

const weights = safetensors({ ...Object.fromEntries(['blocks.0.to_q', 'blocks.1.to_q', 'proj_out'].map((name) => [`${name}.weight`, { dtype: 'BF16' as const, shape: [8, 4] }])) });
const u8 = (...shape: number[]): { dtype: 'U8'; shape: number[] } => ({ dtype: 'U8', shape });
const withoutState = { 'proj_out.weight': u8(16, 1), 'proj_out.weight.absmax': u8(1), 'proj_out.weight.quant_map': u8(16) };
const packed = safetensors({ ...withoutState, 'proj_out.weight.quant_state.bitsandbytes__nf4': u8(80) });
const text = '{"quantization_config": {"load_in_4bit": true, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": "bfloat16", "llm_int8_skip_modules": ["to_q"]}}\n';
const everything = { start: { line: 0, character: 0 }, end: { line: 1000, character: 0 } };
const dynamic = { dynamicRegistration: true };
const vscodeLike: ClientCapabilities = {
  textDocument: {
    ...vscodeCapabilities.textDocument, synchronization: dynamic, diagnostic: dynamic, completion: { ...dynamic, completionItem: { snippetSupport: true } }, hover: dynamic, inlayHint: dynamic, codeLens: dynamic, codeAction: dynamic,
  },
  workspace: { ...vscodeCapabilities.workspace, configuration: true, didChangeConfiguration: dynamic, codeLens: { refreshSupport: true } },
};

describe('files of other tools over the wire', function () {
  this.timeout(20_000);
  const start = clients();
  const folder = temporaryFolders();

  async function open(client: TestClient, path: string, content: string, languageId = 'json'): Promise<string> {
    const uri = URI.file(path).toString();
    await client.tell('textDocument/didOpen', { textDocument: { uri, languageId, version: 1, text: content } });
    return uri;
  }

  async function pull(client: TestClient, uri: string): Promise<Diagnostic[]> {
    const report = await client.ask<DocumentDiagnosticReport>('textDocument/diagnostic', { textDocument: { uri } });
    return report.kind === 'full' ? report.items : [];
  }

  async function labels(client: TestClient, uri: string): Promise<unknown[]> {
    return (await client.ask<InlayHint[] | null>('textDocument/inlayHint', { textDocument: { uri }, range: everything }) ?? []).map(({ label }) => label);
  }

  async function titles(client: TestClient, uri: string): Promise<unknown[]> {
    return (await client.ask<CodeLens[] | null>('textDocument/codeLens', { textDocument: { uri } }) ?? []).map(({ command }) => command?.title);
  }

  it('serves a config.json beside its weights, and another checkpoint as soon as one is chosen', async () => {
    const place = folder({ 'transformer/config.json': text, 'transformer/model.safetensors': packed, 'original/model.safetensors': weights });
    const client = start();
    let chosen = '';
    client.connection.onRequest('workspace/configuration', () => [chosen]);
    await client.initialize(vscodeLike, { workspaceFolders: [{ uri: URI.file(place).toString(), name: 'w' }] });
    await client.next('client/registerCapability');
    const { registrations } = await client.next<RegistrationParams>('client/registerCapability');
    assert.deepEqual([...new Set(registrations.map(({ method }) => method))].sort(), ['codeAction', 'codeLens', 'completion', 'diagnostic', 'didChange', 'didClose', 'didOpen', 'hover', 'inlayHint'].map((name) => `textDocument/${name}`));
    assert.ok(registrations.every(({ registerOptions }) => (registerOptions as { documentSelector: { language: string }[] }).documentSelector.some(({ language }) => language === 'json')));

    const uri = await open(client, join(place, 'transformer/config.json'), text);
    assert.deepEqual((await pull(client, uri)).map(({ code }) => code), ['dialect/packed-checkpoint']);
    chosen = './original';
    await client.tell('workspace/didChangeConfiguration', { settings: null });
    for (const what of ['diagnostic', 'inlayHint', 'codeLens']) {
      await client.next(`workspace/${what}/refresh`);
    }
    assert.deepEqual(await labels(client, uri), ['2 layers · 66.67 %']);
    assert.deepEqual(await pull(client, uri), []);
    assert.deepEqual(await titles(client, uri), ['bitsandbytes in diffusers quantizes 1 of 3 layers (33.33 % of the weights) and keeps 2 (66.67 %)', `Checkpoint: ${place.slice(place.lastIndexOf('/') + 1)}/original. Choose Another…`]);
    const at = (word: string): object => ({ textDocument: { uri }, position: { line: 0, character: text.indexOf(word) + 2 } });
    assert.match(JSON.stringify((await client.ask<Hover>('textDocument/hover', at('to_q'))).contents), /keeps \*\*2 layers\*\*/);
    const { items } = await client.ask<CompletionList>('textDocument/completion', at('to_q'));
    assert.ok(items.some(({ label, detail }) => label === 'to_q' && detail === '2 layers · 66.67 %') && !items.some(({ label }) => label === 'proj_out'));
    await client.end();
  });

  it('shows what lies beside a file, as it is now', async () => {
    const place = folder({ 'transformer/config.json': text, 'transformer/model.safetensors': safetensors(withoutState), 'run/config.yaml': '', 'run/cache/wgts.pt': 'x' });
    const client = start();
    await client.initialize();
    const bnb = await open(client, join(place, 'transformer/config.json'), text);
    const run = await open(client, join(place, 'run/config.yaml'), 'quant:\n  wgts: {dtype: sint4}\n', 'yaml');
    const shown = async (uri: string): Promise<unknown[]> => (await pull(client, uri)).map(({ code }) => code);
    assert.deepEqual([await shown(bnb), await shown(run)], [['dialect/packed-checkpoint', 'bitsandbytes/quant-state'], ['dialect/no-checkpoint', 'deepcompressor/not-saved']]);
    writeFileSync(join(place, 'transformer/model.safetensors'), packed);
    ['model.pt', 'scale.pt'].forEach((name) => writeFileSync(join(place, 'run/cache', name), 'x'));
    await client.tell('workspace/didChangeWatchedFiles', { changes: [{ uri: URI.file(join(place, 'run/cache/model.pt')).toString(), type: 1 }] });
    for (const what of ['diagnostic', 'inlayHint']) {
      await client.next(`workspace/${what}/refresh`);
    }
    assert.deepEqual([await shown(bnb), await shown(run)], [['dialect/packed-checkpoint'], ['dialect/no-checkpoint', 'deepcompressor/float-model']]);
    await client.end();
  });

  it('serves every config of a Python file, and sees the model that it loads change', async () => {
    const place = folder({ 'flux/transformer/config.json': '{}', 'flux/transformer/model.safetensors': weights });
    const client = start();
    await client.initialize();
    const script = 'from diffusers import BitsAndBytesConfig, FluxTransformer2DModel, TorchAoConfig\nq = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=["proj_ot"])\n' +
      't = FluxTransformer2DModel.from_pretrained("flux", subfolder="transformer", quantization_config=q)\na = TorchAoConfig("int8wo", ["to_q"])\n';
    const uri = await open(client, join(place, 'run.py'), script, 'python');
    const shown = async (): Promise<unknown[]> => (await pull(client, uri)).map(({ code, range }) => `${range.start.line}: ${String(code)}`);
    assert.deepEqual(await shown(), ['1: bitsandbytes/int8-skip', '1: dialect/matches-nothing', '3: torchao/string-type']);
    assert.deepEqual([await labels(client, uri), (await titles(client, uri)).length], [['0 layers', '2 layers · 66.67 %'], 4]);
    const { items } = await client.ask<CompletionList>('textDocument/completion', { textDocument: { uri }, position: { line: 1, character: script.split('\n')[1]?.indexOf('proj_ot') ?? 0 } });
    assert.ok(items.some(({ label }) => label === 'proj_out'));
    writeFileSync(join(place, 'flux/transformer/config.json'), '{"quantization_config": {"quant_method": "torchao"}}');
    await client.tell('workspace/didChangeWatchedFiles', { changes: [{ uri: URI.file(join(place, 'flux/transformer/config.json')).toString(), type: 2 }] });
    for (const what of ['diagnostic', 'inlayHint']) {
      await client.next(`workspace/${what}/refresh`);
    }
    assert.ok((await shown()).includes('2: python/ignored'));
    await client.tell('textDocument/didChange', { textDocument: { uri, version: 2 }, contentChanges: [{ text: 'import torch\n' }] });
    assert.deepEqual([await shown(), await labels(client, uri), await titles(client, uri)], [[], [], []]);
    await client.end();
  });

  it('shows what the files make together that a script names, as they are now', async () => {
    const script = 'python -m deepcompressor.app.diffusion.ptq configs/int4.yaml configs/model.yaml\n';
    const place = folder({ 'scripts/run.sh': script, 'configs/int4.yaml': 'quant:\n  wgts: {dtype: sint4}\n', 'configs/model.yaml': 'quant:\n  wgts: {skips: [embed]}\n' });
    const client = start();
    await client.initialize();
    const uri = await open(client, join(place, 'scripts/run.sh'), script, 'shellscript');
    const shown = async (): Promise<unknown[]> => (await pull(client, uri)).map(({ code }) => code);
    assert.deepEqual(await shown(), ['deepcompressor-run/order', 'dialect/no-checkpoint']);
    writeFileSync(join(place, 'configs/model.yaml'), 'quant:\n  wgts: {dtype: int4, skips: [embed]}\n');
    await client.tell('workspace/didChangeWatchedFiles', { changes: [{ uri: URI.file(join(place, 'configs/model.yaml')).toString(), type: 2 }] });
    await client.next('workspace/diagnostic/refresh');
    await client.next('workspace/inlayHint/refresh');
    assert.deepEqual(await shown(), ['deepcompressor-run/order', 'dialect/no-checkpoint', 'deepcompressor-run/overrides', 'deepcompressor/dtype']);
    await client.end();
  });

  it('follows the versions that the project says, and asks to be told of them', async () => {
    const torchao = '{"quantization_config": {"quant_method": "torchao", "quant_type": {"default": {"_type": "Int8WeightOnlyConfig", "_version": 2, "_data": {}}}}}';
    const place = folder({ 'requirements.txt': 'torchao==0.14.1\n', 'flux/transformer/config.json': torchao });
    const client = start();
    client.connection.onRequest('workspace/configuration', () => ['']);
    await client.ask('initialize', { processId: null, rootUri: null, capabilities: vscodeLike });
    await client.tell('initialized', {});
    const { registrations } = await client.next<RegistrationParams>('client/registerCapability');
    const watched = registrations.flatMap(({ registerOptions }) => (registerOptions as { watchers: { globPattern: string }[] }).watchers.map(({ globPattern }) => globPattern));
    assert.deepEqual(['requirements', 'pyproject.toml', 'poetry', 'nvidia_modelopt'].filter((name) => !watched.some((glob) => glob.includes(name))), []);
    await client.next('client/registerCapability');
    await client.next('client/registerCapability');
    const uri = await open(client, join(place, 'flux/transformer/config.json'), torchao);
    const shown = async (): Promise<unknown[]> => (await pull(client, uri)).filter(({ code }) => String(code).startsWith('torchao/')).map(({ code, message }) => [code, /torchao\S* \([^)]*\)/.exec(String(message))?.[0]]);
    const written = async (requirements: string): Promise<unknown[]> => {
      writeFileSync(join(place, 'requirements.txt'), requirements);
      await client.tell('workspace/didChangeWatchedFiles', { changes: [{ uri: URI.file(join(place, 'requirements.txt')).toString(), type: 2 }] });
      for (const what of ['diagnostic', 'inlayHint', 'codeLens']) {
        await client.next(`workspace/${what}/refresh`);
      }
      return shown();
    };
    const where = (line: string): string => `${line} (../../requirements.txt, line 1)`;
    assert.deepEqual(await shown(), [['torchao/old', where('torchao==0.14.1')], ['torchao/config-version', where('torchao==0.14.1')]]);
    assert.deepEqual(await written('torchao==0.18.0\n'), []);
    assert.deepEqual(await written('torchao<0.13\n'), [['torchao/old', where('torchao<0.13')], ['torchao/config-version', where('torchao<0.13')]]);
    await client.end();
  });

  it('says nothing of documents that are none, and forgets one that no longer is', async () => {
    const place = folder({ 'model.safetensors': weights });
    const client = start();
    await client.initialize();
    const uri = await open(client, join(place, 'package.json'), '{"name": "x", "format": "y"}');
    const nothing = async (): Promise<unknown[]> => [await pull(client, uri), await labels(client, uri), await titles(client, uri), await client.ask('textDocument/hover', { textDocument: { uri }, position: { line: 0, character: 3 } }),
      await client.ask('textDocument/completion', { textDocument: { uri }, position: { line: 0, character: 1 } })];
    assert.deepEqual(await nothing(), [[], [], [], null, null]);
    await client.tell('textDocument/didChange', { textDocument: { uri, version: 2 }, contentChanges: [{ text: '{"quant_method": "quanto", "modules_to_not_convert": ["a.b"]}' }] });
    assert.ok((await pull(client, uri)).some(({ code }) => code === 'quanto/dotted'));
    await client.tell('textDocument/didChange', { textDocument: { uri, version: 3 }, contentChanges: [{ text: '{"name": "x"}' }] });
    assert.deepEqual(await nothing(), [[], [], [], null, null]);
    await client.end();
  });

  it('pushes to a client that cannot pull, takes its settings, and serves texts without a file', async () => {
    const place = folder({ 'original/model.safetensors': weights });
    const client = start();
    await client.initialize({}, { initializationOptions: { checkpoint: join(place, 'nowhere') } });
    const none = await open(client, join(place, 'tsconfig.json'), '{"compilerOptions": {}}');
    const uri = 'untitled:Untitled-1';
    await client.tell('textDocument/didOpen', { textDocument: { uri, languageId: 'json', version: 1, text } });
    const pushed = async (): Promise<unknown[]> => {
      const { uri: of, diagnostics } = await client.next<PublishDiagnosticsParams>('textDocument/publishDiagnostics');
      assert.equal(of, uri);
      return diagnostics.map(({ code }) => code);
    };
    assert.deepEqual(await pushed(), ['dialect/checkpoint']);
    await client.tell('workspace/didChangeConfiguration', { settings: { quantscope: { checkpoint: join(place, 'original') } } });
    assert.deepEqual(await pushed(), []);
    assert.deepEqual(await labels(client, uri), ['2 layers · 66.67 %']);
    await client.tell('textDocument/didChange', { textDocument: { uri, version: 2 }, contentChanges: [{ text: text.replace('to_q', 'to_k') }] });
    assert.deepEqual(await pushed(), ['dialect/matches-nothing']);
    await client.tell('textDocument/didChange', { textDocument: { uri, version: 3 }, contentChanges: [{ text: '{}' }] });
    assert.deepEqual(await pushed(), []);
    await client.tell('textDocument/didClose', { textDocument: { uri: none } });
    await client.end();
  });
});

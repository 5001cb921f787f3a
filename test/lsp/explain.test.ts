/** `Explain This Layer` over the wire: files of several tools in one workspace, one of them open and edited. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { URI } from 'vscode-uri';
import { temporaryFolders } from '../fixtures/folder';
import { safetensors } from '../fixtures/safetensors';
import type { TensorSpec } from '../fixtures/safetensors';
import { clients, vscodeCapabilities } from './client';
import type { TestClient } from './client';

const tensors: Record<string, TensorSpec> = Object.fromEntries(['blocks.0.q', 'blocks.1.q', 'out'].map((name) => [`${name}.weight`, { dtype: 'BF16', shape: [64, 64] }]));
const ours = 'version: 1\ncheckpoint: ./model/transformer/diffusion_pytorch_model.safetensors\ndefaults: { method: rtn, scheme: W4A16 }\nrules:\n  - layers: [out]\n    keep: original\n';
const quantization = { quant_method: 'bitsandbytes', load_in_4bit: true, bnb_4bit_quant_type: 'nf4', bnb_4bit_compute_dtype: 'bfloat16', llm_int8_skip_modules: ['q'] };

describe('explain this layer', function () {
  this.timeout(20_000);
  const start = clients();
  const folder = temporaryFolders();

  async function opened(): Promise<{ client: TestClient; path: string; weights: string }> {
    const path = folder({
      'a.quant.yaml': ours,
      'notes.json': '{"quantity": 4}',
      'broken.json': '{',
      'package.json': '{}',
      'model/transformer/config.json': JSON.stringify({ quantization_config: quantization }),
      'model/transformer/diffusion_pytorch_model.safetensors': safetensors(tensors),
      'lost.quant.yaml': ours.replace('./model/', './lost/'),
      'node_modules/b.quant.yaml': ours,
    });
    const client = start();
    await client.initialize(vscodeCapabilities, { workspaceFolders: [{ uri: URI.file(path).toString(), name: 'w' }] });
    return { client, path, weights: join(path, 'model/transformer/diffusion_pytorch_model.safetensors') };
  }

  it('tells what each file does, the unsaved text included', async () => {
    const { client, path, weights } = await opened();
    const uri = await client.open(ours.replace('keep: original', 'scheme: W8A8'), join(path, 'a.quant.yaml'));
    const { facts, files } = await client.request('quantscope/explainLayer', { layer: 'out', checkpoint: weights });
    assert.deepEqual(facts, { role: 'other', block: null, inFeatures: 64, outFeatures: 64, dtype: 'BF16' });
    assert.deepEqual(files.map(({ label, verdict, entries }) => [label, verdict, entries.map(({ text, effect, range }) => [text, effect, range?.start.line])]), [
      ['a.quant.yaml', 'quantized', [['rule 1: out', 'W8A8', 4]]],
      ['lost.quant.yaml', 'unknown', []],
      ['model/transformer/config.json', 'quantized', []],
    ]);
    assert.equal(files[0]?.uri, uri);
    const kept = (await client.request('quantscope/explainLayer', { layer: 'blocks.1.q' })).files[2];
    assert.deepEqual([kept?.verdict, kept?.entries[0]?.text, kept?.checkpoint], ['kept', 'q', join(path, 'model/transformer')]);
    await client.end();
  });

  it('offers the layers of the pattern at the cursor, and says why there is nothing to say', async () => {
    const { client, path } = await opened();
    const uri = await client.open(ours.replace('[out]', '["blocks.*.q"]'), join(path, 'a.quant.yaml'));
    const { layers, taken } = await client.request('quantscope/layersAt', { uri, position: { line: 4, character: 16 } });
    assert.deepEqual([layers, taken], [['blocks.0.q', 'blocks.1.q', 'out'], ['blocks.0.q', 'blocks.1.q']]);
    assert.deepEqual((await client.request('quantscope/layersAt', { uri, position: { line: 0, character: 0 } })).taken, []);
    const other = URI.file(join(path, 'model/transformer/config.json')).toString();
    const text = JSON.stringify({ quantization_config: quantization });
    await client.tell('textDocument/didOpen', { textDocument: { uri: other, languageId: 'json', version: 1, text } });
    assert.deepEqual((await client.request('quantscope/layersAt', { uri: other, position: { line: 0, character: text.indexOf('["q"]') + 2 } })).taken, ['blocks.0.q', 'blocks.1.q']);
    const { facts, files } = await client.request('quantscope/explainLayer', { layer: 'no.such.layer' });
    assert.deepEqual([facts, files.map(({ verdict }) => verdict)], [null, ['absent', 'unknown', 'absent']]);
    await assert.rejects(client.request('quantscope/explainLayer', { layer: '' }), /Name a layer/);
    await client.end();
  });
});

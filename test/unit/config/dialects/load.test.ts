/** Which checkpoint a file of another tool is about. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CheckpointStore } from '../../../../server/src/checkpoint';
import { loadDialects } from '../../../../server/src/config/dialects/load';
import { temporaryFolders } from '../../../fixtures/folder';
import { safetensors } from '../../../fixtures/safetensors';
import { config, documentOf } from './support';

const weights = safetensors({ 'proj_out.weight': { dtype: 'BF16', shape: [8, 4] } });
const packed = safetensors({ 'proj_out.weight': { dtype: 'I8', shape: [8, 4] }, 'proj_out.SCB': { dtype: 'F32', shape: [8] } });
const pipeline = { 'model_index.json': '{"transformer": ["diffusers", "X"]}', 'transformer/config.json': '{}', 'transformer/diffusion_pytorch_model.safetensors': weights };
const recipe = 'QuantizationModifier: {targets: [Linear], scheme: FP8}';

describe('checkpoints beside files of other tools', () => {
  const folder = temporaryFolders();
  const load = async (files: Record<string, string | Uint8Array>, name: string, given?: string): Promise<[checkpoint: string | undefined, codes: string[]]> => {
    const place = folder(files);
    const text = readFileSync(join(place, name), 'utf8');
    const [loaded] = await loadDialects(documentOf(text, basename(name)), join(place, name), new CheckpointStore(), given && join(place, given));
    return [loaded?.checkpoint?.path.slice(place.length), loaded?.problems.map(({ code }) => code) ?? []];
  };
  const under = (name: string): Record<string, string | Uint8Array> => Object.fromEntries(Object.entries(pipeline).map(([path, content]) => [`${name}/${path}`, content]));

  it('is the pipeline around the file, or the only one beside it, or the one that is named', async () => {
    assert.deepEqual(await load({ ...pipeline, 'recipe.yaml': recipe }, 'recipe.yaml'), ['', []]);
    assert.deepEqual(await load({ ...under('flux'), 'recipe.yaml': recipe }, 'recipe.yaml'), ['/flux', []]);
    assert.deepEqual(await load({ ...under('flux'), ...under('wan'), 'recipe.yaml': recipe }, 'recipe.yaml', 'wan'), ['/wan', []]);
    assert.deepEqual(await load({ ...under('flux'), ...under('wan'), 'recipe.yaml': recipe }, 'recipe.yaml'), [undefined, ['dialect/no-checkpoint']]);
  });

  it('is the component of a config.json; packed weights and missing ones are said', async () => {
    const text = config({ load_in_8bit: true });
    assert.deepEqual(await load({ 'config.json': text, 'model.safetensors': weights }, 'config.json'), ['', ['bitsandbytes/not-quantized']]);
    assert.deepEqual(await load({ 'config.json': text, 'model.safetensors': packed }, 'config.json'), ['', ['dialect/packed-checkpoint']]);
    assert.deepEqual(await load({ 'config.json': text }, 'config.json'), [undefined, ['dialect/checkpoint']]);
  });

  it('is that of the config.json for what lies beside it, whatever its entries are counted on', async () => {
    const text = config({ load_in_8bit: true });
    const without = safetensors({ 'proj_out.weight': { dtype: 'I8', shape: [8, 4] } });
    assert.deepEqual(await load({ 'a/config.json': text, 'a/model.safetensors': without, 'b/model.safetensors': weights }, 'a/config.json', 'b'), ['/b', ['bitsandbytes/quant-state']]);
    assert.deepEqual(await load({ 'a/config.json': text, 'a/model.safetensors': packed, 'b/model.safetensors': weights }, 'a/config.json', 'b'), ['/b', []]);
    assert.deepEqual(await load({ 'a/config.json': text, 'b/model.safetensors': weights }, 'a/config.json', 'b'), ['/b', []]);
    // A section that is a file of its own is nobody's component.
    assert.deepEqual(await load({ 'a/bnb.json': '{"load_in_8bit": true}', 'a/model.safetensors': without, 'b/model.safetensors': weights }, 'a/bnb.json', 'b'), ['/b', []]);
  });

  it('stands beside files that say something by their names, one folder below too', async () => {
    const torchao = config({ quant_method: 'torchao', quant_type: { default: { _type: 'Int8WeightOnlyConfig', _data: {} } } });
    assert.deepEqual(await load({ 'config.json': torchao, 'diffusion_pytorch_model.bin': 'x' }, 'config.json'), [undefined, ['dialect/checkpoint', 'torchao/pickle']]);
    const run = { 'config.yaml': 'quant:\n  wgts: {dtype: sint4}\n', 'model/model.pt': 'x', 'model/scale.pt': 'x', 'deep/er/model.pt': 'x', 'deep/er/wgts.pt': 'x' };
    assert.deepEqual(await load(run, 'config.yaml'), [undefined, ['dialect/no-checkpoint', 'deepcompressor/float-model']]);
  });
});

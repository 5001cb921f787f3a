import assert from 'node:assert/strict';
import { basename, join, relative } from 'node:path';
import { findComponent, hasComponentName, readConfig } from '../../../server/src/checkpoint/diffusers';
import { Files } from '../../../server/src/checkpoint/files';
import { temporaryFolders } from '../../fixtures/folder';
import { rejectsWithProblem } from './expect';

const pipeline = (...components: string[]): string => JSON.stringify({
  _class_name: 'P', id2label: { 0: 'a' }, safety_checker: [null, null], ...Object.fromEntries(components.map(name => [name, ['diffusers', 'X']])),
});

describe('diffusers folders', () => {
  const makeFolder = temporaryFolders();

  async function picked(files: Record<string, string>): Promise<{ weights: string; codes: string[]; message: string }> {
    const folder = makeFolder(files);
    const { weights, problems } = await findComponent(folder, new Files());
    return { weights: relative(folder, weights), codes: problems.map(problem => `${problem.severity} ${problem.code}`), message: problems[0]?.message ?? '' };
  }

  const single: [title: string, names: string[], expected: string][] = [
    ['the usual file', ['config.json', 'diffusion_pytorch_model.safetensors'], 'diffusion_pytorch_model.safetensors'],
    ['a shard index', ['diffusion_pytorch_model-00001-of-00001.safetensors', 'diffusion_pytorch_model.safetensors.index.json'], 'diffusion_pytorch_model.safetensors.index.json'],
    ['a variant', ['diffusion_pytorch_model.fp16.safetensors'], 'diffusion_pytorch_model.fp16.safetensors'],
    ['a sharded variant', ['diffusion_pytorch_model.fp16-00001-of-00001.safetensors', 'diffusion_pytorch_model.safetensors.index.fp16.json'], 'diffusion_pytorch_model.safetensors.index.fp16.json'],
    ['the name of transformers', ['model.safetensors', 'pytorch_model.bin'], 'model.safetensors'],
    ['a single file of any name', ['my-dit.safetensors', 'readme.md'], 'my-dit.safetensors'],
  ];
  for (const [title, names, expected] of single) {
    it(`picks ${title}`, async () => {
      assert.deepEqual(await picked(Object.fromEntries(names.map(name => [name, '']))), { weights: expected, codes: [], message: '' });
    });
  }

  it('says what it picked when several would do: the index before the file, the plain name before a variant', async () => {
    const file = await picked({ 'diffusion_pytorch_model.fp16.safetensors': '', 'diffusion_pytorch_model.safetensors': '' });
    assert.equal(file.weights, 'diffusion_pytorch_model.safetensors');
    assert.deepEqual(file.codes, ['info checkpoint/several-weights']);
    assert.match(file.message, /^diffusion_pytorch_model\.safetensors: is opened; .*"diffusion_pytorch_model\.fp16\.safetensors"/);
    const index = await picked({ 'diffusion_pytorch_model.safetensors': '', 'diffusion_pytorch_model.safetensors.index.json': '' });
    assert.equal(index.weights, 'diffusion_pytorch_model.safetensors.index.json');
  });

  it('opens the transformer of a pipeline', async () => {
    const { weights, codes } = await picked({ 'model_index.json': pipeline('vae', 'transformer'), 'transformer/diffusion_pytorch_model.safetensors': '', 'other.safetensors': '' });
    assert.equal(weights, join('transformer', 'diffusion_pytorch_model.safetensors'));
    assert.deepEqual(codes, []);
  });

  it('says that a second transformer is left out', async () => {
    const { codes, message } = await picked({ 'model_index.json': pipeline('transformer', 'transformer_2'), 'transformer/diffusion_pytorch_model.safetensors': '' });
    assert.deepEqual(codes, ['info checkpoint/several-weights']);
    assert.match(message, /"transformer_2"/);
  });

  const failures: [title: string, files: Record<string, string>, code: Parameters<typeof rejectsWithProblem>[1], message: RegExp][] = [
    ['a UNet pipeline', { 'model_index.json': pipeline('unet', 'vae') }, 'checkpoint/no-transformer', /only "unet", "vae"/],
    ['a pipeline without its transformer folder', { 'model_index.json': pipeline('transformer') }, 'checkpoint/not-found', /^transformer: not found/],
    ['a broken model_index.json', { 'model_index.json': '{' }, 'checkpoint/config', /^model_index\.json: byte 1/],
    ['a list as model_index.json', { 'model_index.json': '[]' }, 'checkpoint/config', /not a JSON object/],
    ['pickles only', { 'config.json': '{}', 'diffusion_pytorch_model.bin': '' }, 'checkpoint/pickle', /"diffusion_pytorch_model\.bin".*safe_serialization=True/],
    ['GGUF only', { 'flux-Q4_K.gguf': '' }, 'checkpoint/gguf', /flux-Q4_K\.gguf/],
    ['shards without an index', { 'diffusion_pytorch_model-00001-of-00002.safetensors': '' }, 'checkpoint/index', /not their \.safetensors\.index\.json/],
    ['several unusual names', { 'a.safetensors': '', 'b.safetensors': '' }, 'checkpoint/several-weights', /2 weight files \("a\.safetensors", "b\.safetensors"\)/],
    ['the older form of nunchaku', { 'transformer_blocks.safetensors': '', 'unquantized_layers.safetensors': '', 'config.json': '{}', 'comfy_config.json': '{}' }, 'checkpoint/nunchaku-folder', /python -m nunchaku\.merge_safetensors/],
    ['nothing', {}, 'checkpoint/no-weights', /Name the folder that holds the weights/],
    ['the folder above', { 'transformer/x.safetensors': '' }, 'checkpoint/no-weights', /Did you mean its subfolder "transformer"\?/],
  ];
  for (const [title, files, code, message] of failures) {
    it(`explains ${title}`, () => rejectsWithProblem(findComponent(makeFolder(files), new Files()), code, message));
  }
});

describe('config.json of a component', () => {
  const makeFolder = temporaryFolders();

  async function config(text?: string): Promise<{ config: unknown; problems: string[] }> {
    const folder = makeFolder(text === undefined ? {} : { 'config.json': text });
    const { config: read, problems } = await readConfig(join(folder, 'w.safetensors'), new Files());
    problems.forEach(problem => assert.equal(basename(problem.file ?? ''), 'config.json'));
    return { config: read, problems: problems.map(problem => `${problem.severity} ${problem.code} ${problem.message}`) };
  }

  it('is read, and may be absent', async () => {
    assert.deepEqual(await config('{"_class_name":"X","n":1}'), { config: { _class_name: 'X', n: 1 }, problems: [] });
    assert.deepEqual(await config(), { config: null, problems: [] });
  });

  it('gives a warning when it is broken', async () => {
    for (const text of ['', '{', '[]', '{"a":NaN}', '{"a":1,"a":2}', '['.repeat(100_000)]) {
      const { config: read, problems } = await config(text);
      assert.equal(read, null);
      assert.match(problems[0] ?? '', /^warning checkpoint\/config config\.json: /);
    }
  });

  it('tells that the weights are already quantized, and by what', async () => {
    assert.match((await config('{"quantization_config":{"quant_method":"bitsandbytes"}}')).problems[0] ?? '', /^info checkpoint\/quantized .* already quantized by "bitsandbytes"/);
    assert.deepEqual((await config('{"quantization_config":{"quant_method":"quantscope"}}')).problems, [], 'packed layers carry their errors with them');
    assert.match((await config('{"quantization_config":{}}')).problems[0] ?? '', /by a method it does not name/);
    assert.deepEqual((await config('{"quantization_config":null}')).problems, []);
  });

  it('belongs to files in diffusers naming only', () => {
    assert.deepEqual(['diffusion_pytorch_model.safetensors', 'model.fp16.safetensors', 'flux1-dev.safetensors', 'my_model.safetensors'].map(name => hasComponentName(`/a/${name}`)), [true, true, false, false]);
  });
});

/** Which documents are files of other tools, and which checkpoint they are about. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { CheckpointStore } from '../../../../server/src/checkpoint';
import { couldBeDialect, maxOpenLength } from '../../../../server/src/config/dialects';
import { codeActions } from '../../../../server/src/language/codeActions';
import { diagnostics } from '../../../../server/src/language/diagnostics';
import { buildDialectModel } from '../../../../server/src/language/dialects/model';
import { publishedCheckpoint } from '../../../fixtures/checkpoints';
import { temporaryFolders } from '../../../fixtures/folder';
import { safetensors } from '../../../fixtures/safetensors';
import { dialectModel } from './models';

const bnb = '{"quantization_config": {"load_in_4bit": true, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": "bfloat16", "llm_int8_skip_modules": ["proj_out", "norm_ot"]}}';

describe('documents that an editor opens', () => {
  it('are nothing when no tool reads them, mostly at a glance', async () => {
    const root = join(__dirname, '../../../..');
    for (const name of ['package.json', 'tsconfig.json', 'examples/glyph-dit/transformer/config.json', 'examples/glyph-dit/model_index.json']) {
      const text = readFileSync(join(root, name), 'utf8');
      assert.equal(couldBeDialect(text), false, name);
      assert.equal(await dialectModel(text, { name }), undefined, name);
    }
    for (const text of ['', '{', 'plain words', 'name: x\non: push\njobs: {build: {format: x}}\n', 'a=b c=d', '{"format": "uri", "skip": 1}', '{"architectures": ["LlamaForCausalLM"], "quantization_config": {"quant_method": "gptq"}}', '{"quant_method": "quantscope"}']) {
      assert.equal(await dialectModel(text), undefined, text);
    }
    assert.equal(couldBeDialect(`{"quantization_config": "${'x'.repeat(maxOpenLength)}"}`), false);
  });

  it('stay what they were while one types', async () => {
    const model = await dialectModel(bnb);
    assert.equal(model?.dialect.id, 'diffusers-bitsandbytes');
    const broken = await dialectModel('{"quantization_config": {\n"llm_int8_skip_modules": [,\n"load_in_4bit": true}}', { before: model.dialect });
    assert.equal(broken?.dialect.id, 'diffusers-bitsandbytes');
    assert.deepEqual(broken.problems.map(({ code }) => code), ['dialect/json']);
    const rules = await dialectModel('norm=q8_0', { name: 'r.txt' });
    assert.equal((await dialectModel('norm=q', { name: 'r.txt', ...(rules ? { before: rules.dialect } : {}) }))?.file.form, 'text');
    assert.equal(await dialectModel('norm=q', { name: 'r.txt' }), undefined);
    const opened = await dialectModel('{"quantization_config": {\n"x": tru,\n"quant_method": "quanto"}}');
    assert.equal(opened?.dialect.id, 'diffusers-quanto', 'broken from the start');
  });

  it('have diagnostics with codes, links, related places and fixes', async () => {
    const model = await dialectModel(bnb.replace('"norm_ot"', '"norm_ot", "proj_out"'), { checkpoint: publishedCheckpoint('FLUX.1-dev') });
    assert.ok(model);
    const found = diagnostics(model, 'file:///docs/problems.md');
    assert.deepEqual(found.map(({ code }) => code), ['dialect/takes-more', 'dialect/matches-nothing', 'dialect/repeated']);
    assert.equal(found[1]?.codeDescription?.href, 'file:///docs/problems.md#dialectmatches-nothing');
    assert.deepEqual(found[2]?.relatedInformation?.map(({ location }) => model.document.getText(location.range)), ['"proj_out"']);
    const [fix] = codeActions(model.document.uri, found);
    assert.equal(TextDocument.applyEdits(model.document, fix?.edit?.changes?.[model.document.uri] ?? []), model.document.getText().replace('norm_ot', 'norm_out'));
  });

  it('name the command where a checkpoint is missing, also as a fix', async () => {
    const model = await dialectModel(bnb);
    assert.ok(model);
    const found = diagnostics(model, undefined);
    assert.match(String(found[0]?.message), /run "QuantScope: Choose Checkpoint for Quantization Files" \(setting quantscope\.checkpoint\)\.$/);
    assert.deepEqual(codeActions(model.document.uri, found).map(({ command }) => command?.command), ['quantscope.chooseCheckpoint']);
  });
});

describe('the checkpoint of a file of another tool', () => {
  const folder = temporaryFolders();
  const weights = safetensors({ 'proj_out.weight': { dtype: 'BF16', shape: [8, 4] } });
  const quantization = '"quantization_config": {"load_in_8bit": true}';

  it('is the chosen one, but for the config of another component its own', async () => {
    const place = folder({
      'flux/config.json': '{"_class_name": "FluxTransformer2DModel"}', 'flux/model.safetensors': weights,
      'a/config.json': `{"_class_name": "FluxTransformer2DModel", ${quantization}}`, 'a/model.safetensors': weights,
      'b/config.json': `{"architectures": ["T5EncoderModel"], ${quantization}}`, 'b/model.safetensors': weights,
    });
    const store = new CheckpointStore();
    const path = async (name: string, sources: Record<string, string>): Promise<string | undefined> => {
      const file = join(place, name, 'config.json');
      const absolute = Object.fromEntries(Object.entries(sources).map(([key, value]) => [key, join(place, value)]));
      const model = await buildDialectModel(TextDocument.create(`file://${file}`, 'json', 1, readFileSync(file, 'utf8')), store, () => Promise.resolve({ files: [], packages: new Map(), ...absolute }));
      return model?.checkpointPath?.slice(place.length + 1);
    };
    assert.equal(await path('a', { beside: 'a' }), 'a');
    assert.equal(await path('a', { beside: 'a', chosen: 'flux' }), 'flux');
    assert.equal(await path('b', { beside: 'b', chosen: 'flux' }), 'b');
    assert.equal(await path('a', { beside: 'a', chosen: 'nowhere' }), 'nowhere', 'so that its message is shown');
    assert.equal(await path('a', {}), undefined);
  });
});

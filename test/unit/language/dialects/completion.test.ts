import assert from 'node:assert/strict';
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { CompletionItem, TextEdit } from 'vscode-languageserver-types';
import { completeDialect } from '../../../../server/src/language/dialects/completion';
import { layersNamed, publishedCheckpoint } from '../../../fixtures/checkpoints';
import { atDialectCursor, dialectModel } from './models';
import type { Options } from './models';

interface Offered { labels: string[]; detail(label: string): string; /** The document after taking an item. */ after(label: string): string }

/** What is offered at the `|`, without placeholders unless `snippets`. */
async function offered(marked: string, { snippets = false, ...options }: Options & { snippets?: boolean } = {}): Promise<Offered> {
  const { model, position, text } = await atDialectCursor(marked, options);
  const document = TextDocument.create('file:///x', '', 1, text);
  const { items } = completeDialect(model, position, { snippets });
  const item = (label: string): CompletionItem => items.find((each) => each.label === label) ?? assert.fail(`no "${label}" among ${items.map((each) => each.label).join(', ')}`);
  return {
    labels: items.map(({ label }) => label), detail: (label) => item(label).detail ?? '',
    after: (label) => TextDocument.applyEdits(document, [item(label).textEdit as TextEdit, ...item(label).additionalTextEdits ?? []]),
  };
}

const flux = publishedCheckpoint('FLUX.1-dev');
const small = layersNamed('blocks.0.attn.to_q', 'blocks.0.ff.up', 'blocks.1.attn.to_q', 'blocks.1.ff.up', 'proj_out');
const bnb = (more: string): string => `{"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true${more}}}`;

describe('completion of fields of other tools', () => {
  const edits: [marked: string, label: string, after: string, options?: Options][] = [
    [bnb(', |'), 'bnb_4bit_quant_type', bnb(', "bnb_4bit_quant_type": "nf4"')],
    [bnb(', "bnb|"'), 'bnb_4bit_quant_type', bnb(', "bnb_4bit_quant_type": "nf4"')],
    [bnb(', "bnb_|": "nf4"'), 'bnb_4bit_quant_type', bnb(', "bnb_4bit_quant_type": "nf4"')],
    [bnb(', "bnb_4bit_quant_type": |'), 'nf4', bnb(', "bnb_4bit_quant_type": "nf4"')],
    [bnb(', "bnb_4bit_quant_type":|'), 'nf4', bnb(', "bnb_4bit_quant_type": "nf4"')],
    [bnb(', "bnb_4bit_quant_type": "|fp4"'), 'nf4', bnb(', "bnb_4bit_quant_type": "nf4"')],
    [bnb(', "bnb_4bit_use_double_quant": |'), 'true', bnb(', "bnb_4bit_use_double_quant": true')],
    [bnb(', "llm_int8_threshold": |'), '6.0', bnb(', "llm_int8_threshold": 6.0')],
    [`{\n  "quant_method": "bitsandbytes",\n  "load_in_4bit": true\n  |\n}`, 'bnb_4bit_use_double_quant', '{\n  "quant_method": "bitsandbytes",\n  "load_in_4bit": true,\n  "bnb_4bit_use_double_quant": true\n}'],
    [`{\n  |\n  "quant_method": "bitsandbytes",\n  "load_in_4bit": true\n}`, 'llm_int8_skip_modules', '{\n  "llm_int8_skip_modules": [""],\n  "quant_method": "bitsandbytes",\n  "load_in_4bit": true\n}'],
    ['{"quantization_config": {"quant_method": "|"}}', 'torchao', '{"quantization_config": {"quant_method": "torchao"}}'],
    ['{"quantization_config": {|}}', 'quant_method', '{"quantization_config": {"quant_method": "bitsandbytes"}}'],
    ['{"quant_method": "torchao", "quant_type": {"default": {"_type": "|"}}}', 'Int8WeightOnlyConfig', '{"quant_method": "torchao", "quant_type": {"default": {"_type": "Int8WeightOnlyConfig"}}}'],
    ['{"quant_method": "torchao", "quant_type": {|}}', 'default', '{"quant_method": "torchao", "quant_type": {"default": {}}}'],
    ['{"quant_method": "nunchaku_lite", "svdq_w4a4": {"precision": "|"}}', 'nvfp4', '{"quant_method": "nunchaku_lite", "svdq_w4a4": {"precision": "nvfp4"}}'],
    ['{"quant_method": "compressed-tensors", "config_groups": {"|"}}', 'W4A16', '{"quant_method": "compressed-tensors", "config_groups": {"W4A16": {}}}'],
    ['{"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"strategy": "|"}}}}', 'group', '{"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"strategy": "group"}}}}'],
    ['quant:\n  wgts:\n    dtype: sint4\n    |\n', 'enable_low_rank', 'quant:\n  wgts:\n    dtype: sint4\n    enable_low_rank: true\n', { name: 'int4.yaml' }],
    ['quant:\n  wgts: {dtype: |}\n', 'sfp4_e2m1_all', 'quant:\n  wgts: {dtype: sfp4_e2m1_all}\n', { name: 'int4.yaml' }],
    ['stage:\n  group_modifiers:\n    GPTQModifier:\n      targets: [Linear]\n      sch|\n', 'scheme', 'stage:\n  group_modifiers:\n    GPTQModifier:\n      targets: [Linear]\n      scheme: \n', { name: 'recipe.yaml' }],
    ['QuantizationModifier:\n  targets: [Linear]\n  scheme: |\n', 'W4A16', 'QuantizationModifier:\n  targets: [Linear]\n  scheme: W4A16\n', { name: 'recipe.yaml' }],
    ['quant_cfg:\n  - quantizer_name: "*"\n    |\n', 'enable', 'quant_cfg:\n  - quantizer_name: "*"\n    enable: false\n', { name: 'recipe.yaml' }],
    ['{"quantization": {"quant_algo": "|"}}', 'NVFP4', '{"quantization": {"quant_algo": "NVFP4"}}'],
    ['{"_default": {"format": "|"}}', 'mxfp8', '{"_default": {"format": "mxfp8"}}', { name: 'layers.json' }],
    ['remain_fp_regex: x\nquant:\n  weight:\n    quantizer: {n_bits: |}\n', '8', 'remain_fp_regex: x\nquant:\n  weight:\n    quantizer: {n_bits: 8}\n', { name: 'w8a8.yaml' }],
    ['norm=q8_0,attn=|', 'q4_K', 'norm=q8_0,attn=q4_K', { name: 'rules.txt' }],
  ];
  for (const [marked, label, after, options] of edits) {
    it(`${marked.replaceAll('\n', '⏎')} with ${label}`, async () => {
      assert.equal((await offered(marked, options)).after(label), after);
    });
  }

  it('offers neither fields that are there, nor those that tools write themselves', async () => {
    const { labels } = await offered(bnb(', "|"'));
    assert.deepEqual(labels.filter((label) => ['quant_method', 'load_in_4bit', '_load_in_4bit', 'compute_dtype'].includes(label)), []);
    assert.ok(labels.includes('load_in_8bit'));
  });

  it('says type and default, and gives choices to clients that fill them in', async () => {
    assert.equal((await offered(bnb(', "|"'))).detail('bnb_4bit_quant_storage'), 'uint8, int8, float16, bfloat16; default uint8');
    assert.equal((await offered(bnb(', "|"'), { snippets: true })).after('bnb_4bit_use_double_quant'), bnb(', "bnb_4bit_use_double_quant": ${1|true,false|}$0'));
    assert.equal((await offered('quant:\n  ipts: {dtype: sint4}\n  wgts:\n    |\n', { snippets: true, name: 'q.yaml' })).after('low_rank'), 'quant:\n  ipts: {dtype: sint4}\n  wgts:\n    low_rank:\n      $0\n');
  });
});

describe('completion of names in lists of other tools', () => {
  const skips = (list: string): string => bnb(`, "llm_int8_skip_modules": [${list}]`);

  it('counts by the tool\'s own rule', async () => {
    const counts = async (marked: string, label: string, name?: string): Promise<string> => (await offered(marked, { checkpoint: flux, ...(name ? { name } : {}) })).detail(label);
    assert.equal(await counts(skips('"pro|"'), 'proj_out'), '39 layers · 15.07 %');
    assert.equal(await counts(skips('"norm|"'), 'norm'), '38 layers · 9.04 %');
    assert.equal(await counts('{"quant_method": "modelopt", "quant_type": "FP8", "modules_to_not_convert": ["norm|"]}', 'norm'), '77 layers · 27.28 %');
    assert.equal(await counts('{"quant_method": "quanto", "modules_to_not_convert": ["proj|"]}', 'proj_out'), '39 layers · 15.07 %');
    assert.equal(await counts('QuantizationModifier:\n  targets: [Linear]\n  scheme: W4A16\n  ignore: ["re:.*norm|"]\n', 're:.*norm', 'r.yaml'), '77 layers · 27.28 %');
    assert.equal(await counts('quant:\n  wgts:\n    dtype: sint4\n    skips:\n      - transformer_|\n', 'transformer_norm', 'q.yaml'), '57 layers · 18.08 %');
    assert.equal(await counts('quant_cfg:\n  - quantizer_name: "*|"\n', '*proj_out*', 'r.yaml'), '39 layers · 15.07 %');
    assert.equal(await counts('{"_default": {"format": "nvfp4"}, "norm|": {"skip": true}}', 'norm', 'l.json'), '77 layers · 27.28 %');
    assert.equal(await counts('norm=q8_0,single_transformer_blocks|', 'single_transformer_blocks\\.\\d+\\.proj_out\\.weight', 'r.txt'), '38 layers · 15.07 %');
    assert.equal(await counts('{"quant_method": "sdnq", "modules_dtype_dict": {"int8": ["proj|"]}}', 'proj_out'), '39 layers · 15.07 %');
  });

  const edits: [marked: string, label: string, after: string, name?: string][] = [
    [skips('|'), 'proj_out', skips('"proj_out"')],
    [skips('"|"'), 'proj_out', skips('"proj_out"')],
    [skips('"blocks.0", "pro|"'), 'proj_out', skips('"blocks.0", "proj_out"')],
    [skips('"pro|, "blocks.0"'), 'proj_out', skips('"proj_out", "blocks.0"')],
    ['{"quant_method": "sdnq", "modules_quant_config": {"|"}}', 'to_q', '{"quant_method": "sdnq", "modules_quant_config": {"to_q": {}}}'],
    ['{"_default": {"format": "nvfp4"}, "blocks|"}', 'blocks\\.\\d+\\.attn\\.to_q$', '{"_default": {"format": "nvfp4"}, "blocks\\\\.\\\\d+\\\\.attn\\\\.to_q$": {}}', 'l.json'],
    ['QuantizationModifier:\n  targets: [Linear]\n  scheme: W4A16\n  ignore:\n    |\n', 'proj_out', 'QuantizationModifier:\n  targets: [Linear]\n  scheme: W4A16\n  ignore:\n    - proj_out\n', 'r.yaml'],
    ['QuantizationModifier:\n  targets: [Linear]\n  scheme: W4A16\n  ignore:\n    - |\n', 're:proj_out$', 'QuantizationModifier:\n  targets: [Linear]\n  scheme: W4A16\n  ignore:\n    - "re:proj_out$"\n', 'r.yaml'],
    ['norm=q8_0,pro|', 'proj_out', 'norm=q8_0,proj_out=', 'r.txt'],
    ['norm=q8_0,p|ro=q4_K', 'proj_out', 'norm=q8_0,proj_out=q4_K', 'r.txt'],
  ];
  for (const [marked, label, after, name] of edits) {
    it(`${marked.replaceAll('\n', '⏎')} with ${label}`, async () => {
      assert.equal((await offered(marked, { checkpoint: small, ...(name ? { name } : {}) })).after(label), after);
    });
  }

  it('offers no name twice, and roles without a checkpoint', async () => {
    assert.ok(!(await offered(skips('"proj_out", "|"'), { checkpoint: small })).labels.includes('proj_out'));
    assert.ok((await offered('quant:\n  wgts: {dtype: sint4, skips: [em|]}\n', { name: 'q.yaml' })).labels.includes('embed'));
  });
});

describe('completion everywhere in files of other tools', () => {
  const text = '{\n  "quantization_config": {\n    "quant_method": "sdnq", // SD.Next\n    "modules_dtype_dict": {"int8": ["a", "b.c"], "uint4": []},\n    "use_svd": true,\n    "svd_rank": 32\n  }\n}\n';

  it('leaves JSON behind that is as whole as before, and answers in texts that are cut off', async () => {
    const valid = text.replace(' // SD.Next', '');
    const model = await dialectModel(valid, { checkpoint: small });
    assert.ok(model);
    for (let offset = 0; offset <= valid.length; offset++) {
      const { items } = completeDialect(model, model.document.positionAt(offset), { snippets: false });
      for (const item of items.slice(0, 2)) {
        const after = TextDocument.applyEdits(model.document, [item.textEdit as TextEdit, ...item.additionalTextEdits ?? []]);
        assert.doesNotThrow(() => JSON.parse(after) as unknown, `${item.label} at ${offset}: ${after}`);
      }
      const cut = await dialectModel(valid.slice(0, offset), { checkpoint: small, before: model.dialect });
      assert.ok(!cut || completeDialect(cut, cut.document.positionAt(offset), { snippets: false }).items.length >= 0);
    }
  });

  it('says nothing in comments, in free text and behind finished values', async () => {
    for (const marked of [text.replace('SD.Next', 'SD.|Next'), text.replace('true,', 'true |,'), '{"quantization_config": {"load_in_4bit": true}, "_class_name": "F|"}']) {
      assert.deepEqual((await offered(marked, { checkpoint: small })).labels, [], marked);
    }
  });
});

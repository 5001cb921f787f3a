import assert from 'node:assert/strict';
import type { MarkupContent } from 'vscode-languageserver-types';
import { dialectHover } from '../../../../server/src/language/dialects/hover';
import { publishedCheckpoint } from '../../../fixtures/checkpoints';
import { atDialectCursor } from './models';
import type { Options } from './models';

const flux = publishedCheckpoint('FLUX.1-dev');
const bnb = (more: string): string => `{"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true, ${more}}}`;

/** The Markdown at the `|`, and the text it is about. */
async function hovered(marked: string, options: Options = { checkpoint: flux }): Promise<{ text: string; about: string }> {
  const { model, position } = await atDialectCursor(marked, options);
  const found = dialectHover(model, position);
  return { text: (found?.contents as MarkupContent | undefined)?.value ?? '', about: found?.range ? model.document.getText(found.range) : '' };
}

describe('hover on entries of other tools', () => {
  it('shows layers by block and role, and the tool\'s rule in a sentence', async () => {
    const { text, about } = await hovered(bnb('"llm_int8_skip_modules": ["proj|_out"]'));
    assert.equal(about, '"proj_out"');
    assert.match(text, /^`proj_out` keeps \*\*39 layers\*\*, 15\.07 % of all linear weights\.\n\n\| block \| role \| layers \| share of weights \|/);
    assert.match(text, /\| `single_transformer_blocks\.0–37` \| single-out \| 38 \| 15\.07 % \|/);
    assert.match(text, /It decides all of them\.\n\nHow bitsandbytes in diffusers compares: A layer is kept when the last segment/);
  });

  it('says who decides the rest', async () => {
    const { text } = await hovered('QuantizationModifier:\n  targets: [Lin|ear]\n  scheme: W4A16\n  ignore: ["re:.*norm"]\n', { checkpoint: flux, name: 'r.yaml' });
    assert.match(text, /^`Linear` quantizes to W4A16 \*\*504 layers\*\*/);
    assert.match(text, /It decides 427 of them\. 77: `re:\.\*norm` in line 4\./);
  });

  it('says why an entry takes nothing, and what the tool does about it', async () => {
    const { text } = await hovered(bnb('"llm_int8_skip_modules": ["ff.n|et.2"]'));
    assert.match(text, /^`ff\.net\.2` takes \*\*no layer\*\* of the checkpoint\. A path counts only with a dot behind it/);
    assert.match(text, /An entry that takes nothing: Passed over without a word\.$/);
  });

  it('uses the rule of the list that the entry stands in', async () => {
    const recipe = (more: string): string => `algorithm: {method: svdquant, skip_layers: [${more}]}\nquant_cfg:\n  - {quantizer_name: "*", enable: false}\n`;
    assert.match((await hovered(recipe('"*no|rm*"'), { checkpoint: flux, name: 'r.yaml' })).text, /takes \*\*77 layers\*\*.* They are quantized without a low-rank branch\..*compares: `fnmatch` on the names of layers\./s);
  });

  it('reads rules of tensor types', async () => {
    const { text } = await hovered('norm=q8_0,attn=q4|_K', { checkpoint: flux, name: 'r.txt' });
    assert.match(text, /^`attn=q4_K` quantizes to q4_K \*\*266 layers\*\*.*`q4_K`: 4\.5 bits per weight, blocks of 256\.$/s);
  });

  it('has the rule without a checkpoint too', async () => {
    assert.match((await hovered(bnb('"llm_int8_skip_modules": ["nor|m"]'), {})).text, /^`norm`: keeps\. Which layers it takes shows with a checkpoint\.\n\nHow bitsandbytes/);
  });
});

describe('hover on fields of other tools', () => {
  it('says what the tool does with it, its values, default and source', async () => {
    const { text, about } = await hovered(bnb('"bnb_4bit_quant|_type": "nf4"'));
    assert.equal(about, '"bnb_4bit_quant_type"');
    assert.match(text, /^\*\*quantization_config\.bnb_4bit_quant_type\*\*\n\nThe 16 levels of 4-bit weights.*- `nf4`: .*Default: `fp4`\.\n\nSource: diffusers 0\.40, `BitsAndBytesConfig`$/s);
  });

  const places: [marked: string, expected: RegExp, name?: string][] = [
    [bnb('"bnb_4bit_quant_type": "nf|4"'), /^\*\*nf4\*\*: 16 levels/],
    [bnb('"bnb_4bit_quant_storage": "in|t8"'), /One of `uint8`, `int8`/],
    ['{"quant_method": "torchao", "quant_type": {"default": {"_type": "Int8Weight|OnlyConfig"}}}', /^\*\*Int8WeightOnlyConfig\*\*: int8 weights.*Source: torchao/s],
    ['{"quant_method": "modelopt", "quant_ty|pe": "FP8"}', /^\*\*quant_type\*\* \(required\)/],
    ['{"quant_method": "nunchaku_lite", "svdq_w4a4": {"ra|nk": 32}}', /^\*\*svdq_w4a4\.rank\*\* \(required\)\n\nColumns of the low-rank branch/],
    ['{"quant_method": "compressed-tensors", "config_groups": {"g": {"targets": ["Linear"], "weights": {"strat|egy": "group"}}}}', /^\*\*config_groups\.g\.weights\.strategy\*\*.*- `tensor_group`: /s],
    ['quant:\n  wgts: {group_|shapes: [[1, 64]]}\n', /^\*\*quant\.wgts\.group_shapes\*\*\n\nWhat shares a scale.*Source: deepcompressor/s, 'q.yaml'],
    ['GPTQModifier: {targets: [Linear], scheme: W4|A16}\n', /^\*\*W4A16\*\*: 4-bit weights, activations as they are, groups of 128/, 'r.yaml'],
    ['{"format_version": "1.0", "layers": {"a": {"format": "nv|fp4"}}}', /^\*\*nvfp4\*\*: 4-bit weights \(U8\)/],
    ['{"quant_meth|od": "sdnq"}', /^\*\*quant_method\*\*/],
  ];
  for (const [marked, expected, name] of places) {
    it(marked.replaceAll('\n', '⏎'), async () => {
      assert.match((await hovered(marked, name ? { name } : {})).text, expected);
    });
  }

  it('sums the file up on its section and method', async () => {
    const sum = /\*\*bitsandbytes in diffusers\*\* quantizes 465 of 504 layers \(84\.93 % of the weights\) and keeps 39 \(15\.07 %\)\. Layers that no entry takes: fp4\./;
    const text = bnb('"llm_int8_skip_modules": ["proj_out"]');
    assert.match((await hovered(text.replace('quantization_config', 'quantization|_config'))).text, sum);
    assert.match((await hovered(text.replace('bitsandbytes', 'bits|andbytes'))).text, sum);
  });

  it('says nothing of other keys', async () => {
    assert.equal((await hovered('{"_class_|name": "X", "quantization_config": {"quant_method": "quanto"}}')).text, '');
    assert.equal((await hovered(bnb('"no_such_fi|eld": 1'))).text, '');
  });
});

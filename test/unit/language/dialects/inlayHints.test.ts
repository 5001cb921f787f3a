import assert from 'node:assert/strict';
import { dialectCodeLenses } from '../../../../server/src/language/dialects/codeLens';
import { dialectInlayHints } from '../../../../server/src/language/dialects/inlayHints';
import { layersNamed, publishedCheckpoint } from '../../../fixtures/checkpoints';
import { dialectModel } from './models';
import type { Options } from './models';

const flux = publishedCheckpoint('FLUX.1-dev');
const everywhere = { start: { line: 0, character: 0 }, end: { line: 1000, character: 0 } };

/** The text with every hint where it is shown, in ‹ ›. */
async function shown(text: string, options: Options = { checkpoint: flux }): Promise<string> {
  const model = await dialectModel(text, options);
  assert.ok(model);
  return dialectInlayHints([model], everywhere).map((hint) => ({ offset: model.document.offsetAt(hint.position), label: String(hint.label) }))
    .sort((a, b) => b.offset - a.offset).reduce((all, { offset, label }) => `${all.slice(0, offset)}‹${label}›${all.slice(offset)}`, text);
}

async function lenses(text: string, options: Options = { checkpoint: flux }): Promise<string[]> {
  const model = await dialectModel(text, options);
  assert.ok(model);
  return dialectCodeLenses(model).map(({ command }) => `${command?.title ?? ''}${command?.command ? ` → ${command.command} ${JSON.stringify(command.arguments)}` : ''}`);
}

describe('hints behind entries of other tools', () => {
  const bnb = (list: string): string => `{"quantization_config": {"load_in_4bit": true, "llm_int8_skip_modules": [${list}]}}`;

  it('count layers and share by the tool\'s rule', async () => {
    assert.equal(await shown(bnb('"proj_out", "norm", "ff.net.2"')), bnb('"proj_out"‹39 layers · 15.07 %›, "norm"‹38 layers · 9.04 %›, "ff.net.2"‹0 layers›'));
    assert.equal(await shown('{"quant_method": "modelopt", "quant_type": "FP8", "modules_to_not_convert": ["norm"]}'), '{"quant_method": "modelopt", "quant_type": "FP8", "modules_to_not_convert": ["norm"‹77 layers · 27.28 %›]}');
  });

  it('say what an entry decides where others take a part', async () => {
    assert.equal(await shown('QuantizationModifier:\n  targets: [Linear]\n  scheme: FP8\n  ignore: ["re:.*norm"]\n', { checkpoint: flux, name: 'r.yaml' }),
      'QuantizationModifier:\n  targets: [Linear‹504 layers (427 decided) · 100.00 %›]\n  scheme: FP8\n  ignore: ["re:.*norm"‹77 layers · 27.28 %›]\n');
  });

  it('stand behind the line of a key, but behind the key where a line holds several', async () => {
    const checkpoint = layersNamed('a.w1', 'a.w2', 'b');
    const lines = '{\n  "_default": {"format": "nvfp4"},\n  "a": {"skip": true},\n  "w2": {\n    "format": "mxfp8"\n  }\n}';
    assert.equal(await shown(lines, { checkpoint }), lines.replace('{"skip": true},', '{"skip": true},‹2 layers (1 decided) · 66.67 %›').replace('"w2": {', '"w2": {‹1 layer · 33.33 %›'));
    const one = '{"_default": {"format": "nvfp4"}, "b": {"skip": true}, "w2": {"format": "mxfp8"}}';
    assert.equal(await shown(one, { checkpoint }), one.replace('"b"', '"b"‹1 layer · 33.33 %›').replace('"w2"', '"w2"‹1 layer · 33.33 %›'));
  });

  it('come in a range, and not without a checkpoint', async () => {
    const model = await dialectModel(bnb('\n"proj_out",\n"norm"'), { checkpoint: flux });
    assert.ok(model);
    assert.deepEqual(dialectInlayHints([model], { start: { line: 2, character: 0 }, end: { line: 3, character: 0 } }).map(({ label, tooltip }) => [label, tooltip]), [
      ['38 layers · 9.04 %', 'Takes 38 layers with 9.04 % of all linear weights by the rule of bitsandbytes in diffusers. It decides all of them and keeps them (kept).']]);
    assert.equal(await shown(bnb('"norm"'), {}), bnb('"norm"'));
  });
});

describe('the lens above files of other tools', () => {
  const text = '{"load_in_8bit": true, "llm_int8_skip_modules": ["proj_out"]}';

  it('sums up, and offers another checkpoint', async () => {
    assert.deepEqual(await lenses(text), ['bitsandbytes in diffusers quantizes 465 of 504 layers (84.93 % of the weights) and keeps 39 (15.07 %)', 'Checkpoint: project. Choose Another… → quantscope.chooseCheckpoint ["file:///project/config.json"]']);
    assert.deepEqual(await lenses(text, {}), ['bitsandbytes in diffusers', 'Choose Checkpoint… → quantscope.chooseCheckpoint ["file:///project/config.json"]']);
  });

  it('sums up nothing that is not read to its end', async () => {
    assert.deepEqual((await lenses(text.replace(']}', ',]}')))[0], 'bitsandbytes in diffusers');
  });
});

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { withQuantizationConfig } from '../../../../server/src/config/convert/componentConfig';
import { writerFor } from '../../../../server/src/config/convert/export';
import { writers } from '../../../../server/src/config/convert/writers';
import { settingsOf } from '../../../../server/src/config/convert/settings';
import { methods } from '../../../../server/src/methods';
import { schemeOf } from '../../../../server/src/methods/method';
import { configText, exported, firstBlocks, planOf } from './support';

const kept = ['rules:', '  - layers: [proj_out, norm_out.linear, "*_embedder", "time_text_embed.**"]', '    keep: original'];

describe('export', () => {
  const flux = firstBlocks('FLUX.1-dev', 2);

  it('says which layers a list of names takes besides, and that this is no small thing', () => {
    const { text, grave } = exported('diffusers-bitsandbytes', configText('defaults: { scheme: W8A8, method: { name: rtn, weights: { scale: fp32 }, activations: { scale: fp32 } } }', ...kept), flux);
    assert.deepEqual(grave, [{
      place: '2 layers: single_transformer_blocks.*.proj_out', what: 'treatment: weights int8 per row, fp32 scales, activations int8 per row, fp32 scales', why: 'bitsandbytes in diffusers would read kept in bf16, by "proj_out"',
    }]);
    assert.deepEqual((JSON.parse(text) as { quantization_config: Record<string, unknown> }).quantization_config['llm_int8_skip_modules'], ['time_text_embed', 'context_embedder', 'norm_out.linear', 'x_embedder', 'proj_out']);
  });

  it('counts parts of a recipe that a tool lacks, other bits and other kinds of numbers as grave, and scales as small', () => {
    const { lossy, grave } = exported('compressed-tensors', configText('defaults: { scheme: W4A4, method: svdquant }', ...kept, 'budget: { bits: 8 }'), flux);
    assert.deepEqual(grave.map(({ what }) => what), ['smoothing: kind: search, steps: 20', 'low-rank branch: rank: 32, iterations: 100']);
    assert.deepEqual(lossy.filter((each) => !grave.includes(each)).map(({ place, why }) => [place, why]), [['budget', 'compressed-tensors has no such field']]);
    assert.deepEqual(exported('comfyui', configText('defaults: { scheme: W4A4, method: { name: rtn, weights: { group: 64 }, activations: { group: 64 } } }', ...kept), flux).lossy.map(({ what }) => what.replace(/:.*/, '')), ['weights', 'activations']);
    assert.deepEqual(exported('convert-to-quant', configText('defaults: { scheme: W8A16, method: rtn }', ...kept), flux).grave.map(({ what }) => what), ['activations: bf16']);
  });

  it('refuses what a tool has no counterpart of, and says what to do', () => {
    const orbit = configText('defaults: { scheme: W4A4, method: orbitquant }', ...kept);
    assert.throws(() => exported('diffusers-bitsandbytes', orbit, flux), /bitsandbytes in diffusers has nothing like codebook 4 bit weights \(\d+ layers: .*\)\. Write a packed checkpoint instead \(quantscope quantize\)/);
    assert.throws(() => exported('diffusers-quanto', configText('defaults: { scheme: W6A16, method: rtn }', ...kept), flux), /quanto in diffusers cannot say int6 per row weights/);
    assert.throws(() => exported('deepcompressor', configText('defaults: { scheme: W8A8, method: rtn }'), firstBlocks('Z-Image', 1)), /deepcompressor has no struct for ZImageTransformer2DModel/);
    assert.throws(() => exported('modelopt', configText('defaults: { keep: original }'), flux), /quantizes no layer/);
    assert.throws(() => writerFor('diffusers-gguf'), /says nothing about layers/);
    assert.throws(() => writerFor('nonsense'), /There is no dialect "nonsense" to export to\. Known: diffusers-bitsandbytes/);
  });

  it('writes lists where a tool wants names, and patterns where it takes them', () => {
    const text = configText('defaults: { scheme: W4A4, method: svdquant }', ...kept);
    const { svdq_w4a4: { targets } } = (JSON.parse(exported('diffusers-nunchaku-lite', text, flux).text) as { quantization_config: { svdq_w4a4: { targets: string[] } } }).quantization_config;
    assert.deepEqual(targets, planOf(text, flux).layers.filter(({ recipe }) => recipe.method === 'svdquant').map(({ name }) => name));
    const rules = configText('defaults: { scheme: W8A16, method: { name: rtn, weights: { group: 32 } } }', ...kept, '  - layers: ["**.ff.**"]', '    scheme: W4A16', '    method: { name: rtn, weights: { group: 32 } }');
    assert.equal(exported('stable-diffusion.cpp', rules, flux).text, '^transformer_blocks\\.[^.]*\\.ff\\.net\\..*\\.weight$=q4_0,^time_text_embed\\..*\\.weight$=bf16,^[^.]*_embedder\\.weight$=bf16,^norm_out\\.linear\\.weight$=bf16,^proj_out\\.weight$=bf16,^.*\\.weight$=q8_0\n');
    assert.ok(!/[A-Z]/.test(exported('llama-quantize', configText('defaults: { scheme: W4A16, method: { name: rtn, weights: { group: 32 } } }', 'rules:', '  - layers: ["**.adaLN_modulation.*"]', '    keep: original'), firstBlocks('Z-Image', 1)).text), 'expressions are lower-cased by the tool');
  });

  it('puts a config into the config.json of a model, and leaves the rest of it', () => {
    const added = '{"quantization_config": {"quant_method": "quanto"}}';
    assert.deepEqual(JSON.parse(withQuantizationConfig('{"_class_name": "X", "num_layers": 2, "quantization_config": {"quant_method": "gguf"}}', added)), { _class_name: 'X', num_layers: 2, quantization_config: { quant_method: 'quanto' } });
    assert.equal(withQuantizationConfig('[]', '{"_default": {}}'), '{"_default": {}}');
    assert.throws(() => withQuantizationConfig('nonsense', added), /no JSON/);
  });
});

describe('docs/cli.md', () => {
  it('names every dialect that can be exported to', () => {
    const text = readFileSync(resolve(__dirname, '../../../../docs/cli.md'), 'utf8');
    assert.deepEqual(writers.map(({ id }) => id).filter((id) => !text.includes(`\`${id}\``)), []);
  });
});

describe('settings of a recipe', () => {
  const flux = firstBlocks('FLUX.1-dev', 1);

  for (const method of methods.values()) {
    it(`lead back to ${method.name}`, () => {
      for (const scheme of method.schemes) {
        const bits = schemeOf(scheme) ?? assert.fail();
        assert.deepEqual(settingsOf(method.recipe(bits)), { scheme, method: method.name });
      }
    });
  }

  it('name what differs from the preset alone', () => {
    for (const method of ['{ name: svdquant, smooth: false, rotate: { kind: rpbh, seed: 3 }, lowRank: { rank: 16 } }', '{ name: rtn, weights: { kind: float }, activations: { group: 64 } }', '{ name: quarot, rotate: false, solver: { kind: rtn } }',
      '{ name: rtn, weights: { clip: 0.9 }, activations: { range: static } }', '{ name: orbitquant, weights: { kind: int, group: 64 } }']) {
      const [layer] = planOf(configText(`defaults: { scheme: W4A4, method: ${method} }`), flux).layers;
      assert.deepEqual(settingsOf(layer?.recipe ?? assert.fail()), { scheme: 'W4A4', method });
    }
  });
});

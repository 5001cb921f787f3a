/** The tables of fields: what they promise is what the parsers do. */
import assert from 'node:assert/strict';
import { detectDialect, dialects, readDialectFile } from '../../../../server/src/config/dialects';
import { evaluate } from '../../../../server/src/config/dialects/evaluate';
import { fieldAt } from '../../../../server/src/config/dialects/field';
import type { Field } from '../../../../server/src/config/dialects/field';
import { publishedCheckpoint } from '../../../fixtures/checkpoints';
import { documentOf } from './support';

type Path = readonly (string | number)[];
const json = (value: unknown): string => JSON.stringify(value);
const yaml = (entry: string): string => JSON.stringify(entry);
/** A file that holds one entry, and where its rule stands. */
const files: [id: string, path: Path, file: (entry: string) => string][] = [
  ['diffusers-bitsandbytes', ['llm_int8_skip_modules'], (entry) => json({ load_in_4bit: true, llm_int8_skip_modules: [entry] })],
  ['diffusers-torchao', ['modules_to_not_convert'], (entry) => json({ quant_method: 'torchao', modules_to_not_convert: [entry] })],
  ['diffusers-quanto', ['modules_to_not_convert'], (entry) => json({ quant_method: 'quanto', modules_to_not_convert: [entry] })],
  ['diffusers-modelopt', ['modules_to_not_convert'], (entry) => json({ quant_method: 'modelopt', quant_type: 'FP8', modules_to_not_convert: [entry] })],
  ['diffusers-sdnq', ['modules_to_not_convert'], (entry) => json({ quant_method: 'sdnq', modules_to_not_convert: [entry] })],
  ['diffusers-sdnq', ['modules_dtype_dict', 'int4'], (entry) => json({ quant_method: 'sdnq', modules_dtype_dict: { int4: [entry] } })],
  ['diffusers-sdnq', ['modules_quant_config'], (entry) => json({ quant_method: 'sdnq', modules_quant_config: { [entry]: {} } })],
  ['diffusers-auto-round', ['modules_to_not_convert'], (entry) => json({ quant_method: 'auto-round', modules_to_not_convert: [entry] })],
  ['diffusers-auto-round', ['block_name_to_quantize'], (entry) => json({ quant_method: 'auto-round', block_name_to_quantize: [entry] })],
  ['diffusers-nunchaku-lite', ['svdq_w4a4', 'targets'], (entry) => json({ quant_method: 'nunchaku_lite', svdq_w4a4: { precision: 'int4', group_size: 64, rank: 32, targets: [entry] } })],
  ['compressed-tensors', ['ignore'], (entry) => json({ quant_method: 'compressed-tensors', ignore: [entry] })],
  ['compressed-tensors', ['config_groups', 'g', 'targets'], (entry) => json({ config_groups: { g: { targets: [entry] } }, quant_method: 'compressed-tensors' })],
  ['llm-compressor', ['QuantizationModifier', 'ignore'], (entry) => `QuantizationModifier: {scheme: FP8, ignore: [${yaml(entry)}]}`],
  ['deepcompressor', ['quant', 'wgts', 'skips'], (entry) => `quant: {wgts: {dtype: sint4, skips: [${yaml(entry)}]}}`],
  ['modelopt', ['quant_cfg', 0, 'quantizer_name'], (entry) => `quant_cfg: [{quantizer_name: ${yaml(entry)}, enable: false}]`],
  ['modelopt', ['algorithm', 'skip_layers'], (entry) => `algorithm: {method: svdquant, skip_layers: [${yaml(entry)}]}\nquant_cfg: []`],
  ['modelopt-hf', ['quantization', 'exclude_modules'], (entry) => json({ quantization: { quant_algo: 'FP8', exclude_modules: [entry] } })],
  ['modelopt-hf', ['quantization', 'quantized_layers'], (entry) => json({ quantization: { quant_algo: 'MIXED_PRECISION', quantized_layers: { [entry]: { quant_algo: 'FP8' } } } })],
  ['optimum-quanto', [], (entry) => json({ [entry]: { weights: 'qint8', activations: 'none' } })],
  ['torchao-fqn', [], (entry) => json({ [entry]: { _type: 'Int8WeightOnlyConfig', _data: {} } })],
  ['convert-to-quant', [], (entry) => json({ [entry]: { format: 'nvfp4' } })],
  ['comfyui', ['layers'], (entry) => json({ format_version: '1.0', layers: { [entry]: { format: 'nvfp4' } } })],
  ['vidit-q', ['remain_fp_regex'], (entry) => `remain_fp_regex: ${yaml(entry)}`],
  ['stable-diffusion.cpp', [], (entry) => `${entry}=q8_0`],
  ['llama-quantize', [], (entry) => `${entry}=q8_0\nx=q4_k`],
];

describe('fields of other tools', () => {
  const flux = publishedCheckpoint('FLUX.1-dev');

  for (const [id, path, file] of files) {
    it(`offers names that take what the tool takes: ${id} ${path.join('.')}`, () => {
      const read = (entry: string): { matched: number; names: Field['names'] } => {
        const text = readDialectFile('config.json', documentOf(file(entry)));
        const dialect = detectDialect(text);
        assert.equal(dialect?.id, id, file(entry));
        const found = evaluate(dialect.parse(text), flux).entries.find((each) => each.text === entry || each.text === `${entry}=q8_0`);
        return { matched: found?.matchedLayers ?? assert.fail(`no entry in ${file(entry)}`), names: dialect.names ?? fieldAt(dialect.root(text), path)?.field.names };
      };
      const rule = read('embed').names;
      assert.ok(rule, 'the field chooses layers');
      const all = rule.offers(flux);
      // Some of each kind: the first, and then one here and there.
      const offers = all.filter((_, i) => i < 2 || i % Math.ceil(all.length / 5) === 0);
      assert.ok(offers.length > 1);
      for (const offer of offers) {
        assert.equal(flux.layers.filter(rule.takes(offer)).length, read(offer).matched, offer);
      }
      assert.ok(offers.some((offer) => flux.layers.some(rule.takes(offer))));
    });
  }

  it('each say what they are; defaults are values', () => {
    const seen = new Set<Field>();
    const visit = (field: Field, where: string): void => {
      if (seen.has(field)) {
        return;
      }
      seen.add(field);
      assert.match(field.doc, /^(?=.*[\p{L}`]).*[.)]$/u, where);
      if (field.values && !field.open && !field.each && typeof field.default === 'string') {
        assert.ok(Object.hasOwn(field.values, field.default), `${where}: ${field.default}`);
      }
      Object.entries(field.fields ?? {}).forEach(([key, inner]) => visit(inner, `${where}.${key}`));
      [field.each, field.items].forEach((inner) => inner && visit(inner, `${where}.*`));
    };
    const texts = ['{"quantization_config": {}}', '{"_type": "FqnToConfig", "_data": {"fqn_to_config": {}}}', '14-10:\n  model.a: 8\n', ''];
    dialects.forEach((dialect) => texts.forEach((text) => visit(dialect.root(readDialectFile('config.json', documentOf(text))), dialect.id)));
    assert.ok(seen.size > 250);
  });
});

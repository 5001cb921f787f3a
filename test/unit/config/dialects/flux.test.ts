/** The table of skip entries on FLUX.1-dev: how many of its 504 linear layers each backend of diffusers keeps, and their share of the linear weights. */
import assert from 'node:assert/strict';
import { publishedCheckpoint } from '../../../fixtures/checkpoints';
import { config, evaluated } from './support';

const backends = {
  'diffusers-bitsandbytes': { key: 'llm_int8_skip_modules', settings: { quant_method: 'bitsandbytes', load_in_4bit: true, bnb_4bit_quant_type: 'nf4', bnb_4bit_compute_dtype: 'bfloat16' } },
  'diffusers-torchao': { key: 'modules_to_not_convert', settings: { quant_method: 'torchao', quant_type: { default: { _type: 'Int8WeightOnlyConfig', _version: 1, _data: {} } } } },
  'diffusers-quanto': { key: 'modules_to_not_convert', settings: { quant_method: 'quanto', weights_dtype: 'int8' } },
  'diffusers-modelopt': { key: 'modules_to_not_convert', settings: { quant_method: 'modelopt', quant_type: 'FP8' } },
};

const table: [entry: string, ...byBackend: string[]][] = [
  ['proj_out', '39 (15.07 %)', '39 (15.07 %)', '39 (15.07 %)', '39 (15.07 %)'],
  ['norm_out', '1 (0.16 %)', '1 (0.16 %)', '0 (0.00 %)', '1 (0.16 %)'],
  ['norm', '38 (9.04 %)', '38 (9.04 %)', '0 (0.00 %)', '77 (27.28 %)'],
  ['transformer_blocks.1', '20 (4.05 %)', '20 (4.05 %)', '0 (0.00 %)', '206 (41.64 %)'],
  ['ff.net.2', '0 (0.00 %)', '19 (6.03 %)', '0 (0.00 %)', '19 (6.03 %)'],
  ['attn.to_out.0', '0 (0.00 %)', '19 (1.51 %)', '0 (0.00 %)', '19 (1.51 %)'],
  ['time_text_embed', '6 (0.27 %)', '6 (0.27 %)', '0 (0.00 %)', '6 (0.27 %)'],
];

describe('skip lists on FLUX.1-dev', () => {
  const flux = publishedCheckpoint('FLUX.1-dev');
  Object.entries(backends).forEach(([id, { key, settings }], column) => {
    it(id, () => {
      const { entries, decisions } = evaluated(id, config({ ...settings, [key]: table.map(([entry]) => entry) }), flux);
      assert.equal(decisions.length, 504);
      assert.deepEqual(entries.filter(({ builtin }) => builtin === null).map(({ text, matchedLayers, matchedParamsPercent }) => [text, `${matchedLayers} (${matchedParamsPercent.toFixed(2)} %)`]),
        table.map(([entry, ...cells]) => [entry, cells[column]]));
    });
  });
});

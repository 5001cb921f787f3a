/** Skip lists of diffusers' backends against a Python program that walks module trees as each tool does, on every published model. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { publishedModel } from '../fixtures/architectures';
import { publishedCheckpoint } from '../fixtures/checkpoints';
import { config, evaluated } from '../unit/config/dialects/support';
import { numpy } from './python';

type Kept = [layers: number, weights: number, names: string];
type Tables = Record<string, Record<string, Record<string, Kept>> & { total: number }>;

const settings: Record<string, [key: string, quantization: Record<string, unknown>]> = {
  'diffusers-bitsandbytes': ['llm_int8_skip_modules', { quant_method: 'bitsandbytes', load_in_4bit: true }],
  'diffusers-torchao': ['modules_to_not_convert', { quant_method: 'torchao', quant_type: { default: { _type: 'Int8WeightOnlyConfig', _version: 1, _data: {} } } }],
  'diffusers-quanto': ['modules_to_not_convert', { quant_method: 'quanto', weights_dtype: 'int8' }],
  'diffusers-sdnq': ['modules_to_not_convert', { quant_method: 'sdnq', add_skip_keys: false }],
  'diffusers-modelopt': ['modules_to_not_convert', { quant_method: 'modelopt', quant_type: 'FP8' }],
};

/** Names that people put into such lists, those of the table on FLUX.1-dev first. */
const entries: Record<string, string[]> = {
  'FLUX.1-dev': ['proj_out', 'norm_out', 'norm', 'transformer_blocks.1', 'ff.net.2', 'attn.to_out.0', 'time_text_embed', 'x_embedder', 'single_transformer_blocks', 'single_transformer_blocks.1', '2', 'weight', 'transformer_blocks.0.norm1.linear', '.proj_out', '*norm*', 'transformer_blocks.*.ff', '*.1*.norm'],
  'Z-Image': ['t_embedder', 'cap_embedder', 'all_x_embedder', 'all_final_layer', 'layers.1', 'context_refiner', 'adaLN_modulation', 'adaLN_modulation.0', 'feed_forward.w2', 'w2', '2-1', 'noise_refiner.0', 'attention.to_out.0', 'all_x_embedder.2-1', '.layers.1', 'layers.*.w2', '*2-1'],
  'Wan2.1-14B': ['condition_embedder', 'patch_embedding', 'proj_out', 'blocks.3', 'blocks.0', 'attn2', 'ffn.net.2', 'time_embedder', 'time_proj', 'norm2', 'to_out.0', 'net', 'blocks.39'],
};

describe('skip lists of other tools', function () {
  this.timeout(120_000);
  const models = Object.keys(entries).map((name) => publishedModel(name));
  const tables = numpy<Tables>('skiplists.py', { models: models.map(({ name, linears }) => ({ name, linears: linears.map(([path, count, out, inputs]) => [path, count, out, inputs]) })), entries });

  it('the program itself gives the known table', () => {
    const flux = tables['FLUX.1-dev'] ?? assert.fail();
    const cell = (backend: string, entry: string): string => {
      const [layers, weights] = flux[backend]?.[entry] ?? assert.fail();
      return `${layers} (${((100 * weights) / flux.total).toFixed(2)} %)`;
    };
    assert.equal(flux.total, 11898322944);
    assert.deepEqual(['norm', 'transformer_blocks.1', 'ff.net.2'].map((entry) => ['diffusers-bitsandbytes', 'diffusers-torchao', 'diffusers-quanto', 'diffusers-modelopt'].map((backend) => cell(backend, entry))),
      [['38 (9.04 %)', '38 (9.04 %)', '0 (0.00 %)', '77 (27.28 %)'], ['20 (4.05 %)', '20 (4.05 %)', '0 (0.00 %)', '206 (41.64 %)'], ['0 (0.00 %)', '19 (6.03 %)', '0 (0.00 %)', '19 (6.03 %)']]);
  });

  for (const { name } of models) {
    for (const [backend, [key, quantization]] of Object.entries(settings)) {
      it(`${name}, ${backend}`, () => {
        const checkpoint = publishedCheckpoint(name);
        for (const entry of entries[name] ?? []) {
          const { entries: [found] } = evaluated(backend, config({ ...quantization, [key]: [entry] }), checkpoint);
          const [layers, weights, names] = tables[name]?.[backend]?.[entry] ?? assert.fail();
          assert.equal(found?.matchedLayers, layers, entry);
          assert.equal(found.matchedParamsPercent, (100 * weights) / (tables[name]?.total ?? NaN), entry);
          // Each alone decides what it takes, the tool's own entries aside: its names are those of the program.
          const taken = evaluated(backend, config({ ...quantization, [key]: [entry] }), checkpoint).decisions.filter((decision) => decision.entry?.text === entry && decision.entry.builtin === undefined).map(({ layer }) => layer.name);
          assert.equal(createHash('sha256').update(taken.sort().join('\n')).digest('hex'), names, entry);
        }
      });
    }
  }
});

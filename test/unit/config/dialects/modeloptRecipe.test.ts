import assert from 'node:assert/strict';
import { publishedCheckpoint } from '../../../fixtures/checkpoints';
import { describeTraps, evaluated } from './support';

const recipe = (...entries: string[]): string => ['metadata: {recipe_type: ptq, description: demo}', 'quantize:', '  algorithm: {method: svdquant, lowrank: 32, skip_layers: ["*norm*"]}', '  quant_cfg:',
  ...entries.map((entry) => `    - ${entry}`), ''].join('\n');
const off = '{quantizer_name: "*", enable: false}';
const weights = '{quantizer_name: "*weight_quantizer", cfg: {num_bits: e2m1, block_sizes: {-1: 16, type: dynamic, scale_bits: e4m3}}}';
const good = recipe(off, weights, '{quantizer_name: "*proj_out*", enable: false}');

describe('ModelOpt recipes', () => {
  const flux = publishedCheckpoint('FLUX.1-dev');
  describeTraps('recipe/', 'modelopt', [
    ['recipe/legacy-mapping', '{"quant_cfg": {"*weight_quantizer": {"num_bits": 8, "axis": 0}, "default": {"enable": false}}, "algorithm": "max"}', '"quant_cfg"', good],
    ['recipe/legacy-mapping', recipe('{"*weight_quantizer": {num_bits: 8}}'), '"*weight_quantizer"', good],
    ['recipe/entry', recipe('{quantizer_name: "*weight_quantizer"}'), '"*weight_quantizer"', good],
    ['recipe/empty-cfg', recipe('{quantizer_name: "*weight_quantizer", cfg: {}}'), '{}', recipe('{quantizer_name: "*weight_quantizer", cfg: {}, enable: false}')],
    ['recipe/replaces', recipe(weights, '{quantizer_name: "*ff*", cfg: {num_bits: 8}}'), '"*ff*"', recipe(weights, '{quantizer_name: "*ff*", cfg: {num_bits: 8, block_sizes: {-1: 32}}}')],
    ['recipe/parent-class', recipe('{quantizer_name: "*", parent_class: nn.Linaer, enable: false}'), 'nn.Linaer', recipe('{quantizer_name: "*", parent_class: nn.Linear, enable: false}')],
    ['recipe/num-bits', recipe('{quantizer_name: "*weight_quantizer", cfg: {num_bits: fp4}}'), 'fp4', good],
    ['recipe/axis-and-blocks', recipe('{quantizer_name: "*weight_quantizer", cfg: {axis: 0, block_sizes: {-1: 16}}}'), 'block_sizes', good],
    ['recipe/block-sizes', recipe('{quantizer_name: "*weight_quantizer", cfg: {block_sizes: {inputs: 16}}}'), 'inputs', good],
    ['recipe/import', recipe('{$import: units/base}', weights), '{$import: units/base}', good],
    ['recipe/block-width', recipe(off, weights.replace('16', '384')), '384', recipe(off, weights.replace('16', '384'), '{quantizer_name: "*_embedder*", enable: false}')],
    ['dialect/rank', good.replace('32', '80').replace('    - {quantizer_name: "*proj_out*", enable: false}\n', ''), '80', good.replace('32', '80').replace('proj_out', '_embedder').replace('["*norm*"]', '["proj_out"]')],
    ['dialect/matches-nothing', recipe(off, '{quantizer_name: "*blocks.38.*", enable: false}'), '"*blocks.38.*"', recipe(off, '{quantizer_name: "*lm_head*", enable: false}', '{quantizer_name: "*blocks.37.*", enable: false}')],
    ['dialect/shadowed', recipe('{quantizer_name: "*proj_out*", enable: false}', weights, '{quantizer_name: "*input_quantizer", enable: false}'), '"*proj_out*"', good],
    ['dialect/unknown-key', recipe('{quantizer_name: "*", enabled: false}'), 'enabled', good],
  ], flux, 'recipe.yaml');

  it('applies entries in order: later ones win, a switch alone keeps what was configured', () => {
    const { decisions, entries } = evaluated('modelopt', recipe(off, weights, '{quantizer_name: "*proj_out*", enable: false}', '{quantizer_name: "proj_out.weight_quantizer", enable: true}', '{quantizer_name: "x_embedder*", cfg: {num_bits: [4, 3]}}'), flux, 'r.yaml');
    const of = (name: string): unknown => decisions.filter(({ layer }) => layer.name === name).map(({ treatment, entry }) => [treatment.label, treatment.weightBits, treatment.activationBits, entry?.text])[0];
    assert.deepEqual(of('transformer_blocks.0.ff.net.2'), ['weights num_bits e2m1 per block 16, activations kept', 4, 16, '*weight_quantizer']);
    assert.deepEqual(of('single_transformer_blocks.0.proj_out'), ['kept', 16, 16, '*proj_out*']);
    assert.deepEqual(of('proj_out'), ['weights num_bits e2m1 per block 16, activations kept', 4, 16, 'proj_out.weight_quantizer']);
    assert.deepEqual(of('x_embedder'), ['weights num_bits [4, 3], activations num_bits [4, 3]', 8, 8, 'x_embedder*']);
    assert.deepEqual(entries.map(({ text, matchedLayers }) => [text, matchedLayers]), [['*', 504], ['*weight_quantizer', 504], ['*proj_out*', 39], ['proj_out.weight_quantizer', 1], ['x_embedder*', 1], ['*norm*', 77]]);
  });

  it('leaves quantizers that no entry names at int8', () => {
    const { decisions } = evaluated('modelopt', recipe('{quantizer_name: "*proj_out*", enable: false}'), flux, 'r.yaml');
    assert.deepEqual([decisions[0]?.treatment.weightBits, decisions[0]?.treatment.activationBits, decisions[0]?.entry], [8, 8, null]);
  });
});

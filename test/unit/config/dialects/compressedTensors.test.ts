import assert from 'node:assert/strict';
import { publishedCheckpoint } from '../../../fixtures/checkpoints';
import { config, describeTraps, evaluated } from './support';
import type { Trap } from './support';

const weights = { num_bits: 4, type: 'int', symmetric: true, strategy: 'group', group_size: 64 };
const inputs = { num_bits: 8, type: 'int', strategy: 'token', dynamic: true };
const group = (changes: Record<string, unknown> = {}, activations: Record<string, unknown> | null = inputs, targets: string[] = ['re:transformer_blocks\\.\\d+\\.ff\\.']): Record<string, unknown> =>
  ({ targets, weights: { ...weights, ...changes }, ...(activations ? { input_activations: activations } : {}) });
const text = (one: unknown = group(), ignore: string[] = ['proj_out'], format = 'pack-quantized'): string => config({ quant_method: 'compressed-tensors', format, config_groups: { group_0: one }, ignore });
/** With a rotation of the inputs of feed-forward layers, all 3072 or 12288 wide. */
const rotated = (changes: Record<string, unknown> = {}, apply: Record<string, unknown> = {}): string => config({ quant_method: 'compressed-tensors', format: 'pack-quantized', config_groups: { group_0: group() },
  transform_config: { config_groups: { r: { type: 'hadamard', apply: [{ targets: ['re:.*ff\\.net'], location: 'input', ...apply }], ...changes } } } });
const args = (changes: Record<string, unknown>, marked: string): Trap => ['ct/args', text(group(changes)), marked, text()];

describe('compressed-tensors', () => {
  const flux = publishedCheckpoint('FLUX.1-dev');
  describeTraps('ct/', null, [
    args({ group_size: -2 }, '-2'), args({ group_size: -1 }, '"group"'), args({ strategy: 'channel' }, '64'), args({ strategy: 'block', group_size: null }, '"num_bits"'), args({ block_structure: [128, 128] }, '[\n            128,\n            128\n          ]'),
    args({ strategy: 'channel', group_size: null, actorder: 'group' }, '"group"'), args({ strategy: 'channel', group_size: null, dynamic: true }, 'true'), args({ dynamic: 'local' }, '"local"'), args({ strategy: 'token', group_size: null }, '"token"'),
    ['ct/args', text(group({}, { ...inputs, actorder: 'weight' })), '"weight"', text()],
    ['ct/args', text(group({}, { num_bits: 8, strategy: 'channel' })), '"channel"', text(group({}, { num_bits: 8, strategy: 'tensor' }))],
    ['ct/preset', config({ quant_method: 'compressed-tensors', config_groups: { W4A17: ['Linear'] } }), '"W4A17"', config({ quant_method: 'compressed-tensors', config_groups: { w4a16: ['Linear'] } })],
    ['ct/group-sizes', text(group({}, { num_bits: 4, strategy: 'group', group_size: 32, dynamic: true })), '32', text(group({}, { num_bits: 4, strategy: 'group', group_size: 64, dynamic: true }))],
    ['ct/group-width', config({ quant_method: 'compressed-tensors', config_groups: { W4A16: ['Linear'] } }), '"W4A16"', config({ quant_method: 'compressed-tensors', config_groups: { W4A16: ['Linear'] }, ignore: ['x_embedder'] })],
    ['ct/block-width', config({ quant_method: 'compressed-tensors', config_groups: { FP8_BLOCK: ['Linear'] } }), '"FP8_BLOCK"', config({ quant_method: 'compressed-tensors', config_groups: { FP8_BLOCK: ['Linear'] }, ignore: ['x_embedder'] })],
    ['ct/block-width', text(group({ strategy: 'block', group_size: null, block_structure: [128, 1000] })), '[\n            128,\n            1000\n          ]', text(group({ strategy: 'block', group_size: null, block_structure: [100, 128] }))],
    ['ct/block-width', 'QuantizationModifier: {targets: [Linear], scheme: FP8_BLOCK, bypass_divisibility_checks: true}', 'FP8_BLOCK', 'QuantizationModifier: {targets: [Linear], ignore: [x_embedder], scheme: FP8_BLOCK}'],
    ['ct/mixed', text(group(), [], 'mixed-precision'), '"mixed-precision"', text()],
    ['ct/several-modifiers', 'a:\n  QuantizationModifier: {targets: [Linear], scheme: FP8}\n  GPTQModifier: {targets: [proj_out], scheme: W4A16}', 'QuantizationModifier', 'a:\n  QuantizationModifier: {targets: [Linear], ignore: [proj_out], scheme: FP8}\n  GPTQModifier: {targets: [proj_out], scheme: W4A16}'],
    ['ct/targets', 'QuantizationModifier: {scheme: FP8}', 'QuantizationModifier', 'QuantizationModifier: {targets: [Linear], scheme: FP8}'],
    ['ct/no-scheme', 'QuantizationModifier: {targets: [Linear]}', 'QuantizationModifier', 'QuantizationModifier: {targets: [Linear], scheme: FP8}'],
    ['ct/no-scheme', 'QuantizationModifier: {scheme: FP8, config_groups: {FP8: [Linear]}}', 'scheme', 'QuantizationModifier: {scheme: {FP8: [Linear]}}'],
    ['ct/awq', 'AWQModifier: {targets: [Linear], scheme: W4A16_ASYM}', 'AWQModifier', 'a:\n  AWQModifier: {duo_scaling: both}\n  QuantizationModifier: {targets: [Linear], scheme: W4A16_ASYM}'],
    ['ct/transform', rotated({ type: 'hadamar' }), '"hadamar"', rotated({ head_dim: 128 })],
    ['ct/transform', rotated({ head_dim: 128 }, { location: 'inputs' }), '"inputs"', rotated({ head_dim: 128 }, { location: 'weight_input' })],
    ['ct/transform-size', rotated(), '"input"', rotated({ type: 'random-hadamard' })],
    ['ct/transform-size', rotated({ head_dim: 128 }, { targets: ['re:.*'] }), '128', rotated({ head_dim: 64 }, { targets: ['re:.*'] })],
    ['ct/transform-size', rotated({ head_dim: 96 }), '96', rotated({ head_dim: 96, type: 'random-matrix' })],
    ['dialect/matches-nothing', rotated({ head_dim: 64 }, { targets: ['re:ff'] }), '"re:ff"', rotated({ head_dim: 64 }, { targets: ['re:ff'], location: 'q_attn' })],
    ['dialect/matches-nothing', text(group({}, inputs, ['re:ff\\.net'])), '"re:ff\\\\.net"', text(group({}, inputs, ['re:.*ff\\.net']))],
    ['dialect/matches-nothing', text(group(), ['norm_out']), '"norm_out"', text(group(), ['norm_out.linear', 'LayerNorm'])],
    ['dialect/unknown-key', text(group({ bits: 4 })), '"bits"', text()],
  ], flux);

  it('prefers names to expressions to classes, and ignores before all', () => {
    const both = config({ quant_method: 'compressed-tensors', config_groups: { W8A16: ['Linear'], W4A16: ['re:.*proj_out'], NVFP4: ['proj_out'] }, ignore: ['re:.*norm.*linear', 'single_transformer_blocks.0.proj_out'] });
    const { decisions, entries } = evaluated('compressed-tensors', both, flux);
    const of = (name: string): string | undefined => decisions.find(({ layer }) => layer.name === name)?.treatment.label;
    assert.deepEqual(['x_embedder', 'single_transformer_blocks.1.proj_out', 'proj_out', 'norm_out.linear', 'single_transformer_blocks.0.proj_out'].map(of), ['W8A16', 'W4A16', 'NVFP4', 'kept', 'kept']);
    assert.deepEqual(entries.map(({ text: entry, matchedLayers }) => [entry, matchedLayers]), [['Linear', 504], ['re:.*proj_out', 39], ['proj_out', 1], ['re:.*norm.*linear', 77], ['single_transformer_blocks.0.proj_out', 1]]);
  });

  it('takes the alphabetically first of several expressions, and the last scheme of one text', () => {
    const both = config({ quant_method: 'compressed-tensors', config_groups: { W8A16: ['re:proj_out', 're:x_emb'], W4A16: ['re:.*proj_out'], FP8: ['re:x_emb'] } });
    const { decisions } = evaluated('compressed-tensors', both, flux);
    assert.deepEqual(['proj_out', 'x_embedder'].map((name) => decisions.find(({ layer }) => layer.name === name)?.treatment.label), ['W4A16', 'FP8']);
  });

  it('gives each layer the scheme of the last modifier that takes it', () => {
    const { decisions, all } = evaluated('llm-compressor', 'a:\n  QuantizationModifier: {targets: [Linear], ignore: [x_embedder], scheme: FP8}\nb:\n  GPTQModifier:\n    scheme: {W4A16: ["re:.*ff\\\\.net"]}\n    ignore: ["re:.*\\\\.0\\\\.ff\\\\."]\n', flux, 'recipe.yaml');
    const of = (name: string): string | undefined => decisions.find(({ layer }) => layer.name === name)?.treatment.label;
    assert.deepEqual(['transformer_blocks.1.ff.net.2', 'transformer_blocks.0.ff.net.2', 'proj_out', 'x_embedder'].map(of), ['W4A16', 'FP8', 'FP8', 'kept']);
    assert.deepEqual(all.map(({ code, message }) => [code, message.slice(0, 60)]), [['ct/several-modifiers', 'GPTQModifier in line 4 takes 36 layers, 11.42 % of the weigh']]);
  });

  it('reads rotations without letting them decide bits', () => {
    const { entries, decisions } = evaluated('compressed-tensors', rotated({ head_dim: 128 }), flux);
    assert.deepEqual(entries.map(({ text: entry, matchedLayers, decidedLayers }) => [entry, matchedLayers, decidedLayers]), [['re:transformer_blocks\\.\\d+\\.ff\\.', 38, 38], ['re:.*ff\\.net', 38, 0]]);
    assert.equal(decisions.filter(({ treatment }) => treatment.weightBits === 4).length, 38);
  });

  it('reads recipes of llm-compressor', () => {
    const recipe = ['demo_stage:', '  demo_modifiers:', '    QuantizationModifier:', '      targets: [Linear]', '      ignore: ["proj_out", "re:.*norm.*linear"]', '      config_groups:', '        group_0:',
      '          targets: ["re:transformer_blocks\\\\.\\\\d+\\\\.ff\\\\."]', '          weights: {num_bits: 4, type: int, symmetric: true, strategy: group, group_size: 64}', '          input_activations: {num_bits: 8, type: int, strategy: token, dynamic: true}'].join('\n');
    const { decisions, all } = evaluated('llm-compressor', recipe, flux, 'recipe.yaml');
    assert.deepEqual(all, []);
    assert.deepEqual([...new Set(decisions.map(({ treatment }) => treatment.label))].map((label) => [label, decisions.filter(({ treatment }) => treatment.label === label).length]),
      [['kept', 466], ['int4 per group 64 weights, int8 per token activations', 38]]);
  });
});

import assert from 'node:assert/strict';
import { layersNamed, publishedCheckpoint } from '../../../fixtures/checkpoints';
import { describeTraps, evaluated } from './support';

const yaml = (bits: number, more = '', section = ''): string => `${more}quant:\n  weight:\n${section}    quantizer: {n_bits: ${bits}, per_group: channel}\n  activation:\n    quantizer: {n_bits: 8, per_group: token}\n`;

/** The newer form; flow mappings, which JSON is too. */
const regexes = (changes: Record<string, unknown>): string => Object.entries({ remain_fp_regex: 'final_layer', weight: { n_bits: [2, 4, 8] }, act: { n_bits: [8] }, ...changes }).map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`).join('');

describe('ViDiT-Q', () => {
  const layers = layersNamed('blocks.0.attn.q', 'blocks.0.mlp.fc1', 'final_layer.linear');
  describeTraps('viditq/', 'vidit-q', [
    ['viditq/bits', yaml(1), '1', yaml(4)],
    ['viditq/mixed-precision', yaml(4, 'mixed_precision: [6, 8]\n'), '4', yaml(4, 'mixed_precision: [4, 6, 8]\n')],
    ['viditq/file-name', yaml(6), '6', yaml(4)],
    ['viditq/empty-section', yaml(4, '', '    optimization:\n      # iters: 1\n'), 'optimization', yaml(4)],
    ['viditq/empty-regex', regexes({ quarot: { layer_name_regex: '' } }), '""', regexes({ quarot: { layer_name_regex: 'fc1' } })],
    ['viditq/mixed-index', regexes({ mixed_precision: { weight: { layer_name_regex: ['', 'attn', '', 'mlp', 'fc'] } } }), '"fc"', regexes({ mixed_precision: { weight: { layer_name_regex: ['', 'attn', '', 'mlp'] } } })],
    ['viditq/file-name', regexes({ weight: { n_bits: 6 } }), '6', regexes({ weight: { n_bits: 4 } })],
    ['dialect/matches-nothing', regexes({ viditq: { layer_name_regex: 'ffn' } }), '"ffn"', regexes({ viditq: { layer_name_regex: 'mlp' } })],
    ['dialect/type', regexes({ remain_fp_regex: ['final'] }), '["final"]', regexes({})],
    ['dialect/missing-key', regexes({ smooth_quant: { alpha: 0.5 } }), '{', regexes({ smooth_quant: { alpha: 0.5, layer_name_regex: 'mlp' } })],
    ['dialect/matches-nothing', '14-10:\n  model.blocks.0.attn.k: 4', 'model.blocks.0.attn.k', '14-10:\n  model.blocks.0.attn.q: 4'],
  ], layers, 'w4a8.yaml');

  it('gives layers their bits by exact names, and keeps what remain_fp_regex finds', () => {
    const mixed = evaluated('vidit-q', '14-10:\n  model.blocks.0.attn.q: 4\n  model.blocks.0.mlp.fc1: 8\n', layers, 'mp.yaml').decisions.map(({ layer, treatment }) => [layer.name, treatment.weightBits]);
    assert.deepEqual(mixed, [['blocks.0.attn.q', 4], ['blocks.0.mlp.fc1', 8], ['final_layer.linear', null]]);
    const { entries } = evaluated('vidit-q', 'remain_fp_regex: "embedder|proj_out$"\nweight: {n_bits: 4}\nact: {n_bits: 8}\n', publishedCheckpoint('PixArt-Sigma-1024'), 'config.yaml');
    assert.deepEqual(entries.map(({ matchedLayers }) => matchedLayers), [3]);
  });

  it('takes bits by level from expressions, the last that is found; what is kept comes before all', () => {
    const text = regexes({ mixed_precision: { weight: { layer_name_regex: ['', 'blocks', '', 'fc1'] }, act: { layer_name_regex: ['attn\\.q$', 'mlp'] } }, viditq: { layer_name_regex: 'fc' } });
    const { decisions, entries, all } = evaluated('vidit-q', text, layers, 'config.yaml');
    assert.deepEqual(decisions.map(({ layer, treatment, entry }) => [layer.name, treatment.weightBits, treatment.activationBits, entry?.text]), [['blocks.0.attn.q', 16, 16, 'attn\\.q$'], ['blocks.0.mlp.fc1', 8, 8, 'fc1'], ['final_layer.linear', 16, 16, 'final_layer']]);
    assert.deepEqual(entries.map(({ text: entry, matchedLayers, decidedLayers }) => [entry, matchedLayers, decidedLayers]), [['final_layer', 1, 1], ['blocks', 2, 0], ['fc1', 1, 1], ['attn\\.q$', 1, 1], ['mlp', 1, 1], ['fc', 1, 0]]);
    assert.deepEqual(all.map(({ code }) => code), ['dialect/shadowed']);
  });

  it('keeps the embedders that the scripts of 2024 keep', () => {
    const { decisions } = evaluated('vidit-q', yaml(4), layersNamed('x_embedder.proj', 'blocks.0.mlp.fc1'), 'w4a8.yaml');
    assert.deepEqual(decisions.map(({ layer, treatment }) => [layer.name, treatment.label]), [['blocks.0.mlp.fc1', 'int4 weights, int8 activations'], ['x_embedder.proj', 'kept']]);
  });
});

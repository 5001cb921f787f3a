import assert from 'node:assert/strict';
import { layersNamed, publishedCheckpoint } from '../../../fixtures/checkpoints';
import { describeTraps, evaluated } from './support';

const yaml = (bits: number, more = '', section = ''): string => `${more}quant:\n  weight:\n${section}    quantizer: {n_bits: ${bits}, per_group: channel}\n  activation:\n    quantizer: {n_bits: 8, per_group: token}\n`;

describe('ViDiT-Q', () => {
  const layers = layersNamed('blocks.0.attn.q', 'blocks.0.mlp.fc1', 'final_layer.linear');
  describeTraps('viditq/', 'vidit-q', [
    ['viditq/bits', yaml(1), '1', yaml(4)],
    ['viditq/mixed-precision', yaml(4, 'mixed_precision: [6, 8]\n'), '4', yaml(4, 'mixed_precision: [4, 6, 8]\n')],
    ['viditq/file-name', yaml(6), '6', yaml(4)],
    ['viditq/empty-section', yaml(4, '', '    optimization:\n      # iters: 1\n'), 'optimization', yaml(4)],
    ['dialect/matches-nothing', '14-10:\n  model.blocks.0.attn.k: 4', 'model.blocks.0.attn.k', '14-10:\n  model.blocks.0.attn.q: 4'],
  ], layers, 'w4a8.yaml');

  it('gives layers their bits by exact names, and keeps what remain_fp_regex finds', () => {
    const mixed = evaluated('vidit-q', '14-10:\n  model.blocks.0.attn.q: 4\n  model.blocks.0.mlp.fc1: 8\n', layers, 'mp.yaml').decisions.map(({ layer, treatment }) => [layer.name, treatment.weightBits]);
    assert.deepEqual(mixed, [['blocks.0.attn.q', 4], ['blocks.0.mlp.fc1', 8], ['final_layer.linear', null]]);
    const { entries } = evaluated('vidit-q', 'remain_fp_regex: "embedder|proj_out$"\nweight: {n_bits: 4}\nact: {n_bits: 8}\n', publishedCheckpoint('PixArt-Sigma-1024'), 'config.yaml');
    assert.deepEqual(entries.map(({ matchedLayers }) => matchedLayers), [3]);
  });
});

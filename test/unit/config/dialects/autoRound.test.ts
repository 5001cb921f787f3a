import assert from 'node:assert/strict';
import { layersNamed, publishedCheckpoint } from '../../../fixtures/checkpoints';
import { config, describeTraps, evaluated } from './support';

const text = (changes: Record<string, unknown>): string => config({ quant_method: 'auto-round', bits: 4, group_size: 64, ...changes });

describe('AutoRound in diffusers', () => {
  const flux = publishedCheckpoint('FLUX.1-dev');
  describeTraps('autoround/', 'diffusers-auto-round', [
    ['autoround/backend', text({ backend: 'triton' }), '"triton"', text({ backend: 'tritonv2' })],
    ['autoround/spelling', text({ quant_method: 'auto_round' }), '"auto_round"', text({})],
    ['autoround/exporter-list', text({ ignore_layers: ['proj_out'] }), '"ignore_layers"', text({})],
    ['autoround/group', text({ group_size: 100 }), '100', text({ group_size: 96 })],
    ['autoround/group', text({ group_size: 100 }), '100', text({ group_size: 4 }), layersNamed('blocks.0.a')],
    ['autoround/group', text({ extra_config: { 'transformer_blocks.0.ff.net.2': { bits: 8, group_size: 100 } } }), '"transformer_blocks.0.ff.net.2"', text({ extra_config: { 'transformer_blocks.0.ff.net.2': { bits: 16, group_size: 100 } } })],
    ['dialect/matches-nothing', text({ modules_to_not_convert: ['norm9'] }), '"norm9"', text({ modules_to_not_convert: ['norm1'] })],
    ['dialect/unanchored-index', text({ block_name_to_quantize: ['transformer_blocks.1'] }), '"transformer_blocks.1"', text({ block_name_to_quantize: ['transformer_blocks.1.'] })],
    ['dialect/pattern', text({ modules_to_not_convert: ['*norm*'] }), '"*norm*"', text({ modules_to_not_convert: ['.*norm.*'] })],
  ], flux);

  const of = (changes: Record<string, unknown>, ...names: string[]): (string | undefined)[] => {
    const { decisions } = evaluated('diffusers-auto-round', text(changes), flux);
    return names.map((name) => decisions.find(({ layer }) => layer.name === name)?.treatment.label);
  };
  const four = 'int4 weights per group 64';

  it('quantizes what is in repeated blocks, or in those that are named, by the beginning of the name', () => {
    assert.deepEqual(of({}, 'transformer_blocks.3.attn.to_q', 'proj_out'), [four, 'kept: outside of the repeated blocks']);
    assert.deepEqual(of({ block_name_to_quantize: 'transformer_blocks.1, single_transformer_blocks.2' }, 'transformer_blocks.11.attn.to_q', 'transformer_blocks.2.attn.to_q', 'single_transformer_blocks.2.proj_out'), [four, 'kept', four]);
  });

  it('gives layers their own settings by whole names, then by expressions in the blocks, then by expressions anywhere', () => {
    const changes = { extra_config: { proj_out: { bits: 8 }, 'ff\\.net': { bits: 2 }, 'transformer_blocks.0.ff.net.2': { bits: 16 }, 'x_emb.*': { bits: 3 } }, modules_to_not_convert: ['\\.5\\.'] };
    assert.deepEqual(of(changes, 'proj_out', 'single_transformer_blocks.0.proj_out', 'transformer_blocks.1.ff.net.2', 'transformer_blocks.0.ff.net.2', 'transformer_blocks.5.ff.net.2', 'x_embedder'),
      ['int8 weights per group 64', four, 'int2 weights per group 64', 'kept', 'kept', 'int3 weights per group 64']);
  });
});

import assert from 'node:assert/strict';
import { checkpointOf, publishedCheckpoint } from '../../../fixtures/checkpoints';
import { config, describeTraps, evaluated } from './support';

const text = (changes: Record<string, unknown>): string => config({ quant_method: 'sdnq', weights_dtype: 'uint4', add_skip_keys: false, ...changes });

describe('SDNQ', () => {
  const flux = publishedCheckpoint('FLUX.1-dev');
  describeTraps('sdnq/', 'diffusers-sdnq', [
    ['sdnq/dtype', text({ weights_dtype: 'int44' }), '"int44"', text({ weights_dtype: 'float4_e2m1fn' })],
    ['sdnq/dtype', text({ modules_dtype_dict: { sixbit: ['x_embedder'] } }), '"sixbit"', text({ modules_dtype_dict: { minimum_6bit: ['x_embedder'] } })],
    ['sdnq/codebook', text({ weights_dtype: 'int4', use_codebook: true }), 'true', text({ use_codebook: true })],
    ['sdnq/builtin-skips', text({ add_skip_keys: true }), '"quant_method"', text({})],
    ['sdnq/builtin-skips', config({ quant_method: 'sdnq' }), '"quant_method"', config({ quant_method: 'sdnq', sdnq_version: '0.2.5' })],
    ['sdnq/hadamard', text({ use_hadamard: true, hadamard_group_size: 2048 }), '"hadamard_group_size"', text({ use_hadamard: true, hadamard_group_size: 64 })],
    ['dialect/rank', text({ use_svd: true, svd_rank: 96 }), '96', text({ use_svd: true, svd_rank: 96, modules_to_not_convert: ['x_embedder', '.proj_out'] })],
    ['dialect/no-such-block', text({ modules_to_not_convert: ['*transformer_blocks.(18|38).*'] }), '"*transformer_blocks.(18|38).*"', text({ modules_to_not_convert: ['*transformer_blocks.(18|37).*'] })],
    ['dialect/pattern', text({ modules_to_not_convert: ['(norm*'] }), '"(norm*"', text({ modules_to_not_convert: ['norm*', '*norm*'] })],
    ['dialect/matches-nothing', text({ modules_to_not_convert: ['.ff'] }), '".ff"', text({ modules_to_not_convert: ['ff'] })],
    ['dialect/matches-nothing', text({ modules_to_not_convert: ['ff.net'] }), '"ff.net"', text({ modules_to_not_convert: ['*ff.net*'] })],
  ], flux);

  it('compares names as coded: start, segment, whole parameter or expression', () => {
    const big = (name: string): [string, { dtype: 'BF16'; shape: number[] }] => [`${name}.weight`, { dtype: 'BF16', shape: [512, 512] }];
    const layers = checkpointOf(Object.fromEntries(['proj_out', 'proj_out_2', 'blocks.0.proj_out', 'blocks.10.norm.linear', 'a.blocks.0.q'].map(big)));
    const taken = (entry: string): string => evaluated('diffusers-sdnq', text({ modules_to_not_convert: [entry] }), layers).decisions.filter(({ entry: by }) => by).map(({ layer }) => layer.name).join(' ');
    assert.deepEqual(['.proj_out', 'proj_out', 'proj_out.weight', 'blocks.0', '10', 'blocks.*.norm', 'blocks.1*', '*.0.*', 'weight'].map((entry) => [entry, taken(entry)]), [
      ['.proj_out', 'proj_out proj_out_2'], ['proj_out', 'blocks.0.proj_out proj_out'], ['proj_out.weight', 'proj_out'], ['blocks.0', ''], ['10', 'blocks.10.norm.linear'], ['blocks.*.norm', 'blocks.10.norm.linear'],
      ['blocks.1*', 'blocks.10.norm.linear'], ['*.0.*', 'a.blocks.0.q blocks.0.proj_out blocks.10.norm.linear'], ['weight', 'a.blocks.0.q blocks.0.proj_out blocks.10.norm.linear proj_out proj_out_2'],
    ]);
  });

  it('raises bits where a minimum asks for them, keeps small layers, takes settings by name', () => {
    const { decisions } = evaluated('diffusers-sdnq', text({ modules_dtype_dict: { 'minimum_6bit': ['norm_out', 'to_q'], 'uint2': ['to_k'], 'minimum_2bit': ['to_v'] }, modules_quant_config: { 'context_embedder': { weights_dtype: 'int8' } },
      minimum_allowed_numel: 500000 }), flux);
    const label = (name: string): string | undefined => decisions.find(({ layer }) => layer.name === name)?.treatment.label;
    assert.deepEqual(['norm_out.linear', 'transformer_blocks.3.attn.to_q', 'transformer_blocks.3.attn.to_k', 'transformer_blocks.3.attn.to_v', 'context_embedder', 'x_embedder', 'proj_out', 'single_transformer_blocks.0.proj_out'].map(label),
      ['int6', 'int6', 'uint2', 'uint4', 'int8', 'kept: smaller than minimum_allowed_numel or minimum_allowed_channel_size', 'kept: smaller than minimum_allowed_numel or minimum_allowed_channel_size', 'uint4']);
  });

  it('adds its own list for FLUX.1-dev: embedders, the final layer and the first single modulation', () => {
    const { decisions } = evaluated('diffusers-sdnq', config({ quant_method: 'sdnq' }), flux);
    assert.deepEqual(decisions.filter(({ entry }) => entry).map(({ layer, entry }) => `${layer.name} ${entry?.text}`), [
      'context_embedder context_embedder', 'norm_out.linear norm_out', 'proj_out .proj_out', 'single_transformer_blocks.0.norm.linear single_transformer_blocks.0.norm.linear.weight',
      ...['guidance_embedder', 'text_embedder', 'timestep_embedder'].flatMap((name) => [1, 2].map((i) => `time_text_embed.${name}.linear_${i} time_text_embed`)), 'x_embedder x_embedder',
    ]);
  });
});

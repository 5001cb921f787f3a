import assert from 'node:assert/strict';
import { publishedCheckpoint } from '../../../fixtures/checkpoints';
import { config, describeTraps, evaluated } from './support';

const one = (type: string): unknown => ({ _type: type, _version: 1, _data: {} });
const text = (map: Record<string, unknown>): string => JSON.stringify({ _type: 'FqnToConfig', _version: 1, _data: { fqn_to_config: map } }, null, 1);
const int8 = one('Int8WeightOnlyConfig');
const int4 = one('Int4WeightOnlyConfig');
const inDiffusers = (type: unknown): string => config({ quant_method: 'torchao', quant_type: { default: type } });

describe('FqnToConfig of torchao', () => {
  const flux = publishedCheckpoint('FLUX.1-dev');
  describeTraps('fqn/', 'torchao-fqn', [
    ['fqn/default', text({ proj_out: null, _default: int8 }), '"_default"', text({ proj_out: null, 're:.*': int8 })],
    ['dialect/matches-nothing', text({ 're:ff': int8 }), '"re:ff"', text({ 're:.*ff.*': int8 })],
    ['dialect/matches-nothing', text({ 'transformer_blocks.*.ff.net.2': int8 }), '"transformer_blocks.*.ff.net.2"', text({ 'transformer_blocks.0.ff.net.2': int8 })],
    ['dialect/pattern', text({ 're:*ff': int8 }), '"re:*ff"', text({ 're:.*ff.*': int8 })],
    ['torchao/unknown-type', text({ proj_out: one('Int9Config') }), '"Int9Config"', text({ proj_out: int8 })],
    ['dialect/shadowed', text({ 're:.*proj_out': int8, 'proj_out': null, 're:proj_out': int4 }), '"re:proj_out"', text({ 're:.*proj_out': int8, 'proj_out': null })],
  ], flux);

  it('is of no use inside diffusers, and says so', () => {
    const problems = (type: unknown): string[] => evaluated('diffusers-torchao', inDiffusers(type), flux).all.map(({ code }) => code);
    assert.deepEqual([problems({ _type: 'FqnToConfig', _data: { fqn_to_config: {} } }), problems(int8)], [['torchao/fqn'], []]);
  });

  it('takes exact names of parameters, of modules, expressions over either, then the default', () => {
    const { decisions } = evaluated('torchao-fqn', text({
      '_default': int8, 're:single_transformer_blocks\\..*proj_out': null, 're:.*proj_out\\.weight': int4, 'proj_out': one('Float8WeightOnlyConfig'), 'x_embedder.weight': null, 'x_embedder': int4,
    }), flux);
    const of = (name: string): unknown => decisions.filter(({ layer }) => layer.name === name).map(({ treatment, entry }) => [treatment.label, entry?.text])[0];
    // The expression over parameters comes before the one over modules, whatever their order in the file.
    assert.deepEqual(['single_transformer_blocks.0.proj_out', 'proj_out', 'x_embedder', 'context_embedder'].map(of), [
      ['int4 weights', 're:.*proj_out\\.weight'], ['float8 weights', 'proj_out'], ['kept', 'x_embedder.weight'], ['int8 weights', '_default'],
    ]);
  });
});

import assert from 'node:assert/strict';
import { layersNamed, publishedCheckpoint } from '../../../fixtures/checkpoints';
import { besideTrap, codes, config, describeTraps, evaluated, requiring } from './support';
import type { Trap } from './support';

const type = (name: string, data: Record<string, unknown> = {}): unknown => ({ default: { _type: name, _version: 1, _data: data } });
const text = (changes: Record<string, unknown>): string => config({ quant_method: 'torchao', quant_type: type('Int8WeightOnlyConfig'), ...changes });

describe('torchao in diffusers', () => {
  const flux = publishedCheckpoint('FLUX.1-dev');
  /** FLUX.1-dev with one layer as torchao 0.16 stores it. */
  const stored = { ...flux, tensors: [...flux.tensors, ...flux.tensors.slice(0, 1).map((tensor) => ({ ...tensor, name: 'proj_out._weight_qdata' }))] };
  const traps: Trap[] = [
    ['torchao/string-type', text({ quant_type: 'int8wo' }), '"int8wo"', text({})],
    ['torchao/default-key', text({ quant_type: { proj_out: { _type: 'Int8WeightOnlyConfig', _data: {} } } }), '"quant_type"', text({})],
    ['torchao/grammar', text({ quant_type: type('torchao.quantization.Int8WeightOnlyConfig') }), '"torchao.quantization.Int8WeightOnlyConfig"', text({})],
    ['torchao/unknown-type', text({ quant_type: type('Int8WeightOnlyConfg') }), '"Int8WeightOnlyConfg"', text({})],
    ['torchao/intx-dtype', text({ quant_type: type('IntxWeightOnlyConfig', { dtype: { _type: 'torch.dtype', _data: 'uint4' } }) }), '"dtype"', text({ quant_type: type('IntxWeightOnlyConfig', { weight_dtype: { _type: 'torch.dtype', _data: 'uint4' } }) })],
    ['torchao/group-width', text({ quant_type: type('Int4WeightOnlyConfig') }), '"Int4WeightOnlyConfig"', text({ quant_type: type('Int4WeightOnlyConfig', { group_size: 64 }) })],
    ['torchao/group-width', text({ quant_type: type('IntxWeightOnlyConfig', { granularity: { _type: 'PerGroup', _data: { group_size: 128 } } }) }), '128', text({ quant_type: type('IntxWeightOnlyConfig', { granularity: { _type: 'PerGroup', _data: { group_size: 128 } } }), modules_to_not_convert: ['x_embedder'] })],
    ['torchao/group-width', text({ quant_type: type('Float8DynamicActivationFloat8WeightConfig') }), '"Float8DynamicActivationFloat8WeightConfig"', text({ quant_type: type('Float8DynamicActivationFloat8WeightConfig') }), flux, layersNamed('a')],
    ['torchao/fqn', text({ quant_type: type('FqnToConfig', { fqn_to_config: {} }) }), '"FqnToConfig"', text({})],
    besideTrap('torchao/safetensors', text({}), '"quant_method"', stored, flux),
    besideTrap('torchao/safetensors', text({}), '"quant_method"', { component: stored, packages: requiring('torchao==0.15.0') }, { component: stored, packages: requiring('torchao>=0.17', 'diffusers==0.39.0') }),
    besideTrap('torchao/old', text({}), '"quant_method"', requiring('torchao==0.14.1', 'diffusers>=0.38'), requiring('torchao==0.14.1', 'diffusers==0.37.1')),
    besideTrap('torchao/old', text({}), '"quant_method"', requiring('torchao<0.15'), requiring('torchao<=0.15')),
    besideTrap('torchao/old', text({}), '"quant_method"', requiring('torchao~=0.14.0', 'diffusers'), requiring('torchao>=0.10')),
    besideTrap('torchao/moved', text({}), '"quant_method"', requiring('torchao==0.17.0', 'diffusers==0.40.0'), requiring('torchao==0.16.0', 'diffusers==0.40.0')),
    besideTrap('torchao/import', text({}), '"quant_method"', requiring('torchao==0.16.0', 'diffusers==0.36.0'), requiring('torchao==0.16.0', 'diffusers==0.37.0')),
    besideTrap('torchao/import', text({}), '"quant_method"', requiring('torchao>=0.16', 'diffusers~=0.35.1'), requiring('torchao>=0.15', 'diffusers~=0.35.1')),
    besideTrap('torchao/config-class', text({ quant_type: type('UIntXWeightOnlyConfig') }), '"UIntXWeightOnlyConfig"', requiring('torchao==0.17.0'), requiring('torchao==0.16.0')),
    besideTrap('torchao/config-class', text({ quant_type: type('UIntxWeightOnlyConfig') }), '"UIntxWeightOnlyConfig"', requiring('torchao==0.16.0'), requiring('torchao==0.17.0')),
    besideTrap('torchao/config-class', text({ quant_type: type('Int8StaticActivationInt8WeightConfig') }), '"Int8StaticActivationInt8WeightConfig"', requiring('torchao<0.16'), requiring('torchao<0.17')),
    ['torchao/config-version', text({ quant_type: { default: { _type: 'Int4WeightOnlyConfig', _version: 3, _data: {} } } }), '3', text({ quant_type: { default: { _type: 'Int4WeightOnlyConfig', _version: 2, _data: {} } } })],
    ['torchao/config-version', text({ quant_type: { default: { _type: 'FqnToConfig', _version: 2, _data: {} } } }), '2', text({ quant_type: type('FqnToConfig') })],
    besideTrap('torchao/config-version', text({ quant_type: type('Float8WeightOnlyConfig') }), '1', requiring('torchao==0.16.0'), requiring('torchao==0.15.0')),
    besideTrap('torchao/config-version', text({ quant_type: { default: { _type: 'Int8WeightOnlyConfig', _version: 2, _data: {} } } }), '2', requiring('torchao==0.14.1'), requiring('torchao==0.17.0')),
    besideTrap('torchao/config-version', text({ quant_type: { default: { _type: 'Int8WeightOnlyConfig', _data: {} } } }), '"Int8WeightOnlyConfig"', requiring('torchao==0.18.0'), requiring('torchao==0.17.0')),
    besideTrap('dialect/diffusers', text({}), '"quant_method"', requiring('diffusers==0.31.0'), requiring('diffusers==0.32.0')),
    besideTrap('torchao/not-quantized', text({ modules_to_not_convert: ['norm'] }), '"quant_method"', layersNamed('norm.linear', 'a'), layersNamed('norm.linear')),
    besideTrap('torchao/not-quantized', text({}), '"quant_method"', flux, stored),
    besideTrap('torchao/pickle', text({}), '"quant_method"', ['diffusion_pytorch_model.bin'], ['diffusion_pytorch_model.bin', 'diffusion_pytorch_model.safetensors']),
    besideTrap('torchao/pickle', text({}), '"quant_method"', ['diffusion_pytorch_model-00001-of-00002.bin', 'other/model.safetensors'], ['optimizer.bin', 'other/model.bin']),
    ['dialect/missing-key', config({ quant_method: 'torchao' }), '{', text({})],
    ['dialect/matches-nothing', text({ modules_to_not_convert: ['*norm*'] }), '"*norm*"', text({ modules_to_not_convert: ['norm'] })],
    ['dialect/takes-more', text({ modules_to_not_convert: ['proj_out'] }), '"proj_out"', text({ modules_to_not_convert: ['single_transformer_blocks'] })],
  ];
  describeTraps('torchao/', 'diffusers-torchao', traps, flux);

  it('compares with the name of the parameter', () => {
    const layers = layersNamed('a.to_q', 'b.to_q.inner', 'xa.b');
    const taken = (entry: string): string => evaluated('diffusers-torchao', text({ modules_to_not_convert: entry }), layers).decisions.filter(({ entry: by }) => by).map(({ layer }) => layer.name).join(' ');
    assert.deepEqual(['to_q', 'q', 'a.to_q.weight', 'weight', 'a', 'b'].map((entry) => [entry, taken(entry)]),
      [['to_q', 'a.to_q b.to_q.inner'], ['q', 'a.to_q b.to_q.inner'], ['a.to_q.weight', 'a.to_q'], ['weight', ''], ['a', 'a.to_q xa.b'], ['b', 'b.to_q.inner xa.b']]);
  });

  it('says where the versions stand, and how sure it is', () => {
    const said = (...lines: string[]): unknown => evaluated('diffusers-torchao', text({}), flux, undefined, { files: [], component: stored, packages: requiring(...lines) }).all.map(({ severity, code, message }) => [severity, code, message.replace(/.*(?:: here|; here stands) /, '')]);
    assert.deepEqual(said('numpy', 'torchao[dev]==0.14.1 ; python_version < "3.13"', 'diffusers>=0.39'), [
      ['error', 'torchao/old', 'torchao==0.14.1 (requirements.txt, line 2) stands beside diffusers>=0.39 (requirements.txt, line 3). Take torchao 0.15 or later; weights that it saves as safetensors need 0.16.'],
      ['error', 'torchao/safetensors', 'torchao==0.14.1 (requirements.txt, line 2).']]);
    assert.match(String(said('torchao==0.14.1')), /^warning,torchao\/old,/);
    assert.deepEqual(said('torchao==0.16.0', 'diffusers>=0.30,<0.39'), [['error', 'torchao/safetensors', 'diffusers>=0.30,<0.39 (requirements.txt, line 2).']]);
    assert.deepEqual(said('torchao>=0.16', 'diffusers'), [['info', 'torchao/safetensors', 'The weights beside this file are torchao tensors in safetensors: loading them needs torchao 0.16 or later and diffusers 0.39 or later.']]);
  });

  it('reads bits from the config object', () => {
    const bits = (name: string, data?: Record<string, unknown>): unknown => {
      const { decisions, all } = evaluated('diffusers-torchao', text({ quant_type: type(name, data) }), flux);
      assert.deepEqual(codes('', all.filter(({ code }) => code !== 'torchao/group-width')), []);
      return [decisions[0]?.treatment.label, decisions[0]?.treatment.weightBits, decisions[0]?.treatment.activationBits];
    };
    assert.deepEqual(bits('Int4WeightOnlyConfig', { group_size: 128 }), ['int4 weights per group 128', 4, 16]);
    assert.deepEqual(bits('IntxWeightOnlyConfig', { weight_dtype: { _type: 'torch.dtype', _data: 'int3' } }), ['intx weights (int3)', 3, 16]);
    assert.deepEqual(bits('Int8DynamicActivationInt8WeightConfig'), ['int8 weights, dynamic int8 activations', 8, 8]);
  });
});

import assert from 'node:assert/strict';
import { checkpointOf, layersNamed, publishedCheckpoint } from '../../../fixtures/checkpoints';
import type { TensorSpec } from '../../../fixtures/safetensors';
import type { Checkpoint } from '../../../../server/src/protocol';
import { besideTrap, codes, config, describeTraps, evaluated, requiring } from './support';
import type { Trap } from './support';

const good = { quant_method: 'bitsandbytes', load_in_4bit: true, bnb_4bit_quant_type: 'nf4', bnb_4bit_compute_dtype: 'bfloat16' };
const text = (changes: Record<string, unknown>): string => config({ ...good, ...changes });
const eight = { quant_method: 'bitsandbytes', load_in_8bit: true };
const nested = ['absmax', 'quant_map', 'nested_absmax', 'nested_quant_map', 'quant_state.bitsandbytes__nf4'];
/** Two layers of 64 weights as bitsandbytes saves them, the second with these parts of its state; a norm and a layer that is kept. */
const saved = (parts: readonly string[], dtype: TensorSpec['dtype'] = 'U8'): Checkpoint => checkpointOf(Object.fromEntries([
  ...['a', 'b'].map((name): [string, TensorSpec] => [`${name}.weight`, { dtype, shape: [32, 1] }]), ['norm.weight', { dtype: 'BF16', shape: [8] }], ['norm_out.weight', { dtype: 'BF16', shape: [8, 4] }],
  ...[...nested.map((part) => `a.weight.${part}`), ...parts.map((part) => `b.weight.${part}`)].map((name): [string, TensorSpec] => [name, { dtype: 'U8', shape: [4] }]),
]));
const saved8 = (...scales: string[]): Checkpoint => checkpointOf(Object.fromEntries([['a.weight', { dtype: 'I8', shape: [8, 8] }], ...scales.map((name): [string, TensorSpec] => [name, { dtype: 'F32', shape: [8] }])]));
const without = (key: string): string => config(Object.fromEntries(Object.entries(good).filter(([each]) => each !== key)));

describe('bitsandbytes in diffusers', () => {
  const flux = publishedCheckpoint('FLUX.1-dev');
  const traps: Trap[] = [
    besideTrap('bitsandbytes/old', text({}), '"load_in_4bit"', requiring('bitsandbytes==0.42.0'), requiring('bitsandbytes>=0.42')),
    besideTrap('bitsandbytes/old', text({}), '"load_in_4bit"', requiring('bitsandbytes<0.43.3'), requiring('bitsandbytes==0.43.3')),
    ['bitsandbytes/both-widths', text({ load_in_8bit: true }), 'true', text({ load_in_8bit: false })],
    ['bitsandbytes/no-width', text({ load_in_4bit: false }), '"quant_method"', text({})],
    ['bitsandbytes/threshold', text({ llm_int8_threshold: 6 }), '6', text({}).replace('"load_in_4bit": true', '"load_in_4bit": true, "llm_int8_threshold": 6.0')],
    ['bitsandbytes/quant-type', text({ bnb_4bit_quant_type: 'nf5' }), '"nf5"', text({})],
    ['bitsandbytes/default-fp4', without('bnb_4bit_quant_type'), '"load_in_4bit"', text({})],
    ['bitsandbytes/compute-dtype', without('bnb_4bit_compute_dtype'), '"load_in_4bit"', text({})],
    ['bitsandbytes/compute-dtype-key', text({ compute_dtype: 'bfloat16' }), '"compute_dtype"', text({})],
    besideTrap('bitsandbytes/quant-state', text({}), '"load_in_4bit"', saved(nested.slice(0, 4)), saved(nested)),
    besideTrap('bitsandbytes/quant-state', text({}), '"load_in_4bit"', saved([...nested.slice(0, 3), ...nested.slice(4)]), saved(['quant_map', 'absmax', 'quant_state.bitsandbytes__fp4'])),
    besideTrap('bitsandbytes/quant-state', text({ bnb_4bit_quant_storage: 'bfloat16' }), '"load_in_4bit"', saved(['absmax'], 'BF16'), saved(nested, 'BF16')),
    besideTrap('bitsandbytes/quant-state', config(eight), '"load_in_8bit"', saved8('b.SCB'), saved8('a.SCB')),
    besideTrap('bitsandbytes/not-quantized', text({ llm_int8_skip_modules: ['norm_out'] }), '"load_in_4bit"', layersNamed('norm_out', 'a'), layersNamed('norm_out')),
    besideTrap('bitsandbytes/not-quantized', config(eight), '"load_in_8bit"', layersNamed('a'), saved8('a.SCB')),
    ['bitsandbytes/int8-skip', config({ ...eight, llm_int8_skip_modules: ['proj_out'] }), '"llm_int8_skip_modules"', config(eight)],
    ['dialect/type', text({ llm_int8_skip_modules: 'proj_out' }), '"proj_out"', text({ llm_int8_skip_modules: ['proj_out'] })],
    ['dialect/value', text({ bnb_4bit_quant_storage: 'int4' }), '"int4"', text({ bnb_4bit_quant_storage: 'uint8' })],
    ['dialect/unknown-key', text({ bnb_4bit_quant_typ: 'nf4' }), '"bnb_4bit_quant_typ"', text({ _load_in_4bit: true })],
    ['dialect/matches-nothing', text({ llm_int8_skip_modules: ['ff.net.2'] }), '"ff.net.2"', text({ llm_int8_skip_modules: ['ff.net'] })],
    ['dialect/takes-more', text({ llm_int8_skip_modules: ['proj_out'] }), '"proj_out"', text({ llm_int8_skip_modules: ['norm_out'] })],
    ['dialect/unanchored-index', text({ llm_int8_skip_modules: ['transformer_blocks.1'] }), '"transformer_blocks.1"', text({ llm_int8_skip_modules: ['single_transformer_blocks.1'] })],
    ['dialect/repeated', text({ llm_int8_skip_modules: ['norm_out', 'norm_out'] }), '"norm_out"', text({ llm_int8_skip_modules: ['norm_out', 'x_embedder'] })],
    ['dialect/duplicate-key', '{"quantization_config": {"load_in_4bit": true, "load_in_4bit": true}}', '"', '{"quantization_config": {"load_in_4bit": true}}'],
    ['dialect/json', '{"quantization_config": {"load_in_4bit": true,}}', '}', '{"quantization_config": {"load_in_4bit": true}}'],
  ];
  describeTraps('bitsandbytes/', 'diffusers-bitsandbytes', traps, flux);

  it('is recognised by its flags without quant_method', () => {
    assert.equal(evaluated('diffusers-bitsandbytes', config({ load_in_8bit: true }), flux).decisions[0]?.treatment.activationBits, 8);
  });

  it('finds nothing wrong with a good config', () => assert.deepEqual(codes(text({ llm_int8_skip_modules: ['norm_out'] }), evaluated('diffusers-bitsandbytes', text({ llm_int8_skip_modules: ['norm_out'] }), flux).all), []));

  it('leaves versions of diffusers out of a text encoder, which transformers loads', () => {
    const of = (written: string): unknown => codes(written, evaluated('diffusers-bitsandbytes', written, flux, undefined, { files: [], packages: requiring('bitsandbytes==0.42.0', 'diffusers==0.30.0') }).all);
    assert.deepEqual(of(text({})), ['error dialect/diffusers ["quant_method"]', 'error bitsandbytes/old ["load_in_4bit"]']);
    assert.deepEqual(of(text({}).replace('"_class_name": "FluxTransformer2DModel"', '"architectures": ["T5EncoderModel"]')), []);
  });

  it('names what a packed weight lacks', () => {
    const { all } = evaluated('diffusers-bitsandbytes', text({}), flux, undefined, { files: [], component: saved(['absmax', 'nested_absmax']), packages: new Map() });
    assert.match(all.map(({ message }) => message).join(), /^1 of 2 packed weights beside this file lack what they are unpacked with, such as "b\.weight\.quant_state\.bitsandbytes__nf4", "b\.weight\.quant_map", "b\.weight\.nested_quant_map": diffusers stops/);
  });

  it('compares names as coded: leaf, dotted run anywhere, or the whole path', () => {
    const layers = layersNamed('a.to_q', 'b.to_q.inner', 'xa.b', 'a.b.c', 'to_q');
    const taken = (entry: string): string[] => evaluated('diffusers-bitsandbytes', text({ llm_int8_skip_modules: [entry] }), layers).decisions.filter(({ entry: by }) => by).map(({ layer }) => layer.name);
    assert.deepEqual(['to_q', 'a.b', 'a', 'b', 'o_q', 'xa.b', ''].map((entry) => [entry, taken(entry).join(' ')]),
      [['to_q', 'a.to_q b.to_q.inner to_q'], ['a.b', 'a.b.c'], ['a', 'a.b.c a.to_q xa.b'], ['b', 'a.b.c b.to_q.inner xa.b'], ['o_q', 'b.to_q.inner'], ['xa.b', 'xa.b'], ['', 'a.b.c a.to_q b.to_q.inner xa.b']]);
  });

  it('keeps what Wan keeps in float32', () => {
    const { decisions, entries } = evaluated('diffusers-bitsandbytes', text({}), publishedCheckpoint('Wan2.1-1.3B'));
    assert.deepEqual(decisions.filter(({ entry }) => entry).map(({ layer, entry }) => [layer.name, entry?.text, entry?.builtin]), [
      ['condition_embedder.time_embedder.linear_1', 'time_embedder', '_keep_in_fp32_modules of WanTransformer3DModel'],
      ['condition_embedder.time_embedder.linear_2', 'time_embedder', '_keep_in_fp32_modules of WanTransformer3DModel'],
    ]);
    assert.equal(entries.length, 6);
  });
});

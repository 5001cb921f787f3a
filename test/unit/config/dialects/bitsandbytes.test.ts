import assert from 'node:assert/strict';
import { layersNamed, publishedCheckpoint } from '../../../fixtures/checkpoints';
import { codes, config, describeTraps, evaluated } from './support';
import type { Trap } from './support';

const good = { quant_method: 'bitsandbytes', load_in_4bit: true, bnb_4bit_quant_type: 'nf4', bnb_4bit_compute_dtype: 'bfloat16' };
const text = (changes: Record<string, unknown>): string => config({ ...good, ...changes });
const eight = { quant_method: 'bitsandbytes', load_in_8bit: true };
const without = (key: string): string => config(Object.fromEntries(Object.entries(good).filter(([each]) => each !== key)));

describe('bitsandbytes in diffusers', () => {
  const flux = publishedCheckpoint('FLUX.1-dev');
  const traps: Trap[] = [
    ['bitsandbytes/both-widths', text({ load_in_8bit: true }), 'true', text({ load_in_8bit: false })],
    ['bitsandbytes/no-width', text({ load_in_4bit: false }), '"quant_method"', text({})],
    ['bitsandbytes/threshold', text({ llm_int8_threshold: 6 }), '6', text({}).replace('"load_in_4bit": true', '"load_in_4bit": true, "llm_int8_threshold": 6.0')],
    ['bitsandbytes/quant-type', text({ bnb_4bit_quant_type: 'nf5' }), '"nf5"', text({})],
    ['bitsandbytes/default-fp4', without('bnb_4bit_quant_type'), '"load_in_4bit"', text({})],
    ['bitsandbytes/compute-dtype', without('bnb_4bit_compute_dtype'), '"load_in_4bit"', text({})],
    ['bitsandbytes/compute-dtype-key', text({ compute_dtype: 'bfloat16' }), '"compute_dtype"', text({})],
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

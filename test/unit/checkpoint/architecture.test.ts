import assert from 'node:assert/strict';
import type { Described } from '../../../server/src/checkpoint/architecture';
import { describe as describeTensors, naturalKey } from '../../../server/src/checkpoint/architecture';
import type { Dtype, Role, TensorInfo } from '../../../server/src/protocol';
import { publishedModel, publishedModels, tensorsOf } from '../../fixtures/architectures';
import type { TensorSpec } from '../../fixtures/safetensors';
import { byteLength } from '../../fixtures/safetensors';

function described(tensors: Record<string, TensorSpec>, config: Record<string, unknown> | null = null): Described {
  const infos: TensorInfo[] = Object.entries(tensors).map(([name, spec]) => ({ name, dtype: spec.dtype, shape: spec.shape, file: '/m', offset: 0, bytes: byteLength(spec) }));
  return describeTensors('/m.safetensors', infos, config);
}

/** Weights of the given modules, all [8, 4]. */
function weights(...modules: string[]): Record<string, TensorSpec> {
  return Object.fromEntries(modules.map(module => [`${module}.weight`, { dtype: 'BF16' as Dtype, shape: [8, 4] }]));
}

function roles({ layers }: Described): Partial<Record<Role, number>> {
  const counts: Partial<Record<Role, number>> = {};
  for (const { role } of layers) {
    counts[role] = (counts[role] ?? 0) + 1;
  }
  return counts;
}

const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);
const numbered = (count: number, name: (i: number) => string): string[] => Array.from({ length: count }, (_, i) => name(i));
const codes = (result: Described): string[] => result.problems.map(problem => `${problem.severity} ${problem.code}`);

describe('published models', () => {
  for (const model of publishedModels) {
    it(`${model.name}: ${model.linearCount} linear layers`, () => {
      const tensors = tensorsOf(model);
      assert.equal(Object.keys(tensors).length, model.tensors);
      assert.equal(sum(Object.values(tensors).map(byteLength)) / 2, model.params);
      const { layers, architecture } = described(tensors, { _class_name: model.className });
      assert.equal(architecture, model.className);
      const linears = new Set(layers.map(layer => layer.name));
      const expected = model.linears.flatMap(([module, count]) => numbered(count, i => module.replace('{i}', String(i))));
      assert.deepEqual(expected.filter(name => !linears.has(name)), []);
      // Z-Image's two padding tokens are named without .weight; nothing else two-dimensional is left over.
      assert.equal(layers.length, model.linearCount);
      assert.equal(sum(layers.map(layer => layer.params)), model.linearParams);
    });
  }

  it('DiT-XL/2: roles by names alone', () => {
    const result = described(tensorsOf(publishedModel('DiT-XL/2-256')));
    assert.equal(result.architecture, 'DiTTransformer2DModel');
    assert.deepEqual(result.problems, []);
    assert.deepEqual(roles(result), { 'q': 28, 'k': 28, 'v': 28, 'attention-out': 28, 'ffn-up': 28, 'ffn-down': 28, 'modulation': 28, 'embedder': 56, 'final': 2 });
    assert.equal(new Set(result.layers.map(layer => layer.block)).size, 29);
    assert.deepEqual(result.layers.find(layer => layer.name === 'proj_out_2'), {
      name: 'proj_out_2', role: 'final', block: null, inFeatures: 1152, outFeatures: 32, params: 36864,
      tensor: { name: 'proj_out_2.weight', dtype: 'BF16', shape: [32, 1152], file: '/m', offset: 0, bytes: 73728 },
    });
  });

  it('FLUX.1-dev: roles by names alone', () => {
    const result = described(tensorsOf(publishedModel('FLUX.1-dev')));
    assert.equal(result.architecture, 'FluxTransformer2DModel');
    assert.deepEqual(result.problems, []);
    assert.equal(sum(result.layers.map(layer => layer.params)), 11_898_322_944);
    assert.deepEqual(roles(result), {
      'q': 57, 'k': 57, 'v': 57, 'attention-out': 19, 'context-q': 19, 'context-k': 19, 'context-v': 19, 'context-attention-out': 19,
      'ffn-up': 57, 'ffn-down': 19, 'context-ffn-up': 19, 'context-ffn-down': 19, 'single-out': 38, 'modulation': 76, 'embedder': 8, 'final': 2,
    });
    assert.equal(new Set(result.layers.map(layer => layer.block)).size, 19 + 38 + 1);
    const blockOf = (name: string): unknown => result.layers.find(layer => layer.name === name)?.block;
    assert.equal(blockOf('single_transformer_blocks.37.proj_out'), 'single_transformer_blocks.37');
    assert.equal(blockOf('proj_out'), null);
  });

  it('Wan2.1-1.3B and Z-Image: cross-attention, gates and the text stream', () => {
    assert.deepEqual(roles(described(tensorsOf(publishedModel('Wan2.1-1.3B')))), {
      'q': 30, 'k': 30, 'v': 30, 'attention-out': 30, 'cross-q': 30, 'cross-k': 30, 'cross-v': 30, 'cross-attention-out': 30, 'ffn-up': 30, 'ffn-down': 30,
      'modulation': 1, 'embedder': 4, 'final': 1,
    });
    assert.deepEqual(roles(described(tensorsOf(publishedModel('Z-Image')))), {
      'q': 32, 'k': 32, 'v': 32, 'attention-out': 32, 'ffn-gate': 32, 'ffn-up': 32, 'ffn-down': 32,
      'context-q': 2, 'context-k': 2, 'context-v': 2, 'context-attention-out': 2, 'context-ffn-gate': 2, 'context-ffn-up': 2, 'context-ffn-down': 2,
      'modulation': 32, 'embedder': 4, 'final': 2,
    });
  });

  for (const model of publishedModels) {
    it(`${model.name}: known by its names, and every layer has a role`, () => {
      const result = described(tensorsOf(model));
      assert.equal(result.architecture, model.className);
      assert.deepEqual(result.problems, []);
      assert.deepEqual(result.layers.filter(layer => layer.role === 'other').map(layer => layer.name), []);
    });
  }
});

describe('original names', () => {
  const dit = weights(
    't_embedder.mlp.0', 't_embedder.mlp.2', 'y_embedder.embedding_table', 'final_layer.linear', 'final_layer.adaLN_modulation.1',
    ...numbered(28, i => `blocks.${i}`).flatMap(block => ['attn.qkv', 'attn.proj', 'mlp.fc1', 'mlp.fc2', 'adaLN_modulation.1'].map(name => `${block}.${name}`)),
  );
  const flux = {
    ...weights(
      'img_in', 'txt_in', ...['time_in', 'vector_in', 'guidance_in'].flatMap(name => [`${name}.in_layer`, `${name}.out_layer`]), 'final_layer.linear', 'final_layer.adaLN_modulation.1',
      ...numbered(19, i => `double_blocks.${i}`).flatMap(block => ['img', 'txt'].flatMap(side => ['attn.qkv', 'attn.proj', 'mlp.0', 'mlp.2', 'mod.lin'].map(name => `${block}.${side}_${name}`))),
      ...numbered(38, i => `single_blocks.${i}`).flatMap(block => ['linear1', 'linear2', 'modulation.lin'].map(name => `${block}.${name}`)),
    ),
    'double_blocks.0.img_attn.norm.key_norm.scale': { dtype: 'BF16' as Dtype, shape: [128] },
  };
  const fluxRoles = {
    'qkv': 19, 'attention-out': 19, 'context-qkv': 19, 'context-attention-out': 19, 'ffn-up': 19, 'ffn-down': 19, 'context-ffn-up': 19, 'context-ffn-down': 19,
    'single-in': 38, 'single-out': 38, 'modulation': 76, 'embedder': 8, 'final': 2,
  };

  it('DiT', () => {
    const result = described(dit);
    assert.equal(result.architecture, 'DiTTransformer2DModel');
    assert.deepEqual(result.problems, []);
    assert.deepEqual(roles(result), { 'qkv': 28, 'attention-out': 28, 'ffn-up': 28, 'ffn-down': 28, 'modulation': 28, 'embedder': 2, 'final': 2 });
    assert.equal(result.layers.find(layer => layer.name === 'blocks.10.mlp.fc1')?.block, 'blocks.10');
  });

  it('FLUX', () => {
    const result = described(flux);
    assert.equal(result.architecture, 'FluxTransformer2DModel');
    assert.deepEqual(result.problems, []);
    assert.deepEqual(roles(result), fluxRoles);
  });

  it('FLUX inside an all-in-one file: the other models are not listed as layers', () => {
    const prefixed = Object.fromEntries(Object.entries(flux).map(([name, spec]) => [`model.diffusion_model.${name}`, spec]));
    const result = described({ ...prefixed, ...weights('text_encoders.t5xxl.encoder.block.0.q') });
    assert.deepEqual(roles(result), fluxRoles);
    assert.equal(result.layers.find(layer => layer.role === 'single-in')?.block, 'model.diffusion_model.single_blocks.0');
    assert.deepEqual(codes(result), ['info checkpoint/other-models']);
    assert.match(result.problems[0]?.message ?? '', /1 linear weight \("text_encoders/);
  });
});

describe('config.json and names', () => {
  const dit = tensorsOf(publishedModel('DiT-XL/2-256'));

  it('agree', () => {
    assert.deepEqual(codes(described(dit, { _class_name: 'DiTTransformer2DModel' })), []);
    assert.deepEqual(codes(described(dit, { _class_name: 'Transformer2DModel', norm_type: 'ada_norm_zero' })), []);
    assert.equal(described(dit, { _class_name: 'Transformer2DModel', norm_type: 'ada_norm_zero' }).architecture, 'DiTTransformer2DModel');
  });

  it('disagree: config.json counts, with a warning', () => {
    const result = described(dit, { _class_name: 'FluxTransformer2DModel' });
    assert.equal(result.architecture, 'FluxTransformer2DModel');
    assert.deepEqual(codes(result), ['warning checkpoint/architecture-mismatch', 'info checkpoint/unknown-architecture']);
    assert.match(result.problems[0]?.message ?? '', /"FluxTransformer2DModel", but the tensor names are those of DiTTransformer2DModel/);
    assert.deepEqual(roles(result), { other: 254 });
    assert.deepEqual(codes(described(weights('a.b'), { _class_name: 'DiTTransformer2DModel' })), ['warning checkpoint/architecture-mismatch', 'info checkpoint/unknown-architecture']);
    assert.deepEqual(codes(described(dit, { _class_name: 'SomethingElse' }))[0], 'warning checkpoint/architecture-mismatch');
  });

  it('config.json names a class without a table: its name is kept, roles are not guessed', () => {
    const result = described(weights('blocks.0.q', 'blocks.1.q'), { _class_name: 'SanaTransformer2DModel' });
    assert.equal(result.architecture, 'SanaTransformer2DModel');
    assert.deepEqual(codes(result), ['info checkpoint/unknown-architecture']);
    assert.deepEqual(roles(result), { other: 2 });
  });

  it('does not take a class name that is no text', () => {
    assert.equal(described(weights('a.b'), { _class_name: 7 }).architecture, 'unknown');
  });
});

describe('unknown architecture', () => {
  const blocksOf = (...modules: string[]): (string | null)[] => described(weights(...modules)).layers.map(layer => layer.block);

  it('finds repeated blocks, and not the numbers of a sequence', () => {
    assert.deepEqual(blocksOf('layers.0.attn.q', 'layers.0.mlp.0', 'layers.0.mlp.2', 'layers.1.ff.net.0.proj', 'layers.1.ff.net.2', 'proj.0'),
      ['layers.0', 'layers.0', 'layers.0', 'layers.1', 'layers.1', null]);
  });

  it('takes the innermost of nested blocks', () => {
    assert.deepEqual(blocksOf('down.0.t.0.q', 'down.0.t.1.q', 'down.1.t.0.q'), ['down.0.t.0', 'down.0.t.1', 'down.1.t.0']);
  });

  it('does not stumble over Z-Image\'s hyphens', () => {
    const { layers } = described(tensorsOf(publishedModel('Z-Image')));
    const blockOf = (name: string): unknown => layers.find(layer => layer.name === name)?.block;
    assert.equal(blockOf('all_final_layer.2-1.adaLN_modulation.1'), null);
    assert.equal(blockOf('noise_refiner.1.adaLN_modulation.0'), 'noise_refiner.1');
    assert.equal(new Set(layers.map(layer => layer.block)).size, 30 + 2 + 2 + 1);
  });
});

describe('linear layers', () => {
  it('are two-dimensional floating-point weights that are not tables', () => {
    const spec = (dtype: Dtype, shape: number[]): TensorSpec => ({ dtype, shape });
    const result = described({
      'f64.weight': spec('F64', [2, 2]), 'f32.weight': spec('F32', [2, 2]), 'f16.weight': spec('F16', [2, 2]), 'e4m3.weight': spec('F8_E4M3', [2, 2]), 'e5m2fnuz.weight': spec('F8_E5M2FNUZ', [2, 2]),
      'scales.weight': spec('F8_E8M0', [2, 2]), 'complex.weight': spec('C64', [2, 2]), 'bool.weight': spec('BOOL', [2, 2]),
      'norm.weight': spec('F32', [2]), 'conv.weight': spec('F32', [2, 2, 1, 1]), 'scalar.weight': spec('F32', []), 'none.weight': spec('F32', [0, 4]),
      'table': spec('F32', [2, 2]), '.weight': spec('F32', [2, 2]), 'weight': spec('F32', [2, 2]), 'a.bias': spec('F32', [2, 2]),
      'embedding_table.weight': spec('F32', [2, 2]), 'transformer.wte.weight': spec('F32', [2, 2]), 'shared.embed_tokens.weight': spec('F32', [2, 2]),
    });
    assert.deepEqual(result.layers.map(layer => layer.name), ['e4m3', 'e5m2fnuz', 'f16', 'f32', 'f64']);
  });

  it('come in natural order', () => {
    const { layers } = described(weights('blocks.10.a', 'blocks.2.b', 'blocks.2.a', 'blocks.9.a', 'a'));
    assert.deepEqual(layers.map(layer => layer.name), ['a', 'blocks.2.a', 'blocks.2.b', 'blocks.9.a', 'blocks.10.a']);
    assert.ok(naturalKey('b2') < naturalKey('b10'));
  });

  it('stored as integers are counted and named, not guessed', () => {
    const result = described({ ...weights('a.b'), 'c.weight': { dtype: 'I8', shape: [4, 4] }, 'd.qweight': { dtype: 'I32', shape: [4, 4] }, 'e.weight': { dtype: 'U8', shape: [4, 1] }, 'e.zeros': { dtype: 'U8', shape: [4, 1] } });
    assert.deepEqual(result.layers.map(layer => layer.name), ['a.b']);
    assert.match(result.problems.find(problem => problem.code === 'checkpoint/packed-weights')?.message ?? '', /3 weights stored as I32, I8, U8 \("c\.weight", "d\.qweight", "e\.weight"\)/);
  });

  it('may be missing altogether, which is said', () => {
    assert.deepEqual(codes(described({ 'norm.weight': { dtype: 'F32', shape: [4] } })), ['warning checkpoint/no-layers']);
  });
});

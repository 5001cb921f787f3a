import { ModelError } from './builder';
import type { Builder, Value } from './builder';
import { patchify, shapeOf, unpatchify } from './model';
import type { Model } from './model';
import { sincos2d } from './positions';

/** DiTTransformer2DModel: class-conditional, adaLN-Zero; every block holds its own copy of the two embedders. models.md A2. */
export const dit: Model = {
  classes: ['DiTTransformer2DModel'],
  inputs: { hidden_states: 3, timestep: 1, class_labels: 1 },
  build(b, given) {
    const heads = b.integer('num_attention_heads');
    const d = heads * b.integer('attention_head_dim');
    const p = b.integer('patch_size');
    const eps = b.number('norm_eps', 1e-5);
    const image = b.input('hidden_states', shapeOf(given, 'hidden_states', 3));
    const t = b.input('timestep', [1]);
    const label = b.input('class_labels', [1]);
    const { tokens, h, w } = patchify(b, image, p);
    if (!Number.isInteger(h) || !Number.isInteger(w)) {
      throw new ModelError(`Height and width must be multiples of the patch size ${p}; "hidden_states" is ${image.shape.join(' × ')}.`);
    }
    let x = b.add(b.linear('pos_embed.proj', tokens), b.constant(sincos2d(d, h, w, Math.floor(b.integer('sample_size') / p), 1), [h * w, d]));
    for (let i = 0; i < b.integer('num_layers'); i++) {
      const at = `transformer_blocks.${i}`;
      const [shift1, scale1, gate1, shift2, scale2, gate2] = b.chunk(b.linear(`${at}.norm1.linear`, b.unary('silu', condition(b, i, t, label))), 6) as [Value, Value, Value, Value, Value, Value];
      const y = b.modulate(b.layernorm(x, 1e-6), shift1, scale1);
      const [q, k, v] = ['q', 'k', 'v'].map((name) => b.linear(`${at}.attn1.to_${name}`, y)) as [Value, Value, Value];
      x = b.gateAdd(x, gate1, b.linear(`${at}.attn1.to_out.0`, b.attention(q, k, v, heads)));
      x = b.gateAdd(x, gate2, b.mlp(`${at}.ff.net.0.proj`, `${at}.ff.net.2`, 'gelu_tanh', b.modulate(b.layernorm(x, eps), shift2, scale2)));
    }
    const [shift, scale] = b.chunk(b.linear('proj_out_1', b.unary('silu', condition(b, 0, t, label))), 2) as [Value, Value];
    b.output('sample', unpatchify(b, b.linear('proj_out_2', b.modulate(b.layernorm(x, 1e-6), shift, scale)), h, w, p));
  },
};

function condition(b: Builder, block: number, t: Value, label: Value): Value {
  const at = `transformer_blocks.${block}.norm1.emb`;
  return b.add(
    b.mlp(`${at}.timestep_embedder.linear_1`, `${at}.timestep_embedder.linear_2`, 'silu', b.timestep(t, 256, { shift: 1 })),
    b.row(`${at}.class_embedder.embedding_table.weight`, label),
  );
}

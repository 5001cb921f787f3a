import type { Builder, Value } from './builder';
import { patchify, shapeOf, unpatchify } from './model';
import type { Model } from './model';
import { sincos2d } from './positions';

/** PixArtTransformer2DModel (Σ and α): one shared modulation plus a table per block, cross-attention to the caption. models.md A2. */
export const pixart: Model = {
  classes: ['PixArtTransformer2DModel'],
  inputs: { hidden_states: 3, timestep: 1, encoder_hidden_states: 2, encoder_attention_mask: 1, resolution: 1, aspect_ratio: 1 },
  optional: ['encoder_attention_mask', 'resolution', 'aspect_ratio'],
  build(b, given) {
    const heads = b.integer('num_attention_heads');
    const d = heads * b.integer('attention_head_dim');
    const p = b.integer('patch_size');
    const eps = b.number('norm_eps', 1e-6);
    const sample = b.integer('sample_size');
    const { tokens, h, w } = patchify(b, b.input('hidden_states', shapeOf(given, 'hidden_states', 3)), p);
    const t = b.input('timestep', [1]);
    const text = b.input('encoder_hidden_states', shapeOf(given, 'encoder_hidden_states', 2));
    // 1 keeps a token, 0 hides it: bias (mask − 1) · 10000, as the reference adds it.
    const bias = given['encoder_attention_mask'] && b.affine(b.input('encoder_attention_mask', shapeOf(given, 'encoder_attention_mask', 1)), 10000, -10000);
    const interpolation = b.number('interpolation_scale', Math.max(Math.floor(sample / 64), 1));
    let x = b.add(b.linear('pos_embed.proj', tokens), b.constant(sincos2d(d, h, w, Math.floor(sample / p), interpolation), [h * w, d]));
    const embedded = timeAndSize(b, t, sample);
    const shared = b.reshape(b.linear('adaln_single.linear', b.unary('silu', embedded)), [6, d]);
    const context = b.mlp('caption_projection.linear_1', 'caption_projection.linear_2', 'gelu_tanh', text);
    for (let i = 0; i < b.integer('num_layers'); i++) {
      const at = `transformer_blocks.${i}`;
      const [shift1, scale1, gate1, shift2, scale2, gate2] = b.chunk(b.reshape(b.add(b.data(`${at}.scale_shift_table`), shared), [6 * d]), 6) as [Value, Value, Value, Value, Value, Value];
      const y = b.modulate(b.layernorm(x, eps), shift1, scale1);
      x = b.gateAdd(x, gate1, attend(b, `${at}.attn1`, y, y, heads));
      x = b.add(x, attend(b, `${at}.attn2`, x, context, heads, bias));
      x = b.gateAdd(x, gate2, b.mlp(`${at}.ff.net.0.proj`, `${at}.ff.net.2`, 'gelu_tanh', b.modulate(b.layernorm(x, eps), shift2, scale2)));
    }
    const [shift, scale] = b.chunk(b.reshape(b.add(b.data('scale_shift_table'), embedded), [2 * d]), 2) as [Value, Value];
    b.output('sample', unpatchify(b, b.linear('proj_out', b.modulate(b.layernorm(x, 1e-6), shift, scale)), h, w, p));
  },
};

/** Micro-conditioning on resolution and aspect ratio is PixArt-α's at 1024 px: asked for by the config, or by its absence at sample size 128. */
function timeAndSize(b: Builder, t: Value, sample: number): Value {
  const at = 'adaln_single.emb';
  const embed = (name: string, value: Value): Value => b.mlp(`${at}.${name}.linear_1`, `${at}.${name}.linear_2`, 'silu', b.timestep(value, 256));
  const time = embed('timestep_embedder', t);
  const asked = b.checkpoint.config?.['use_additional_conditions'];
  if (!(asked ?? sample === 128)) {
    return time;
  }
  const resolution = b.input('resolution', [2]);
  const size = [b.slice(resolution, 0, 0, 1), b.slice(resolution, 0, 1, 2)].map((value) => embed('resolution_embedder', value));
  return b.add(time, b.concat([...size, embed('aspect_ratio_embedder', b.input('aspect_ratio', [1]))], 0));
}

function attend(b: Builder, at: string, from: Value, to: Value, heads: number, bias?: Value): Value {
  return b.linear(`${at}.to_out.0`, b.attention(b.linear(`${at}.to_q`, from), b.linear(`${at}.to_k`, to), b.linear(`${at}.to_v`, to), heads, bias));
}

import { ModelError } from './builder';
import type { Value } from './builder';
import { shapeOf } from './model';
import type { Model } from './model';
import { range, ropeTables } from './positions';

/** WanTransformer3DModel (Wan 2.1 text to video): q and k normed over the whole row, rope over time, row and column, ungated cross-attention. models.md A2. */
export const wan: Model = {
  classes: ['WanTransformer3DModel'],
  inputs: { hidden_states: 4, timestep: 1, encoder_hidden_states: 2 },
  build(b, given) {
    if ((b.checkpoint.config?.['image_dim'] ?? null) !== null || (b.checkpoint.config?.['added_kv_proj_dim'] ?? null) !== null) {
      throw new ModelError('This is an image-to-video model (image_dim is set); only text-to-video checkpoints of Wan 2.1 can be run.');
    }
    const heads = b.integer('num_attention_heads');
    const size = b.integer('attention_head_dim');
    const d = heads * size;
    const eps = b.number('eps', 1e-6);
    const [pt = 1, ph = 2, pw = 2] = b.integers('patch_size', 3);
    const [channels = 0, frames = 0, height = 0, width = 0] = shapeOf(given, 'hidden_states', 4);
    const [f, h, w] = [frames / pt, height / ph, width / pw];
    const video = b.input('hidden_states', [channels, frames, height, width]);
    let x = b.linear('patch_embedding', b.permute(video, [channels, f, pt, h, ph, w, pw], [1, 3, 5, 0, 2, 4, 6], [f * h * w, channels * pt * ph * pw]));

    const spatial = 2 * Math.floor(size / 6);
    const ids = range(f * h * w).map((i) => [Math.floor(i / (h * w)), Math.floor(i / w) % h, i % w]);
    const { cos, sin } = ropeTables(b, ids, [size - 2 * spatial, spatial, spatial], 10000);

    const at = 'condition_embedder';
    const embedded = b.mlp(`${at}.time_embedder.linear_1`, `${at}.time_embedder.linear_2`, 'silu', b.timestep(b.input('timestep', [1]), b.integer('freq_dim', 256)));
    const shared = b.reshape(b.linear(`${at}.time_proj`, b.unary('silu', embedded)), [6, d]);
    const context = b.mlp(`${at}.text_embedder.linear_1`, `${at}.text_embedder.linear_2`, 'gelu_tanh', b.input('encoder_hidden_states', shapeOf(given, 'encoder_hidden_states', 2)));

    for (let i = 0; i < b.integer('num_layers'); i++) {
      const block = `blocks.${i}`;
      const project = (name: string, from: Value): Value => b.linear(`${block}.${name}`, from);
      const normed = (attention: string, name: string, from: Value): Value => b.rmsnorm(project(`${attention}.to_${name}`, from), eps, `${block}.${attention}.norm_${name}`);
      const table = b.add(b.data(`${block}.scale_shift_table`, [6, d]), shared);
      const [shift1, scale1, gate1, shift2, scale2, gate2] = b.chunk(b.reshape(table, [6 * d]), 6) as [Value, Value, Value, Value, Value, Value];
      const u = b.modulate(b.layernorm(x, eps), shift1, scale1);
      const rotated = (name: string): Value => b.rope(normed('attn1', name, u), cos, sin, heads);
      x = b.gateAdd(x, gate1, project('attn1.to_out.0', b.attention(rotated('q'), rotated('k'), project('attn1.to_v', u), heads)));
      const v = b.layernorm(x, eps, `${block}.norm2`);
      x = b.add(x, project('attn2.to_out.0', b.attention(normed('attn2', 'q', v), normed('attn2', 'k', context), project('attn2.to_v', context), heads)));
      x = b.gateAdd(x, gate2, b.mlp(`${block}.ffn.net.0.proj`, `${block}.ffn.net.2`, 'gelu_tanh', b.modulate(b.layernorm(x, eps), shift2, scale2)));
    }
    const [shift, scale] = b.chunk(b.reshape(b.add(b.data('scale_shift_table', [2, d]), embedded), [2 * d]), 2) as [Value, Value];
    const out = b.linear('proj_out', b.modulate(b.layernorm(x, eps), shift, scale));
    const outChannels = (out.shape[1] ?? 0) / (pt * ph * pw);
    b.output('sample', b.permute(out, [f, h, w, pt, ph, pw, outChannels], [6, 0, 3, 1, 4, 2, 5], [outChannels, frames, height, width]));
  },
};

import { roundHalfEven } from '../numpy';
import { ModelError } from './builder';
import type { Value } from './builder';
import { shapeOf } from './model';
import type { Model } from './model';
import { range, ropeTables, sincos3d } from './positions';

/** CogVideoXTransformer3DModel (1.0, 2B and 5B): joint text–video sequence, one affine norm for both streams; frames come first. models.md A2. */
export const cogvideox: Model = {
  classes: ['CogVideoXTransformer3DModel'],
  inputs: { hidden_states: 4, timestep: 1, encoder_hidden_states: 2 },
  build(b, given) {
    if ((b.checkpoint.config?.['patch_size_t'] ?? null) !== null) {
      throw new ModelError('CogVideoX 1.5 (patch_size_t is set) patches over time; only CogVideoX 1.0 checkpoints can be run.');
    }
    const heads = b.integer('num_attention_heads');
    const size = b.integer('attention_head_dim');
    const d = heads * size;
    const p = b.integer('patch_size', 2);
    const eps = b.number('norm_eps', 1e-5);
    const rotary = b.checkpoint.config?.['use_rotary_positional_embeddings'] === true;
    const [frames = 0, channels = 0, height = 0, width = 0] = shapeOf(given, 'hidden_states', 4);
    const [h, w] = [height / p, width / p];
    const video = b.input('hidden_states', [frames, channels, height, width]);
    let x = b.linear('patch_embed.proj', b.permute(video, [frames, channels, h, p, w, p], [0, 2, 4, 1, 3, 5], [frames * h * w, channels * p * p]));
    let c = b.linear('patch_embed.text_proj', b.input('encoder_hidden_states', shapeOf(given, 'encoder_hidden_states', 2)));
    const [text = 0, tokens = 0] = [c.shape[0], x.shape[0]];
    if (!rotary) {
      const table = sincos3d(d, frames, h, w, b.number('spatial_interpolation_scale', 1.875), b.number('temporal_interpolation_scale', 1));
      x = b.add(x, b.constant(table, [tokens, d]));
    }
    const grid = rotary ? rotaryGrid(h, w, Math.floor(b.integer('sample_height', 60) / p), Math.floor(b.integer('sample_width', 90) / p)) : null;
    const rope = grid && ropeTables(b, range(tokens).map((i) => [Math.floor(i / (h * w)), grid.rows[Math.floor(i / w) % h] ?? 0, grid.columns[i % w] ?? 0]), [size / 4, (size / 8) * 3, (size / 8) * 3], 10000);

    const active = b.unary('silu', b.mlp('time_embedding.linear_1', 'time_embedding.linear_2', 'silu', b.timestep(b.input('timestep', [1]), d, { shift: b.number('freq_shift', 0) })));
    /** Both streams through one norm, each with its own modulation: [text; video] and the two gates. */
    const normed = (at: string): { joint: Value; gate: Value; textGate: Value } => {
      const [shift, scale, gate, textShift, textScale, textGate] = b.chunk(b.linear(`${at}.linear`, active), 6) as [Value, Value, Value, Value, Value, Value];
      const joint = b.concat([b.modulate(b.layernorm(c, eps, `${at}.norm`), textShift, textScale), b.modulate(b.layernorm(x, eps, `${at}.norm`), shift, scale)], 0);
      return { joint, gate, textGate };
    };
    const addBack = (out: Value, gate: Value, textGate: Value): void => {
      x = b.gateAdd(x, gate, b.slice(out, 0, text, text + tokens));
      c = b.gateAdd(c, textGate, b.slice(out, 0, 0, text));
    };
    for (let i = 0; i < b.integer('num_layers'); i++) {
      const at = `transformer_blocks.${i}`;
      const attention = normed(`${at}.norm1`);
      const headed = (name: string): Value => {
        const y = b.headNorm(b.linear(`${at}.attn1.to_${name}`, attention.joint), heads, (each) => b.layernorm(each, 1e-6, `${at}.attn1.norm_${name}`));
        return rope ? b.concat([b.slice(y, 0, 0, text), b.rope(b.slice(y, 0, text, text + tokens), rope.cos, rope.sin, heads)], 0) : y;
      };
      const attended = b.attention(headed('q'), headed('k'), b.linear(`${at}.attn1.to_v`, attention.joint), heads);
      addBack(b.linear(`${at}.attn1.to_out.0`, attended), attention.gate, attention.textGate);
      const feed = normed(`${at}.norm2`);
      addBack(b.mlp(`${at}.ff.net.0.proj`, `${at}.ff.net.2`, 'gelu_tanh', feed.joint), feed.gate, feed.textGate);
    }
    const [shift, scale] = b.chunk(b.linear('norm_out.linear', active), 2) as [Value, Value];
    const out = b.linear('proj_out', b.modulate(b.layernorm(b.layernorm(x, eps, 'norm_final'), eps, 'norm_out.norm'), shift, scale));
    const outChannels = (out.shape[1] ?? 0) / (p * p);
    b.output('sample', b.permute(out, [frames, h, w, outChannels, p, p], [0, 3, 1, 4, 2, 5], [frames, outChannels, height, width]));
  },
};

/** Rows and columns of the latent grid laid onto the largest region of its shape inside the grid the model was trained on. */
function rotaryGrid(h: number, w: number, baseH: number, baseW: number): { rows: number[]; columns: number[] } {
  const tall = h / w > baseH / baseW;
  const height = tall ? baseH : roundHalfEven((baseW / w) * h);
  const width = tall ? roundHalfEven((baseH / h) * w) : baseW;
  const spread = (start: number, extent: number, count: number): number[] => range(count).map((i) => Math.fround(start + (extent * i) / count));
  return { rows: spread(roundHalfEven((baseH - height) / 2), height, h), columns: spread(roundHalfEven((baseW - width) / 2), width, w) };
}

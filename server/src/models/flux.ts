import { ModelError } from './builder';
import type { Builder, Given, Value } from './builder';
import { shapeOf } from './model';
import type { Model } from './model';
import { ropeTables } from './positions';

/** FluxTransformer2DModel: 19 double and 38 single blocks over [text, image]; hidden_states are packed tokens, timestep is σ in 0..1. models.md A2. */
export const flux: Model = {
  classes: ['FluxTransformer2DModel'],
  inputs: { hidden_states: 2, timestep: 1, encoder_hidden_states: 2, pooled_projections: 1, guidance: 1, img_ids: 2, txt_ids: 2 },
  optional: ['guidance'],
  build(b, given) {
    const heads = b.integer('num_attention_heads');
    let x = b.linear('x_embedder', b.input('hidden_states', shapeOf(given, 'hidden_states', 2)));
    let c = b.linear('context_embedder', b.input('encoder_hidden_states', shapeOf(given, 'encoder_hidden_states', 2)));
    const [text = 0, image = 0] = [c.shape[0], x.shape[0]];
    const { cos, sin } = ropeTables(b, [...ids(given, 'txt_ids', text), ...ids(given, 'img_ids', image)], b.integers('axes_dims_rope', 3), 10000);
    const active = b.unary('silu', timeTextEmbedding(b, given));

    const attend = (q: Value, k: Value, v: Value): Value => b.attention(b.rope(q, cos, sin, heads), b.rope(k, cos, sin, heads), v, heads);
    const project = (at: string, names: readonly string[], norms: readonly string[], y: Value): [Value, Value, Value] => {
      const [q, k, v] = names.map((name) => b.linear(`${at}.${name}`, y)) as [Value, Value, Value];
      const norm = (value: Value, name: string): Value => b.headNorm(value, heads, (each) => b.rmsnorm(each, 1e-6, `${at}.${name}`));
      return [norm(q, norms[0] ?? ''), norm(k, norms[1] ?? ''), v];
    };
    const feedForward = (at: string, y: Value): Value => b.mlp(`${at}.net.0.proj`, `${at}.net.2`, 'gelu_tanh', y);

    for (let i = 0; i < b.integer('num_layers'); i++) {
      const at = `transformer_blocks.${i}`;
      const [shift1, scale1, gate1, shift2, scale2, gate2] = b.chunk(b.linear(`${at}.norm1.linear`, active), 6) as [Value, Value, Value, Value, Value, Value];
      const [textShift1, textScale1, textGate1, textShift2, textScale2, textGate2] = b.chunk(b.linear(`${at}.norm1_context.linear`, active), 6) as [Value, Value, Value, Value, Value, Value];
      const [q, k, v] = project(`${at}.attn`, ['to_q', 'to_k', 'to_v'], ['norm_q', 'norm_k'], b.modulate(b.layernorm(x, 1e-6), shift1, scale1));
      const [tq, tk, tv] = project(`${at}.attn`, ['add_q_proj', 'add_k_proj', 'add_v_proj'], ['norm_added_q', 'norm_added_k'], b.modulate(b.layernorm(c, 1e-6), textShift1, textScale1));
      const attended = attend(b.concat([tq, q], 0), b.concat([tk, k], 0), b.concat([tv, v], 0));
      x = b.gateAdd(x, gate1, b.linear(`${at}.attn.to_out.0`, b.slice(attended, 0, text, text + image)));
      x = b.gateAdd(x, gate2, feedForward(`${at}.ff`, b.modulate(b.layernorm(x, 1e-6), shift2, scale2)));
      c = b.gateAdd(c, textGate1, b.linear(`${at}.attn.to_add_out`, b.slice(attended, 0, 0, text)));
      c = b.gateAdd(c, textGate2, feedForward(`${at}.ff_context`, b.modulate(b.layernorm(c, 1e-6), textShift2, textScale2)));
    }
    let z = b.concat([c, x], 0);
    for (let i = 0; i < b.integer('num_single_layers'); i++) {
      const at = `single_transformer_blocks.${i}`;
      const [shift, scale, gate] = b.chunk(b.linear(`${at}.norm.linear`, active), 3) as [Value, Value, Value];
      const y = b.modulate(b.layernorm(z, 1e-6), shift, scale);
      const attended = attend(...project(`${at}.attn`, ['to_q', 'to_k', 'to_v'], ['norm_q', 'norm_k'], y));
      z = b.gateAdd(z, gate, b.linear(`${at}.proj_out`, b.concat([attended, b.unary('gelu_tanh', b.linear(`${at}.proj_mlp`, y))], 1)));
    }
    // Scale comes first here, unlike everywhere else.
    const [scale, shift] = b.chunk(b.linear('norm_out.linear', active), 2) as [Value, Value];
    b.output('sample', b.linear('proj_out', b.modulate(b.layernorm(b.slice(z, 0, text, text + image), 1e-6), shift, scale)));
  },
};

function timeTextEmbedding(b: Builder, given: Readonly<Record<string, Given>>): Value {
  const embed = (name: string, value: Value): Value => b.mlp(`time_text_embed.${name}.linear_1`, `time_text_embed.${name}.linear_2`, 'silu', value);
  const time = embed('timestep_embedder', b.timestep(b.input('timestep', [1]), 256, { scale: 1000 }));
  const guided = b.checkpoint.config?.['guidance_embeds'] === true;
  if (guided && !given['guidance']) {
    throw new ModelError('This model embeds its guidance (guidance_embeds is true): the input "guidance" is missing. FLUX.1-dev usually takes 3.5.');
  }
  const guidance = guided ? b.add(time, embed('guidance_embedder', b.timestep(b.input('guidance', [1]), 256, { scale: 1000 }))) : time;
  return b.add(guidance, embed('text_embedder', b.input('pooled_projections', shapeOf(given, 'pooled_projections', 1))));
}

/** [tokens, 3] coordinates as the pipeline makes them. */
function ids(given: Readonly<Record<string, Given>>, name: string, tokens: number): number[][] {
  const [rows = 0, columns = 0] = shapeOf(given, name, 2);
  if (rows !== tokens || columns !== 3) {
    throw new ModelError(`"${name}" must be [${tokens}, 3], one coordinate triple per token; it is [${rows}, ${columns}].`);
  }
  const data = given[name]?.data ?? new Float32Array();
  return Array.from({ length: tokens }, (_, token) => Array.from(data.subarray(3 * token, 3 * token + 3)));
}

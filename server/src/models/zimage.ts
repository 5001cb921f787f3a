import type { Builder, Value } from './builder';
import { shapeOf } from './model';
import type { Model } from './model';
import { range, ropeTables } from './positions';

/** Both streams are padded to a multiple of this many tokens. */
const padding = 32;
const p = 2;

/** ZImageTransformer2DModel (Z-Image, Z-Image-Turbo): refiners per stream, then joint blocks over [image, caption]; tanh gates, sandwich RMS norms. models.md A2. */
export const zimage: Model = {
  classes: ['ZImageTransformer2DModel'],
  inputs: { hidden_states: 4, timestep: 1, encoder_hidden_states: 2 },
  unbatched: true,
  build(b, given) {
    const heads = b.integer('n_heads');
    const eps = b.number('norm_eps', 1e-5);
    const axes = b.integers('axes_dims', 3);
    const theta = b.number('rope_theta', 256);
    const [channels = 0, frames = 0, height = 0, width = 0] = shapeOf(given, 'hidden_states', 4);
    const image = b.reshape(b.input('hidden_states', [channels, frames, height, width]), [channels * frames, height, width]);
    const [h, w] = [height / p, width / p];
    const modulation = b.mlp('t_embedder.mlp.0', 't_embedder.mlp.2', 'silu', b.timestep(b.input('timestep', [1]), 256, { scale: b.number('t_scale', 1000) }));

    const caption = b.input('encoder_hidden_states', shapeOf(given, 'encoder_hidden_states', 2));
    const captionPad = padTo(caption.shape[0] ?? 0) - (caption.shape[0] ?? 0);
    let c = padRows(b, b.linear('cap_embedder.1', b.rmsnorm(caption, eps, 'cap_embedder.0')), 'cap_pad_token', captionPad);
    const captionRows = c.shape[0] ?? 0;
    const captionIds = range(captionRows).map((i) => [1 + i, 0, 0]);

    const tokens = b.permute(image, [channels, h, p, w, p], [1, 3, 2, 4, 0], [h * w, p * p * channels]);
    const imagePad = padTo(h * w) - h * w;
    let x = padRows(b, b.linear('all_x_embedder.2-1', tokens), 'x_pad_token', imagePad);
    const imageIds = [...range(h * w).map((i) => [captionRows + 1, Math.floor(i / w), i % w]), ...range(imagePad).map(() => [0, 0, 0])];

    const imageRope = ropeTables(b, imageIds, axes, theta);
    const captionRope = ropeTables(b, captionIds, axes, theta);
    const block = (at: string, y: Value, rope: { cos: Value; sin: Value }, mod: Value | null): Value => {
      const [scale1, gate1, scale2, gate2] = mod ? modulators(b, b.linear(`${at}.adaLN_modulation.0`, mod)) : [];
      const scaled = (value: Value, scale: Value | undefined): Value => (scale ? b.mul(value, scale) : value);
      const gated = (base: Value, gate: Value | undefined, value: Value): Value => (gate ? b.gateAdd(base, gate, value) : b.add(base, value));
      const u = scaled(b.rmsnorm(y, eps, `${at}.attention_norm1`), scale1);
      const project = (name: string): Value => b.linear(`${at}.attention.to_${name}`, u);
      const rotated = (name: string): Value => b.rope(b.headNorm(project(name), heads, (each) => b.rmsnorm(each, 1e-5, `${at}.attention.norm_${name}`)), rope.cos, rope.sin, heads);
      const attended = b.linear(`${at}.attention.to_out.0`, b.attention(rotated('q'), rotated('k'), project('v'), heads));
      const z = gated(y, gate1, b.rmsnorm(attended, eps, `${at}.attention_norm2`));
      const f = scaled(b.rmsnorm(z, eps, `${at}.ffn_norm1`), scale2);
      const inner = b.mul(b.unary('silu', b.linear(`${at}.feed_forward.w1`, f)), b.linear(`${at}.feed_forward.w3`, f));
      return gated(z, gate2, b.rmsnorm(b.linear(`${at}.feed_forward.w2`, inner), eps, `${at}.ffn_norm2`));
    };
    for (let i = 0; i < b.integer('n_refiner_layers'); i++) {
      x = block(`noise_refiner.${i}`, x, imageRope, modulation);
      c = block(`context_refiner.${i}`, c, captionRope, null);
    }
    let z = b.concat([x, c], 0);
    const joint = ropeTables(b, [...imageIds, ...captionIds], axes, theta);
    for (let i = 0; i < b.integer('n_layers'); i++) {
      z = block(`layers.${i}`, z, joint, modulation);
    }
    const scale = b.affine(b.linear('all_final_layer.2-1.adaLN_modulation.1', b.unary('silu', modulation)), 1, 1);
    const out = b.linear('all_final_layer.2-1.linear', b.mul(b.layernorm(z, 1e-6), scale));
    b.output('sample', b.permute(b.slice(out, 0, 0, h * w), [h, w, p, p, channels], [4, 0, 2, 1, 3], [channels, frames, height, width]));
  },
};

function padTo(rows: number): number { return Math.ceil(rows / padding) * padding; }

function padRows(b: Builder, x: Value, token: string, rows: number): Value {
  if (rows === 0) {
    return x;
  }
  const pad = b.data(token, [1, x.shape[1] ?? 0]);
  return b.concat([x, ...range(rows).map(() => pad)], 0);
}

/** scale, gate, scale, gate: scales are 1 + s, gates tanh(g). */
function modulators(b: Builder, all: Value): Value[] {
  return b.chunk(all, 4).map((part, i) => (i % 2 === 0 ? b.affine(part, 1, 1) : b.unary('tanh', part)));
}

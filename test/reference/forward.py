"""Small random models of every architecture with the numpy forward pass of minidit.py as oracle.

Usage: forward.py <folder>. Writes per case <folder>/<case>/{config.json, diffusion_pytorch_model.safetensors, inputs.safetensors, expected.safetensors}
and prints the list of cases as JSON. Weights are F32, so that both sides compute with the same numbers.
"""
import json
import os
import sys

import numpy as np

import minidit

F = np.float32
random = np.random.default_rng(20)


def save(path, tensors, metadata=None):
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    for name, value in tensors.items():
        raw = np.ascontiguousarray(value, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(np.shape(value)), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


class Weights(dict):
    """Weights sized so that activations stay near 1 through any depth."""

    def linear(self, name, out, width, bias=True):
        self[name + ".weight"] = (random.standard_normal((out, width)) * (0.8 / np.sqrt(width))).astype(F)
        if bias:
            self[name + ".bias"] = (random.standard_normal(out) * 0.1).astype(F)

    def scale(self, name, size):
        self[name + ".weight"] = (1 + 0.1 * random.standard_normal(size)).astype(F)

    def affine(self, name, size):
        self.scale(name, size)
        self[name + ".bias"] = (0.1 * random.standard_normal(size)).astype(F)

    def table(self, name, *shape):
        self[name] = (0.3 * random.standard_normal(shape)).astype(F)

    def attention(self, at, d, context=None, out=True, bias=True):
        for name, width in (("to_q", d), ("to_k", context or d), ("to_v", context or d)):
            self.linear(f"{at}.{name}", d, width, bias)
        if out:
            self.linear(f"{at}.to_out.0", d, d, bias)

    def ff(self, at, d, inner):
        self.linear(f"{at}.net.0.proj", inner, d)
        self.linear(f"{at}.net.2", d, inner)


def normal(*shape):
    return random.standard_normal(shape).astype(F)


def dit_case(heads, size, layers, channels, patch, sample, height, width):
    d, w = heads * size, Weights()
    config = {"_class_name": "DiTTransformer2DModel", "num_attention_heads": heads, "attention_head_dim": size, "num_layers": layers, "in_channels": channels, "out_channels": 2 * channels,
              "patch_size": patch, "sample_size": sample, "norm_eps": 1e-5, "num_embeds_ada_norm": 10, "norm_type": "ada_norm_zero"}
    w["pos_embed.proj.weight"], w["pos_embed.proj.bias"] = normal(d, channels, patch, patch) * F(0.3), normal(d) * F(0.1)
    for i in range(layers):
        b = f"transformer_blocks.{i}"
        w.linear(f"{b}.norm1.emb.timestep_embedder.linear_1", d, 256)
        w.linear(f"{b}.norm1.emb.timestep_embedder.linear_2", d, d)
        w.table(f"{b}.norm1.emb.class_embedder.embedding_table.weight", 11, d)
        w.linear(f"{b}.norm1.linear", 6 * d, d)
        w.attention(f"{b}.attn1", d)
        w.ff(f"{b}.ff", d, 4 * d)
    w.linear("proj_out_1", 2 * d, d)
    w.linear("proj_out_2", patch * patch * 2 * channels, d)
    x, t, label = normal(channels, height, width), F(random.integers(1000)), int(random.integers(11))
    out = minidit.dit(minidit.Net(w, config), x, t, label)
    return config, w, {"hidden_states": x[None], "timestep": [t], "class_labels": [F(label)]}, out[None]


def pixart_case(heads, size, layers, height, width, text, masked, extra=False, interpolation=None):
    d, w = heads * size, Weights()
    config = {"_class_name": "PixArtTransformer2DModel", "num_attention_heads": heads, "attention_head_dim": size, "num_layers": layers, "in_channels": 4, "out_channels": 8, "patch_size": 2,
              "sample_size": 16, "norm_eps": 1e-6, "caption_channels": 40, "use_additional_conditions": extra, "interpolation_scale": interpolation, "norm_type": "ada_norm_single"}
    w["pos_embed.proj.weight"], w["pos_embed.proj.bias"] = normal(d, 4, 2, 2) * F(0.3), normal(d) * F(0.1)
    w.linear("adaln_single.emb.timestep_embedder.linear_1", d, 256)
    w.linear("adaln_single.emb.timestep_embedder.linear_2", d, d)
    w.linear("adaln_single.linear", 6 * d, d)
    w.linear("caption_projection.linear_1", d, 40)
    w.linear("caption_projection.linear_2", d, d)
    for i in range(layers):
        b = f"transformer_blocks.{i}"
        w.table(f"{b}.scale_shift_table", 6, d)
        w.attention(f"{b}.attn1", d)
        w.attention(f"{b}.attn2", d)
        w.ff(f"{b}.ff", d, 4 * d)
    w.table("scale_shift_table", 2, d)
    w.linear("proj_out", 32, d)
    x, t, context = normal(4, height, width), F(random.integers(1000)), normal(text, 40)
    inputs = {"hidden_states": x[None], "timestep": [t], "encoder_hidden_states": context[None]}
    mask = None
    if masked:
        mask = (np.arange(text) < max(1, text - 3)).astype(F)
        inputs["encoder_attention_mask"] = mask[None]
    return config, w, inputs, minidit.pixart(minidit.Net(w, config), x, t, context, mask)[None]


def flux_case(heads, axes, double, single, h, w_, text, guided):
    d, w = heads * sum(axes), Weights()
    config = {"_class_name": "FluxTransformer2DModel", "num_attention_heads": heads, "attention_head_dim": sum(axes), "num_layers": double, "num_single_layers": single, "in_channels": 16,
              "joint_attention_dim": 24, "pooled_projection_dim": 20, "guidance_embeds": guided, "axes_dims_rope": list(axes), "patch_size": 1}
    w.linear("x_embedder", d, 16)
    w.linear("context_embedder", d, 24)
    for name in ["timestep_embedder"] + (["guidance_embedder"] if guided else []):
        w.linear(f"time_text_embed.{name}.linear_1", d, 256)
        w.linear(f"time_text_embed.{name}.linear_2", d, d)
    w.linear("time_text_embed.text_embedder.linear_1", d, 20)
    w.linear("time_text_embed.text_embedder.linear_2", d, d)
    for i in range(double):
        b = f"transformer_blocks.{i}"
        w.linear(f"{b}.norm1.linear", 6 * d, d)
        w.linear(f"{b}.norm1_context.linear", 6 * d, d)
        w.attention(f"{b}.attn", d)
        for name in ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"):
            w.linear(f"{b}.attn.{name}", d, d)
        for name in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
            w.scale(f"{b}.attn.{name}", sum(axes))
        w.ff(f"{b}.ff", d, 4 * d)
        w.ff(f"{b}.ff_context", d, 4 * d)
    for i in range(single):
        b = f"single_transformer_blocks.{i}"
        w.linear(f"{b}.norm.linear", 3 * d, d)
        w.attention(f"{b}.attn", d, out=False)
        w.scale(f"{b}.attn.norm_q", sum(axes))
        w.scale(f"{b}.attn.norm_k", sum(axes))
        w.linear(f"{b}.proj_mlp", 4 * d, d)
        w.linear(f"{b}.proj_out", d, 5 * d)
    w.linear("norm_out.linear", 2 * d, d)
    w.linear("proj_out", 16, d)
    x, t, context, pooled = normal(h * w_, 16), F(random.random()), normal(text, 24), normal(20)
    ids = np.zeros((h * w_, 3), F)
    ids[:, 1], ids[:, 2] = np.divmod(np.arange(h * w_), w_)
    inputs = {"hidden_states": x[None], "timestep": [t], "encoder_hidden_states": context[None], "pooled_projections": pooled[None], "img_ids": ids, "txt_ids": np.zeros((text, 3), F)}
    guidance = F(3.5) if guided else None
    if guided:
        inputs["guidance"] = [guidance]
    return config, w, inputs, minidit.flux(minidit.Net(w, config), x, t, context, pooled, (h, w_), guidance)[None]


def zimage_case(heads, axes, layers, refiners, height, width, text):
    d, w = heads * sum(axes), Weights()
    config = {"_class_name": "ZImageTransformer2DModel", "dim": d, "n_heads": heads, "n_kv_heads": heads, "n_layers": layers, "n_refiner_layers": refiners, "norm_eps": 1e-5, "qk_norm": True, "cap_feat_dim": 28,
              "in_channels": 4, "rope_theta": 256.0, "axes_dims": list(axes), "axes_lens": [64, 32, 32], "t_scale": 1000.0}
    w.linear("t_embedder.mlp.0", 48, 256)
    w.linear("t_embedder.mlp.2", 32, 48)
    w.scale("cap_embedder.0", 28)
    w.linear("cap_embedder.1", d, 28)
    w.linear("all_x_embedder.2-1", d, 16)
    w.table("x_pad_token", 1, d)
    w.table("cap_pad_token", 1, d)
    blocks = [f"noise_refiner.{i}" for i in range(refiners)] + [f"context_refiner.{i}" for i in range(refiners)] + [f"layers.{i}" for i in range(layers)]
    for b in blocks:
        w.attention(f"{b}.attention", d, bias=False)
        w.scale(f"{b}.attention.norm_q", sum(axes))
        w.scale(f"{b}.attention.norm_k", sum(axes))
        for name in ("attention_norm1", "attention_norm2", "ffn_norm1", "ffn_norm2"):
            w.scale(f"{b}.{name}", d)
        inner = int(d / 3 * 8)
        w.linear(f"{b}.feed_forward.w1", inner, d, False)
        w.linear(f"{b}.feed_forward.w3", inner, d, False)
        w.linear(f"{b}.feed_forward.w2", d, inner, False)
        if not b.startswith("context"):
            w.linear(f"{b}.adaLN_modulation.0", 4 * d, 32)
    w.linear("all_final_layer.2-1.linear", 16, d)
    w.linear("all_final_layer.2-1.adaLN_modulation.1", d, 32)
    x, t, context = normal(4, height, width), F(random.random()), normal(text, 28)
    out = minidit.zimage(minidit.Net(w, config), x, t, context)
    return config, w, {"hidden_states": x[:, None], "timestep": [t], "encoder_hidden_states": context}, out[:, None]


def wan_case(heads, size, layers, frames, height, width, text):
    d, w = heads * size, Weights()
    config = {"_class_name": "WanTransformer3DModel", "num_attention_heads": heads, "attention_head_dim": size, "num_layers": layers, "ffn_dim": 3 * d, "patch_size": [1, 2, 2], "in_channels": 4, "out_channels": 4,
              "text_dim": 36, "freq_dim": 64, "eps": 1e-6, "cross_attn_norm": True, "qk_norm": "rms_norm_across_heads", "image_dim": None, "added_kv_proj_dim": None}
    w["patch_embedding.weight"], w["patch_embedding.bias"] = normal(d, 4, 1, 2, 2) * F(0.3), normal(d) * F(0.1)
    e = "condition_embedder"
    w.linear(f"{e}.time_embedder.linear_1", d, 64)
    w.linear(f"{e}.time_embedder.linear_2", d, d)
    w.linear(f"{e}.time_proj", 6 * d, d)
    w.linear(f"{e}.text_embedder.linear_1", d, 36)
    w.linear(f"{e}.text_embedder.linear_2", d, d)
    for i in range(layers):
        b = f"blocks.{i}"
        w.table(f"{b}.scale_shift_table", 1, 6, d)
        for a in ("attn1", "attn2"):
            w.attention(f"{b}.{a}", d)
            w.scale(f"{b}.{a}.norm_q", d)
            w.scale(f"{b}.{a}.norm_k", d)
        w.affine(f"{b}.norm2", d)
        w.ff(f"{b}.ffn", d, 3 * d)
    w.table("scale_shift_table", 1, 2, d)
    w.linear("proj_out", 16, d)
    x, t, context = normal(4, frames, height, width), F(random.integers(1000)), normal(text, 36)
    out = minidit.wan(minidit.Net(w, config), x, t, context)
    return config, w, {"hidden_states": x[None], "timestep": [t], "encoder_hidden_states": context[None]}, out[None]


def cog_case(heads, size, layers, frames, height, width, text, rotary):
    d, w = heads * size, Weights()
    config = {"_class_name": "CogVideoXTransformer3DModel", "num_attention_heads": heads, "attention_head_dim": size, "num_layers": layers, "in_channels": 4, "out_channels": 4, "patch_size": 2, "patch_size_t": None,
              "sample_height": 12, "sample_width": 18, "norm_eps": 1e-5, "time_embed_dim": 32, "text_embed_dim": 20, "freq_shift": 0, "spatial_interpolation_scale": 1.875, "temporal_interpolation_scale": 1.0,
              "use_rotary_positional_embeddings": rotary}
    w["patch_embed.proj.weight"], w["patch_embed.proj.bias"] = normal(d, 4, 2, 2) * F(0.3), normal(d) * F(0.1)
    w.linear("patch_embed.text_proj", d, 20)
    w.linear("time_embedding.linear_1", 32, d)
    w.linear("time_embedding.linear_2", 32, 32)
    for i in range(layers):
        b = f"transformer_blocks.{i}"
        for name in ("norm1", "norm2"):
            w.linear(f"{b}.{name}.linear", 6 * d, 32)
            w.affine(f"{b}.{name}.norm", d)
        w.attention(f"{b}.attn1", d)
        w.affine(f"{b}.attn1.norm_q", size)
        w.affine(f"{b}.attn1.norm_k", size)
        w.ff(f"{b}.ff", d, 4 * d)
    w.affine("norm_final", d)
    w.linear("norm_out.linear", 2 * d, 32)
    w.affine("norm_out.norm", d)
    w.linear("proj_out", 16, d)
    x, t, context = normal(frames, 4, height, width), F(random.integers(1000)), normal(text, 20)
    out = minidit.cogvideox(minidit.Net(w, config), x, t, context)
    return config, w, {"hidden_states": x[None], "timestep": [t], "encoder_hidden_states": context[None]}, out[None]


def transformers():
    return {
        "dit-square": dit_case(3, 24, 2, 4, 2, 8, 8, 8),
        "dit-wide": dit_case(2, 20, 3, 3, 2, 10, 6, 14),
        "dit-patch4": dit_case(4, 16, 1, 4, 4, 16, 8, 12),
        "pixart-masked": pixart_case(3, 24, 2, 8, 12, 7, True),
        "pixart-plain": pixart_case(2, 16, 3, 6, 6, 5, False),
        "pixart-interpolated": pixart_case(2, 16, 1, 10, 4, 9, True, interpolation=2),
        "flux-guided": flux_case(2, (4, 6, 6), 2, 2, 3, 5, 7, True),
        "flux-schnell": flux_case(3, (8, 12, 12), 1, 3, 4, 4, 5, False),
        "zimage-padded": zimage_case(2, (8, 12, 12), 2, 1, 6, 10, 5),
        "zimage-exact": zimage_case(3, (8, 8, 8), 1, 2, 8, 16, 32),
        "wan-frame": wan_case(2, 24, 2, 1, 6, 8, 7),
        "wan-video": wan_case(3, 20, 2, 3, 4, 10, 12),
        "cog-frame": cog_case(2, 16, 2, 1, 6, 10, 5, False),
        "cog-video": cog_case(3, 16, 2, 3, 4, 8, 6, False),
        "cog-rotary": cog_case(2, 16, 2, 2, 8, 6, 4, True),
    }


def write(folder, cases):
    for name, (config, weights, inputs, expected) in cases.items():
        place = os.path.join(folder, name)
        os.makedirs(place)
        if config:
            with open(os.path.join(place, "config.json"), "w") as file:
                json.dump(config, file)
        save(os.path.join(place, "diffusion_pytorch_model.safetensors"), weights)
        save(os.path.join(place, "inputs.safetensors"), inputs)
        save(os.path.join(place, "expected.safetensors"), {"sample": expected})
    json.dump(sorted(cases), sys.stdout)


if __name__ == "__main__":
    write(sys.argv[1], transformers())

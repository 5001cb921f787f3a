"""Small random decoders of every kind with minivae.py as oracle. Usage: decode.py <folder>; layout and output as forward.py's."""
import sys

import numpy as np

import minivae
from forward import F, Weights, normal, random, write


def conv(w, name, out, width, *kernel, bias=True):
    fan = width * int(np.prod(kernel))
    w[name + ".weight"] = (random.standard_normal((out, width) + kernel) * (0.9 / np.sqrt(fan))).astype(F)
    if bias:
        w[name + ".bias"] = (0.1 * random.standard_normal(out)).astype(F)


def kl_case(channels, latent, groups, layers, quant, height, width, old=False, attention=True):
    w = Weights()

    def resnet(at, i, o):
        w.affine(f"{at}.norm1", i)
        conv(w, f"{at}.conv1", o, i, 3, 3)
        w.affine(f"{at}.norm2", o)
        conv(w, f"{at}.conv2", o, o, 3, 3)
        if i != o:
            conv(w, f"{at}.conv_shortcut", o, i, 1, 1)

    if quant:
        conv(w, "post_quant_conv", latent, latent, 1, 1)
    top = channels[-1]
    conv(w, "decoder.conv_in", top, latent, 3, 3)
    for i in (0, 1):
        resnet(f"decoder.mid_block.resnets.{i}", top, top)
    if attention:
        w.affine("decoder.mid_block.attentions.0.group_norm", top)
        for name in ("to_q", "to_k", "to_v", "to_out.0"):
            w.linear(f"decoder.mid_block.attentions.0.{name}", top, top)
    before = top
    for i, size in enumerate(reversed(channels)):
        for j in range(layers + 1):
            resnet(f"decoder.up_blocks.{i}.resnets.{j}", before if j == 0 else size, size)
        before = size
        if i < len(channels) - 1:
            conv(w, f"decoder.up_blocks.{i}.upsamplers.0.conv", size, size, 3, 3)
    w.affine("decoder.conv_norm_out", channels[0])
    conv(w, "decoder.conv_out", 3, channels[0], 3, 3)
    z = normal(latent, height, width)
    expected = minivae.kl_decode(w, z, groups, layers)
    stored = {name.replace("to_out.0", "proj_attn").replace("to_q", "query").replace("to_k", "key").replace("to_v", "value"): value for name, value in w.items()} if old else w
    config = {"_class_name": "AutoencoderKL", "block_out_channels": list(channels), "layers_per_block": layers, "norm_num_groups": groups, "latent_channels": latent}
    return config, stored, {"latents": z[None]}, expected[None]


def three(w, at, out, width):
    for i, size in ((0, width), (2, out), (4, out)):
        conv(w, f"{at}.conv.{i}", out, size, 3, 3)


def tiny_case(latent, size, blocks, height, width):
    w, layer = Weights(), 2
    conv(w, "decoder.layers.0", size, latent, 3, 3)
    for level, count in enumerate(blocks):
        for _ in range(count):
            three(w, f"decoder.layers.{layer}", size, size)
            layer += 1
        last = level == len(blocks) - 1
        layer += 0 if last else 1
        conv(w, f"decoder.layers.{layer}", 3 if last else size, size, 3, 3, bias=last)
        layer += 1
    z = normal(latent, height, width)
    return {"_class_name": "AutoencoderTiny", "num_decoder_blocks": list(blocks), "latent_channels": latent}, w, {"latents": z[None]}, minivae.tae_decode(w, z, blocks)[None]


def wan_case(base, mult, resnets, temporal, frames, height, width):
    w, z_dim = Weights(), 4

    def gamma(name, size, *ones):
        w[name + ".gamma"] = (1 + 0.1 * random.standard_normal((size,) + ones)).astype(F)

    def resnet(at, i, o):
        gamma(f"{at}.norm1", i, 1, 1, 1)
        conv(w, f"{at}.conv1", o, i, 3, 3, 3)
        gamma(f"{at}.norm2", o, 1, 1, 1)
        conv(w, f"{at}.conv2", o, o, 3, 3, 3)
        if i != o:
            conv(w, f"{at}.conv_shortcut", o, i, 1, 1, 1)

    sizes = [base * m for m in [mult[-1]] + list(reversed(mult))]
    conv(w, "post_quant_conv", z_dim, z_dim, 1, 1, 1)
    conv(w, "decoder.conv_in", sizes[0], z_dim, 3, 3, 3)
    resnet("decoder.mid_block.resnets.0", sizes[0], sizes[0])
    gamma("decoder.mid_block.attentions.0.norm", sizes[0], 1, 1)
    conv(w, "decoder.mid_block.attentions.0.to_qkv", 3 * sizes[0], sizes[0], 1, 1)
    conv(w, "decoder.mid_block.attentions.0.proj", sizes[0], sizes[0], 1, 1)
    resnet("decoder.mid_block.resnets.1", sizes[0], sizes[0])
    for i in range(len(mult)):
        at, width_in, width_out = f"decoder.up_blocks.{i}", sizes[i] // (2 if i > 0 else 1), sizes[i + 1]
        for j in range(resnets + 1):
            resnet(f"{at}.resnets.{j}", width_in if j == 0 else width_out, width_out)
        if i < len(mult) - 1:
            if temporal[i]:
                conv(w, f"{at}.upsamplers.0.time_conv", 2 * width_out, width_out, 3, 1, 1)
            conv(w, f"{at}.upsamplers.0.resample.1", width_out // 2, width_out, 3, 3)
    gamma("decoder.norm_out", sizes[-1], 1, 1, 1)
    conv(w, "decoder.conv_out", 3, sizes[-1], 3, 3, 3)
    z = normal(z_dim, frames, height, width)
    config = {"_class_name": "AutoencoderKLWan", "base_dim": base, "dim_mult": list(mult), "num_res_blocks": resnets, "temperal_downsample": list(reversed(temporal)), "z_dim": z_dim}
    return config, w, {"latents": z[None]}, minivae.WanDecoder(w, mult, resnets, temporal)(z)[None]


def cog_case(channels, layers, groups, frames, height, width):
    w, latent = Weights(), 4

    def norm(at, size):
        w.affine(f"{at}.norm_layer", size)
        conv(w, f"{at}.conv_y.conv", size, latent, 1, 1, 1)
        conv(w, f"{at}.conv_b.conv", size, latent, 1, 1, 1)

    def resnet(at, i, o):
        norm(f"{at}.norm1", i)
        conv(w, f"{at}.conv1.conv", o, i, 3, 3, 3)
        norm(f"{at}.norm2", o)
        conv(w, f"{at}.conv2.conv", o, o, 3, 3, 3)
        if i != o:
            conv(w, f"{at}.conv_shortcut", o, i, 1, 1, 1)

    top = channels[-1]
    conv(w, "decoder.conv_in.conv", top, latent, 3, 3, 3)
    for i in (0, 1):
        resnet(f"decoder.mid_block.resnets.{i}", top, top)
    before = top
    for i, size in enumerate(reversed(channels)):
        for j in range(layers + 1):
            resnet(f"decoder.up_blocks.{i}.resnets.{j}", before if j == 0 else size, size)
        before = size
        if i < len(channels) - 1:
            conv(w, f"decoder.up_blocks.{i}.upsamplers.0.conv", size, size, 3, 3)
    norm("decoder.norm_out", channels[0])
    conv(w, "decoder.conv_out.conv", 3, channels[0], 3, 3, 3)
    z = normal(latent, frames, height, width)
    config = {"_class_name": "AutoencoderKLCogVideoX", "block_out_channels": list(channels), "layers_per_block": layers, "norm_num_groups": groups, "temporal_compression_ratio": 4, "latent_channels": latent}
    return config, w, {"latents": z[None]}, minivae.CogDecoder(w, layers, groups, 2)(z)[None]


def taehv_case(sizes, frames, height, width):
    w, latent, layer = Weights(), 4, 3
    conv(w, "decoder.1", sizes[0], latent, 3, 3)
    for level in range(3):
        for _ in range(3):
            three(w, f"decoder.{layer}", sizes[level], 2 * sizes[level])
            layer += 1
        layer += 1
        conv(w, f"decoder.{layer}.conv", sizes[level] * (2 if level > 0 else 1), sizes[level], 1, 1, bias=False)
        layer += 1
        conv(w, f"decoder.{layer}", sizes[level + 1], sizes[level], 3, 3, bias=False)
        layer += 1
    layer += 1
    conv(w, f"decoder.{layer}", 3, sizes[3], 3, 3)
    z = normal(latent, frames, height, width)
    return None, w, {"latents": z[None]}, minivae.taehv_decode(w, z)[None]


cases = {
    "kl-quant": kl_case((8, 16, 16), 4, 4, 2, True, 5, 7),
    "kl-flux": kl_case((8, 8), 16, 8, 1, False, 4, 3),
    "kl-old-names": kl_case((8, 16), 4, 4, 1, True, 3, 6, old=True),
    "kl-no-attention": kl_case((8, 8), 4, 4, 1, True, 3, 3, attention=False),
    "tiny-sd": tiny_case(4, 8, (3, 3, 3, 1), 3, 5),
    "tiny-flux": tiny_case(16, 12, (2, 1), 4, 2),
    "wan-1": wan_case(4, (1, 2, 4, 4), 2, (True, True, False), 1, 3, 4),
    "wan-2": wan_case(4, (1, 2, 2), 1, (True, False), 2, 2, 3),
    "wan-4": wan_case(4, (1, 2, 4, 4), 1, (True, True, False), 4, 2, 2),
    **{f"cog-{frames}": cog_case((8, 8, 16, 16), 1, 4, frames, 3, 2) for frames in (1, 2, 3, 4, 5)},
    "taehv-1": taehv_case((16, 8, 8, 4), 1, 3, 4),
    "taehv-3": taehv_case((12, 8, 4, 4), 3, 2, 3),
}

if __name__ == "__main__":
    write(sys.argv[1], cases)

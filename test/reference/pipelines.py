"""Whole pipelines of tiny random models, written from the formulas of models.md A2, B and C: noise, conditioning, guidance, sampler, decoder.

Usage: pipelines.py <folder>. Writes per case <folder>/<case>/{model/…, prompts/…, q.quant.yaml, expected.safetensors} and prints the cases as JSON.
expected.safetensors holds `latents` (what the sampler leaves) and `frames` [frames, 3, height, width] in 0..1, without clipping.
"""
import json
import os
import sys

import numpy as np

import decode
import minidit
import minisched
import minivae
from forward import F, cog_case, flux_case, normal, pixart_case, random, save, wan_case, zimage_case
from torch_randn import torch_randn

np.seterr(over="ignore")  # exp in SiLU


def sample(shape, seed, sampler, predict):
    x = torch_randn(shape, seed)
    for i, t in enumerate(sampler.timesteps):
        x = sampler.step(predict(x.astype(F), t), i, x).astype(F)
    return x


def guided(conditional, unconditional, scale):
    return conditional if scale <= 1 else unconditional() + F(scale) * (conditional - unconditional())


# ------------------------------------------------------------------------------------------------------ latents → frames

def kl(channels, latent, scale, shift=0.0):
    config, weights, _, _ = decode.kl_case(channels, latent, 4, 1, True, 2, 2)
    config |= {"scaling_factor": scale} | ({"shift_factor": shift} if shift else {})
    return config, weights, lambda z: minivae.kl_decode(weights, z / F(scale) + F(shift), 4, 1)[None] / 2 + 0.5


def tiny(latent):
    config, weights, _, _ = decode.tiny_case(latent, 8, (2, 1, 1), 2, 2)
    # The last layer: latents of random models are large, and pictures must not clip.
    weights["decoder.layers.10.weight"] *= F(0.2)
    weights["decoder.layers.10.bias"] += F(0.5)
    return config, weights, lambda z: minivae.tae_decode(weights, z, (2, 1, 1))[None] / 2 + 0.5


def wan_vae():
    config, weights, _, _ = decode.wan_case(4, (1, 2, 2), 1, (True, True), 1, 2, 2)
    mean, std = normal(4), (1 + 0.3 * random.random(4)).astype(F)
    config |= {"latents_mean": mean.tolist(), "latents_std": std.tolist()}
    def frames(z):
        return minivae.WanDecoder(weights, (1, 2, 2), 1, (True, True))(z * std[:, None, None, None] + mean[:, None, None, None]).transpose(1, 0, 2, 3) / 2 + 0.5
    return config, weights, frames


def cog_vae():
    config, weights, _, _ = decode.cog_case((8, 8, 16, 16), 1, 4, 1, 2, 2)
    config |= {"scaling_factor": 0.7}
    return config, weights, lambda x: minivae.CogDecoder(weights, 1, 4, 2)(x.transpose(1, 0, 2, 3) / F(0.7)).transpose(1, 0, 2, 3) / 2 + 0.5


def taehv(frames_first):
    _, weights, _, _ = decode.taehv_case((12, 8, 4, 4), 1, 2, 2)
    return None, weights, lambda x: minivae.taehv_decode(weights, x.transpose(1, 0, 2, 3) if frames_first else x).transpose(1, 0, 2, 3)


# --------------------------------------------------------------------------------------------------------------- pipelines

def pixart(decoder, guidance, height, width):
    config, weights, _, _ = pixart_case(2, 16, 2, 6, 8, 7, True)
    net, text, mask = minidit.Net(weights, config), normal(2, 9, 40), np.array([[1] * 6 + [0] * 3, [1] * 2 + [0] * 7], F)
    def predict(x, t):
        half = lambda i: minidit.pixart(net, x, F(t), text[i], mask[i])[:4]
        return guided(half(0), lambda: half(1), guidance)
    latents = sample((4, height, width), 3, minisched.DPMpp2M(5), predict)
    prompt = {"prompt_embeds": text[:1], "negative_prompt_embeds": text[1:], "prompt_attention_mask": mask[0], "negative_prompt_attention_mask": mask[1:]}
    scheduler = {"_class_name": "DPMSolverMultistepScheduler", "beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
    return "PixArtSigmaPipeline", (config, weights), decoder, scheduler, prompt, {"seed": 3, "steps": 5, "guidance": guidance}, latents


def flux(decoder, dev, height, width):
    config, weights, _, _ = flux_case(2, (4, 6, 6), 1, 2, 2, 2, 3, dev)
    net, text, pooled, guidance = minidit.Net(weights, config), normal(11, 24), normal(20), F(3.5) if dev else None
    rows, columns = height // 2, width // 2
    def predict(x, t):
        tokens = x.reshape(4, rows, 2, columns, 2).transpose(1, 3, 0, 2, 4).reshape(rows * columns, 16)
        out = minidit.flux(net, tokens, F(t / 1000), text, pooled, (rows, columns), guidance)
        return out.reshape(rows, columns, 4, 2, 2).transpose(2, 0, 3, 1, 4).reshape(4, height, width)
    sampler = minisched.FlowEuler(4, mu=minisched.flux_mu(rows * columns)) if dev else minisched.FlowEuler(4)
    latents = sample((4, height, width), 11, sampler, predict)
    scheduler = {"_class_name": "FlowMatchEulerDiscreteScheduler"} | ({"use_dynamic_shifting": True, "shift": 3.0} if dev else {"use_dynamic_shifting": False, "shift": 1.0})
    return "FluxPipeline", (config, weights), decoder, scheduler, {"prompt_embeds": text, "pooled_prompt_embeds": pooled[None]}, {"seed": 11, "steps": 4}, latents


def zimage(decoder, guidance, shift, height, width):
    config, weights, _, _ = zimage_case(2, (8, 12, 12), 2, 1, 4, 4, 5)
    net, positive, negative = minidit.Net(weights, config), normal(7, 28), normal(3, 28)
    def predict(x, t):
        half = lambda text: minidit.zimage(net, x, F((1000 - t) / 1000), text)
        out = half(positive)
        return -(out + F(guidance) * (out - half(negative)) if guidance > 0 else out)
    latents = sample((4, height, width), 0, minisched.FlowEuler(8, shift=shift), predict)
    scheduler = {"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": False, "shift": shift}
    prompt = {"prompt_embeds": positive, "negative_prompt_embeds": negative}
    return "ZImagePipeline", (config, weights), decoder, scheduler, prompt, {"steps": 8} | ({"guidance": guidance} if guidance else {}), latents


def wan(decoder, guidance, frames, height, width):
    config, weights, _, _ = wan_case(2, 24, 2, 1, 4, 4, 3)
    net, positive, negative = minidit.Net(weights, config), normal(13, 36), normal(2, 36)
    def predict(x, t):
        padded = lambda text: np.concatenate([text, np.zeros((512 - len(text), 36), F)])
        half = lambda text: minidit.wan(net, x, F(t), padded(text))
        return guided(half(positive), lambda: half(negative), guidance)
    latents = sample((4, frames, height, width), 7, minisched.UniPC(5, shift=3.0), predict)
    scheduler = {"_class_name": "UniPCMultistepScheduler", "flow_shift": 3.0, "prediction_type": "flow_prediction", "use_flow_sigmas": True}
    prompt = {"prompt_embeds": positive[None], "negative_prompt_embeds": negative}
    return "WanPipeline", (config, weights), decoder, scheduler, prompt, {"seed": 7, "steps": 5, "guidance": guidance, "frames": 4 * frames - 3}, latents


def cogvideox(decoder, guidance, frames, height, width, rotary, snr):
    config, weights, _, _ = cog_case(2, 16, 2, 1, 4, 4, 6, rotary)
    config |= {"max_text_seq_length": 6, "sample_frames": 49}
    net, text = minidit.Net(weights, config), normal(2, 6, 20)
    def predict(x, t):
        half = lambda i: minidit.cogvideox(net, x, F(t), text[i])
        return guided(half(0), lambda: half(1), guidance)
    latents = sample((frames, 4, height, width), 5, minisched.CogDDIM(5, snr), predict)
    scheduler = {"_class_name": "CogVideoXDDIMScheduler", "snr_shift_scale": snr, "timestep_spacing": "trailing", "rescale_betas_zero_snr": True}
    prompt = {"prompt_embeds": text[:1], "negative_prompt_embeds": text[1:]}
    return "CogVideoXPipeline", (config, weights), decoder, scheduler, prompt, {"seed": 5, "steps": 5, "guidance": guidance, "frames": 4 * frames - 3}, latents


cases = {
    "pixart": lambda: pixart(kl((8, 8, 16), 4, 0.13025), 4.5, 6, 8),
    "pixart-unguided-tiny": lambda: pixart(tiny(4), 1, 8, 4),
    "flux-dev": lambda: flux(kl((8, 16), 4, 0.3611, 0.1159), True, 6, 10),
    "flux-schnell-tiny": lambda: flux(tiny(4), False, 4, 8),
    "zimage": lambda: zimage(kl((8, 16), 4, 0.3611, 0.1159), 2.5, 6.0, 6, 10),
    "zimage-turbo": lambda: zimage(tiny(4), 0, 3.0, 10, 4),
    "wan": lambda: wan(wan_vae(), 5, 3, 4, 6),
    "wan-frame-unguided-tiny": lambda: wan(taehv(False), 1, 1, 6, 4),
    "cogvideox-2b": lambda: cogvideox(cog_vae(), 6, 3, 4, 6, False, 3.0),
    "cogvideox-2b-tiny": lambda: cogvideox(taehv(True), 1, 3, 6, 4, False, 3.0),
    "cogvideox-5b": lambda: cogvideox(cog_vae(), 6, 3, 6, 4, True, 1.0),
    "cogvideox-5b-frame": lambda: cogvideox(cog_vae(), 1, 1, 4, 6, True, 1.0),
}


def dump(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        json.dump(value, file)


def write(place, pipeline, transformer, decoder, scheduler, prompt, settings, latents):
    model, (vae_config, vae_weights, decode_frames) = os.path.join(place, "model"), decoder
    tiny_decoder = vae_config is None or vae_config["_class_name"] == "AutoencoderTiny"
    dump(os.path.join(model, "model_index.json"), {"_class_name": pipeline, "transformer": ["diffusers", transformer[0]["_class_name"]], "scheduler": ["diffusers", scheduler["_class_name"]],
                                                   "vae": ["diffusers", "AutoencoderKL"]})
    dump(os.path.join(model, "scheduler/scheduler_config.json"), scheduler)
    for folder, (config, weights) in {"transformer": transformer, "vae": (vae_config, vae_weights)}.items():
        folder = os.path.join(place, "tiny") if tiny_decoder and folder == "vae" else os.path.join(model, folder)
        os.makedirs(folder)
        if config:
            dump(os.path.join(folder, "config.json"), config)
        save(os.path.join(folder, "diffusion_pytorch_model.safetensors" if config else "taehv.safetensors"), weights)
    # Half of the cases name the prompt, the others the file.
    named = tiny_decoder
    os.makedirs(os.path.join(place, "prompts"))
    save(os.path.join(place, "prompts/one.safetensors"), prompt, {"format": "quantscope-prompt-1", "encoder": pipeline, "prompt": "a red fox", "negative_prompt": ""})
    frames = decode_frames(latents)
    save(os.path.join(place, "expected.safetensors"), {"latents": latents, "frames": frames})
    settings |= {"prompts": ["a red fox" if named else "prompts/one.safetensors"], "mode": "free", "compareSteps": 1, "height": frames.shape[2], "width": frames.shape[3]}
    if tiny_decoder:
        settings["decoder"] = "tiny" if vae_config else "tiny/taehv.safetensors"
    with open(os.path.join(place, "q.quant.yaml"), "w") as file:
        json.dump({"version": 1, "checkpoint": "./model", "defaults": {"keep": "original"}, "preview": settings}, file)


if __name__ == "__main__":
    for name, make in cases.items():
        write(os.path.join(sys.argv[1], name), *make())
    json.dump(list(cases), sys.stdout)

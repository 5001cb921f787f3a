"""DiT-XL/2 in torch, float32 on the CPU, for bench/forward.bench.ts. The formulas are those of Peebles & Xie, "Scalable Diffusion Models with
Transformers" (adaLN-Zero blocks), in diffusers' tensor names.

Arguments: folder of the model, number of threads. Reads one JSON request {hidden_states, timestep, class_labels} per line, runs one forward and answers
one line {seconds, sample}; the sample is left out unless the request has "sample": true.
"""
import json
import math
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    sys.exit("no torch")


def load(path):
    """Every tensor of a safetensors file, as float32."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start = file.tell()
        tensors = {}
        for name, about in header.items():
            if name != "__metadata__":
                begin, end = about["data_offsets"]
                file.seek(start + begin)
                stored = torch.frombuffer(bytearray(file.read(end - begin)), dtype={"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}[about["dtype"]])
                tensors[name] = stored.to(torch.float32).reshape(about["shape"])
        return tensors


class DiT:
    def __init__(self, folder):
        with open(f"{folder}/config.json") as file:
            self.config = json.load(file)
        self.weights = load(f"{folder}/diffusion_pytorch_model.safetensors")
        size = self.config["sample_size"] // self.config["patch_size"]
        self.positions = positions(self.config["num_attention_heads"] * self.config["attention_head_dim"], size)

    def linear(self, name, x):
        weight = self.weights[f"{name}.weight"]
        return F.linear(x, weight.flatten(1), self.weights[f"{name}.bias"])

    def condition(self, block, t, label):
        at = f"transformer_blocks.{block}.norm1.emb"
        frequencies = torch.exp(-math.log(10000) * torch.arange(128, dtype=torch.float32) / 127)
        angles = t * frequencies
        embedded = self.linear(f"{at}.timestep_embedder.linear_1", torch.cat([angles.cos(), angles.sin()])[None])
        embedded = self.linear(f"{at}.timestep_embedder.linear_2", F.silu(embedded))
        return F.silu(embedded + self.weights[f"{at}.class_embedder.embedding_table.weight"][label])

    def block(self, i, x, t, label):
        at = f"transformer_blocks.{i}"
        heads = self.config["num_attention_heads"]
        shift1, scale1, gate1, shift2, scale2, gate2 = self.linear(f"{at}.norm1.linear", self.condition(i, t, label)).chunk(6, dim=1)
        y = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale1) + shift1
        q, k, v = (self.linear(f"{at}.attn1.to_{name}", y).unflatten(-1, (heads, -1)).transpose(0, 1)[None] for name in "qkv")
        attended = F.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1).flatten(1)
        x = x + gate1 * self.linear(f"{at}.attn1.to_out.0", attended)
        y = F.layer_norm(x, x.shape[-1:], eps=self.config["norm_eps"]) * (1 + scale2) + shift2
        return x + gate2 * self.linear(f"{at}.ff.net.2", F.gelu(self.linear(f"{at}.ff.net.0.proj", y), approximate="tanh"))

    def __call__(self, image, t, label):
        """image [C, H, W], one timestep, one class: [2C, H, W]."""
        p = self.config["patch_size"]
        channels, height, width = image.shape
        patches = image.reshape(channels, height // p, p, width // p, p).permute(1, 3, 0, 2, 4).reshape(-1, channels * p * p)
        x = self.linear("pos_embed.proj", patches) + self.positions
        for i in range(self.config["num_layers"]):
            x = self.block(i, x, t, label)
        shift, scale = self.linear("proj_out_1", self.condition(0, t, label)).chunk(2, dim=1)
        x = self.linear("proj_out_2", F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift)
        return x.reshape(height // p, width // p, p, p, -1).permute(4, 0, 2, 1, 3).reshape(-1, height, width)


def positions(width, size):
    """Fixed sine and cosine positions [size², width]: the first half encodes the column, the second the row."""
    frequencies = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    row, column = torch.meshgrid(torch.arange(size, dtype=torch.float64), torch.arange(size, dtype=torch.float64), indexing="ij")
    halves = [torch.cat([angles.sin(), angles.cos()], dim=1) for angles in (axis.reshape(-1, 1) * frequencies for axis in (column, row))]
    return torch.cat(halves, dim=1).to(torch.float32)


@torch.inference_mode()
def main(folder, threads):
    torch.set_num_threads(int(threads))
    model = DiT(folder)
    print(json.dumps({"version": torch.__version__}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        image = torch.tensor(request["hidden_states"]["data"]).reshape(request["hidden_states"]["shape"])
        start = time.perf_counter()
        sample = model(image, torch.tensor(request["timestep"]), request["class_labels"])
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "sample": sample.flatten().tolist() if request.get("sample") else None}), flush=True)


main(*sys.argv[1:])

"""The forward pass of device_forward.h in PyTorch: some blocks of a transformer of FLUX.1-dev's sizes, bfloat16, random weights, eager, with
scaled_dot_product_attention. Prints the milliseconds of the fastest of several runs, on a CUDA device; with --check a tiny one runs on the processor.
"""
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    sys.exit("no torch")


class Flux:
    """Weights are made when they are first asked for."""

    def __init__(self, device, width, heads, image, text, doubles, singles):
        self.device, self.width, self.heads, self.text, self.doubles, self.singles = device, width, heads, text, doubles, singles
        self.weights = {}
        generator = torch.Generator(device).manual_seed(1)
        self.random = lambda *shape: (torch.randn(*shape, generator=generator, device=device) / 64).to(torch.bfloat16)
        self.inputs = [torch.sin(torch.arange(rows * width, device=device) % 1000).reshape(rows, width).to(torch.bfloat16) for rows in (image, text)]
        angles = (text + image, width // heads // 2)
        self.cos, self.sin = torch.full(angles, 0.8, device=device), torch.full(angles, 0.6, device=device)
        self.modulation = torch.full((width,), 0.25, device=device, dtype=torch.bfloat16)

    def weight(self, name, *shape):
        if name not in self.weights:
            self.weights[name] = self.random(*shape)
        return self.weights[name]

    def linear(self, name, x, outputs):
        return F.linear(x, self.weight(name, outputs, x.shape[-1]), self.weight(name + ".bias", outputs))

    def parts(self, name, count):
        return self.linear(name, self.modulation, count * self.width).chunk(count)

    def modulated(self, x, shift, scale):
        return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift

    def head_norm(self, name, x):
        size = self.width // self.heads
        return F.rms_norm(x.unflatten(-1, (self.heads, size)), (size,), self.weight(name, size), 1e-6).flatten(1)

    def rotated(self, x):
        """Neighbouring pairs, in float32, as diffusers does."""
        pairs = x.unflatten(-1, (self.heads, -1)).float().unflatten(-1, (-1, 2))
        cos, sin = self.cos[:, None], self.sin[:, None]
        a, b = pairs[..., 0], pairs[..., 1]
        return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(2).to(x.dtype).transpose(0, 1)[None]

    def attention(self, q, k, v):
        v = v.unflatten(-1, (self.heads, -1)).transpose(0, 1)[None]
        return F.scaled_dot_product_attention(self.rotated(q), self.rotated(k), v)[0].transpose(0, 1).flatten(1)

    def double(self, at, image, text):
        of_image, of_text = self.parts(at + "norm1", 6), self.parts(at + "norm1_context", 6)
        y, z = self.modulated(image, *of_image[:2]), self.modulated(text, *of_text[:2])

        def both(name, norm):
            t, i = self.linear(at + "add_" + name, z, self.width), self.linear(at + "to_" + name, y, self.width)
            return torch.cat([self.head_norm(at + "norm_added_" + name, t), self.head_norm(at + "norm_" + name, i)] if norm else [t, i])

        attended = self.attention(both("q", True), both("k", True), both("v", False))

        def finish(x, m, rows, which):
            x = x + m[2] * self.linear(at + "out" + which, rows, self.width)
            up = F.gelu(self.linear(at + "up" + which, self.modulated(x, *m[3:5]), 4 * self.width), approximate="tanh")
            return x + m[5] * self.linear(at + "down" + which, up, self.width)

        return finish(image, of_image, attended[self.text:], ""), finish(text, of_text, attended[:self.text], "_context")

    def single(self, at, x):
        shift, scale, gate = self.parts(at + "norm", 3)
        y = self.modulated(x, shift, scale)
        q, k, v = (self.linear(at + name, y, self.width) for name in "qkv")
        attended = self.attention(self.head_norm(at + "norm_q", q), self.head_norm(at + "norm_k", k), v)
        mlp = F.gelu(self.linear(at + "mlp", y, 4 * self.width), approximate="tanh")
        return x + gate * self.linear(at + "out", torch.cat([attended, mlp], dim=1), self.width)

    def __call__(self):
        image, text = self.inputs
        for i in range(self.doubles):
            image, text = self.double(f"double{i}.", image, text)
        x = torch.cat([text, image])
        for i in range(self.singles):
            x = self.single(f"single{i}.", x)
        return x[0]


@torch.inference_mode()
def main(check):
    if not check and not torch.cuda.is_available():
        sys.exit("no CUDA device for torch")
    model = Flux("cpu", 64, 2, 6, 3, 1, 1) if check else Flux("cuda", 3072, 24, 4096, 512, 2, 4)
    times = []
    for _ in range(6):
        begin = time.perf_counter()
        result = model().float().cpu()  # waits for the device
        times.append(1000 * (time.perf_counter() - begin))
    if not torch.isfinite(result).all():
        sys.exit("the result is not finite")
    print(f"torch {torch.__version__}: {min(times[1:]):.3f} ms")


main("--check" in sys.argv[1:])

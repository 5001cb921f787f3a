"""AdaRound on a two-layer residual block in numpy, float64, from the formulas of arXiv 2004.10568 (Eq 21-25) and 2102.05426; straight-through activations. argv[1]: folder for the case's files."""
import json
import struct
import sys

import numpy as np

folder = sys.argv[1]
random = np.random.default_rng(11)
SAMPLES, TOKENS, WIDTH, HIDDEN, GROUP, BITS, ITERATIONS = 6, 10, 24, 32, 8, 3, 40
ZETA, GAMMA, SHARE = 1.1, -0.1, 0.01
RATE = min(0.1, 1e-3 * max(1, 20000 / ITERATIONS))


def save(path, tensors):
    header, data = {}, b''
    for name, value in tensors.items():
        header[name] = {'dtype': {'float32': 'F32', 'int32': 'I32', 'uint8': 'U8'}[str(value.dtype)], 'shape': list(value.shape), 'data_offsets': [len(data), len(data) + value.nbytes]}
        data += value.tobytes()
    text = json.dumps(header).encode()
    with open(f'{folder}/{path}.safetensors', 'wb') as out:
        out.write(struct.pack('<Q', len(text)) + text + data)


def tokens(x):
    """8 bits, symmetric, one scale per token in FP32."""
    scale = np.float32(np.abs(x).max(-1, keepdims=True) / 127).astype(np.float64)
    return np.clip(np.rint(x / scale), -128, 127) * scale


def silu(x): return x / (1 + np.exp(-x))
def silu_slope(x): return (1 + x * (1 - 1 / (1 + np.exp(-x)))) / (1 + np.exp(-x))
def gate(alpha): return np.clip((ZETA - GAMMA) / (1 + np.exp(-alpha)) + GAMMA, 0, 1)


def gate_slope(alpha):
    sigmoid = 1 / (1 + np.exp(-alpha))
    inside = np.abs((ZETA - GAMMA) * sigmoid + GAMMA - 0.5) < 0.5 + 1e-6
    return np.where(inside, (ZETA - GAMMA) * sigmoid * (1 - sigmoid), 0)


class Soft:
    """Integers in groups along the rows, asymmetric."""

    def __init__(self, w):
        self.shape = w.shape
        rows = w.reshape(len(w), -1, GROUP)
        low, high = np.minimum(rows.min(2, keepdims=True), 0), np.maximum(rows.max(2, keepdims=True), 0)
        self.scale = np.float32((high - low) / (2 ** BITS - 1)).astype(np.float64)
        self.zero = np.clip(np.rint(-low / self.scale), 0, 2 ** BITS - 1)
        steps = np.float32(rows / self.scale).astype(np.float64)
        self.nearest = np.clip(np.rint(steps) + self.zero, 0, 2 ** BITS - 1)
        self.floor = np.floor(steps) + self.zero
        self.alpha = -np.log((ZETA - GAMMA) / (steps - np.floor(steps) - GAMMA) - 1)
        self.mean = self.square = np.zeros_like(rows)

    def values(self, codes): return ((codes - self.zero) * self.scale).reshape(self.shape)
    def soft(self): return self.values(np.clip(self.floor + gate(self.alpha), 0, 2 ** BITS - 1))
    def hard(self): return np.clip(self.floor + (self.alpha >= 0), 0, 2 ** BITS - 1)

    def learn(self, gradient, number, beta):
        code = self.floor + gate(self.alpha)
        slope = gradient.reshape(self.scale.shape[0], -1, GROUP) * self.scale * ((code >= 0) & (code <= 2 ** BITS - 1))
        if beta > 0:
            distance = 2 * gate(self.alpha) - 1
            slope = slope - SHARE * beta * 2 * np.abs(distance) ** (beta - 1) * np.sign(distance)
        slope = slope * gate_slope(self.alpha)
        self.mean = 0.9 * self.mean + 0.1 * slope
        self.square = 0.999 * self.square + 0.001 * slope ** 2
        self.alpha = self.alpha - RATE * (self.mean / (1 - 0.9 ** number)) / (np.sqrt(self.square / (1 - 0.999 ** number)) + 1e-8)


x = random.standard_normal((SAMPLES, TOKENS, WIDTH)).astype(np.float32)
x[..., 3] *= 8
first = (random.standard_normal((HIDDEN, WIDTH)) / np.sqrt(WIDTH)).astype(np.float32)
second = (random.standard_normal((WIDTH, HIDDEN)) / np.sqrt(HIDDEN)).astype(np.float32)
bias = random.standard_normal(HIDDEN).astype(np.float32)
scale = np.exp(random.standard_normal(WIDTH)).astype(np.float32)
order = random.permutation(WIDTH).astype(np.int32)

inputs = x.astype(np.float64)
target = (inputs + silu(inputs @ first.astype(np.float64).T + bias) @ second.astype(np.float64).T).astype(np.float32)
a, b = Soft(np.float32(first / scale)[:, order].astype(np.float64)), Soft(second.astype(np.float64))
prepared = tokens((x * scale)[..., order].astype(np.float64))


def forward(wa, wb):
    hidden = prepared @ wa.T + bias
    active = tokens(silu(hidden))
    return hidden, active, inputs + active @ wb.T


def loss(wa, wb): return np.mean((forward(wa, wb)[2] - target) ** 2)


before = loss(a.values(a.nearest), b.values(b.nearest))
for number in range(1, ITERATIONS + 1):
    wa, wb = a.soft(), b.soft()
    hidden, active, y = forward(wa, wb)
    dy = 4 * 2 * (y - target) / (before * y.size)
    dhidden = dy @ wb * silu_slope(hidden)
    done = (number - 1) / ITERATIONS
    beta = 0 if done < 0.2 else 2 + 18 * (1 - (done - 0.2) / 0.8)
    b.learn(np.einsum('nto,nti->oi', dy, active), number, beta)
    a.learn(np.einsum('nto,nti->oi', dhidden, prepared), number, beta)
after = loss(a.values(a.hard()), b.values(b.hard()))

save('case', {'x': x, 'first': first, 'second': second, 'bias': bias, 'scale': scale, 'order': order, 'target': target,
              'codes.first': a.hard().reshape(first.shape).astype(np.uint8), 'codes.second': b.hard().reshape(second.shape).astype(np.uint8)})
print(json.dumps({'before': before, 'after': after, 'samples': SAMPLES, 'iterations': ITERATIONS, 'bits': BITS, 'group': GROUP,
                  'flipped': {'first': int((a.hard() != a.nearest).sum()), 'second': int((b.hard() != b.nearest).sum())}}))

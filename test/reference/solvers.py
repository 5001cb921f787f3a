"""GPTQ, low-rank branches and second moments in numpy, from the papers' formulas (arXiv 2210.17323, 2411.05007). argv[1]: folder for the cases' files."""
import json
import struct
import sys

import numpy as np

folder = sys.argv[1]
random = np.random.default_rng(7)


def save(path, tensors):
    header, data = {}, b''
    for name, value in tensors.items():
        dtype = {'float32': 'F32', 'uint8': 'U8'}[str(value.dtype)]
        header[name] = {'dtype': dtype, 'shape': list(value.shape), 'data_offsets': [len(data), len(data) + value.nbytes]}
        data += value.tobytes()
    text = json.dumps(header).encode()
    with open(f'{folder}/{path}.safetensors', 'wb') as out:
        out.write(struct.pack('<Q', len(text)) + text + data)


def pack(codes, bits):
    spread = (codes[..., None] >> np.arange(bits)) & 1
    return np.packbits(spread.reshape(len(codes), -1).astype(np.uint8), axis=1, bitorder='little')


def symmetric(w, bits, group):
    """Scales in FP16 per group, [out, groups]."""
    top = 2 ** (bits - 1) - 1
    return np.float16(np.abs(w.reshape(len(w), -1, group)).max(2) / top).astype(np.float64)


def asymmetric(w, bits, group):
    rows = w.reshape(len(w), -1, group)
    low, high = np.minimum(rows.min(2), 0), np.maximum(rows.max(2), 0)
    scale = np.float16((high - low) / (2 ** bits - 1)).astype(np.float64)
    return scale, np.clip(np.rint(-low / scale), 0, 2 ** bits - 1)


def gptq(w, h, bits, group, sym, act_order, damping, scale=1.0):
    """Column by column with the upper Cholesky factor of the inverse. Returns codes and the dequantized weight."""
    w, n = w.astype(np.float64), w.shape[1]
    h = h + damping * scale * np.mean(np.diag(h)) * np.eye(n)
    order = np.argsort(-np.diag(h), kind='stable') if act_order else np.arange(n)
    upper = np.linalg.cholesky(np.linalg.inv(h[order][:, order])).T
    if sym:
        scales, zeros = symmetric(w, bits, group), None
        zeros = np.full_like(scales, 2 ** (bits - 1))
    else:
        scales, zeros = asymmetric(w, bits, group)
    work, codes, done = w[:, order].copy(), np.zeros(w.shape, np.uint8), np.zeros(w.shape)
    for i, j in enumerate(order):
        s, z = scales[:, j // group], zeros[:, j // group]
        code = np.clip(np.rint(work[:, i] / s) + z, 0, 2 ** bits - 1)
        value = (code - z) * s
        error = (work[:, i] - value) / upper[i, i]
        work[:, i:] -= error[:, None] * upper[i, i:]
        codes[:, j], done[:, j] = code, value
    return codes, done


def layer(rows, width):
    w = random.standard_normal((rows, width)) * 0.05
    w[:, random.integers(width, size=3)] *= 12
    x = random.standard_normal((3 * width // 2, width)) @ (np.eye(width) + random.standard_normal((width, width)) / np.sqrt(width))
    x[:, random.integers(width, size=3)] *= 25
    return w.astype(np.float32), (x.T @ x / len(x)).astype(np.float32)


cases = {'gptq': {}, 'lowRank': {}, 'moments': {}}
for name, (rows, width, bits, group, sym, act_order, tail) in {
    'int4 groups of 64, act-order': (24, 1152, 4, 64, True, True, 0),
    'int4 rows of a prime width': (24, 251, 4, 251, True, False, 0),
    'int3 asymmetric, act-order': (24, 384, 3, 32, False, True, 0),
    'int2 asymmetric, in order': (24, 384, 2, 128, False, False, 0),
    'int4 with a tail': (24, 1152, 4, 64, True, True, 192),
}.items():
    w, h = layer(rows, width)
    low = width - tail
    hl = h[:low, :low].astype(np.float64)
    scale = max(1.0, np.mean(np.diag(h.astype(np.float64))) / np.mean(np.diag(hl)))
    codes, done = gptq(w[:, :low], hl, bits, group, sym, act_order, 0.01, scale)
    delta = w[:, :low] - done
    key = f'gptq{len(cases["gptq"])}'
    save(key, {'w': w, 'h': h, 'codes': pack(codes, bits)})
    cases['gptq'][name] = {'file': key, 'bits': bits, 'group': group, 'symmetric': sym, 'actOrder': act_order, 'tail': tail, 'loss': float(np.sum((delta @ hl) * delta)), 'mse': float(np.sum(delta ** 2) / np.sum(w[:, :low].astype(np.float64) ** 2))}


def bf16(values):
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(np.float64)


def rtn(w, group):
    s = symmetric(w, 4, group)[:, :, None]
    return (np.clip(np.rint(w.reshape(len(w), -1, group) / s), -8, 7) * s).reshape(w.shape)


for name, (rows, width, rank, iterations) in {'one branch': (96, 320, 16, 1), 'iterated': (130, 192, 8, 100)}.items():
    w = random.standard_normal((rows, width)) * 0.02 + sum(0.5 ** k * np.outer(random.standard_normal(rows), random.standard_normal(width)) for k in range(6))
    w = w.astype(np.float32).astype(np.float64)
    best, rest = np.inf, w
    for tried in range(1, iterations + 1):
        u, s, v = np.linalg.svd(rest, full_matrices=False)
        residual = w - bf16(u[:, :rank] * np.sqrt(s[:rank])) @ bf16(np.sqrt(s[:rank])[:, None] * v[:rank])
        error = np.sum((residual - rtn(residual, 64)) ** 2)
        if error >= best:
            break
        best, rest = error, w - rtn(residual, 64)
    key = f'low{len(cases["lowRank"])}'
    save(key, {'w': w.astype(np.float32)})
    cases['lowRank'][name] = {'file': key, 'rank': rank, 'iterations': iterations, 'mse': float(best / np.sum(w ** 2))}

for rows, width in [(7, 251), (1500, 300)]:
    runs = [(random.standard_normal((rows, width)) * np.exp(random.standard_normal(width))).astype(np.float32) for _ in range(2)]
    every = np.concatenate(runs).astype(np.float64)
    key = f'moments{len(cases["moments"])}'
    save(key, {'x0': runs[0], 'x1': runs[1], 'w': np.ones((3, width), np.float32), 'expected': (every.T @ every / len(every)).astype(np.float32)})
    cases['moments'][f'{rows} rows of {width}'] = {'file': key}

print(json.dumps(cases))

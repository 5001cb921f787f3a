"""Independent numpy programs for what a linear does around its quantizers (transforms, tail, low-rank branch, fixed range) and for the fits of
rotations. Float64, from the formulas, sharing no code with the engine.

transforms.py FOLDER: for every case writes FOLDER/<case>.safetensors with the inputs and FOLDER/<case>.expected.safetensors; prints
{linears: {case: recipe}, outlier: {case: request}, basis: {case: request}}. A string "@name" in a recipe stands for the tensor of that name.
"""
import functools
import json
import math
import sys

import numpy as np

from oracle import rpbh

MASK = (1 << 64) - 1


def save(path, tensors):
    header, data = {}, b''
    for name, values in tensors.items():
        raw = np.ascontiguousarray(values).tobytes()
        header[name] = {'dtype': 'I32' if values.dtype == np.int32 else 'F32', 'shape': list(values.shape), 'data_offsets': [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as file:
        file.write(len(text).to_bytes(8, 'little') + text + data)


def splitmix_array(state, count):
    with np.errstate(over='ignore'):
        z = np.uint64(state & MASK) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


@functools.lru_cache
def random_orthogonal(width, seed):
    uniform = (splitmix_array(seed ^ (width << 32), width * width + width * width % 2) >> np.uint64(11)) * 2.0 ** -53
    radius, angle = np.sqrt(-2 * np.log1p(-uniform[0::2])), 2 * np.pi * uniform[1::2]
    gaussian = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()[:width * width].reshape(width, width)
    q, r = np.linalg.qr(gaussian)
    return q * np.sign(np.diag(r))


def is_prime(n):
    return n > 1 and all(n % i for i in range(2, math.isqrt(n) + 1))


def conference(q):
    """Paley's S of order q + 1: quadratic characters of i - j, bordered."""
    character = np.full(q, -1)
    character[[i * i % q for i in range(1, q)]] = 1
    character[0] = 0
    s = np.zeros((q + 1, q + 1))
    s[0, 1:] = 1
    s[1:, 0] = 1 if q % 4 == 1 else -1
    s[1:, 1:] = character[(np.arange(q)[:, None] - np.arange(q)[None]) % q]
    return s


def hadamard_factor(order):
    if order == 1:
        return np.ones((1, 1))
    if is_prime(order - 1):
        return np.eye(order) + conference(order - 1)
    s, unit = conference(order // 2 - 1), np.eye(order // 2)
    return np.block([[s + unit, s - unit], [s - unit, -s - unit]])


def hadamard(x, seed, order):
    width = x.shape[1]
    signs = np.where(splitmix_array(seed ^ (width << 32), width) >> np.uint64(63), -1.0, 1.0)
    sylvester = np.ones((1, 1))
    while len(sylvester) < width // order:
        sylvester = np.kron(sylvester, np.array([[1, 1], [1, -1]]))
    y = (x * signs).reshape(len(x), order, width // order)
    return (hadamard_factor(order) @ y @ sylvester).reshape(len(x), width) / math.sqrt(width)


def transform(x, step, tensors, weights):
    kind, width = step['kind'], x.shape[1]
    if kind == 'scale':
        return x / tensors['scale'] if weights else x * tensors['scale']
    if kind == 'permute':
        return x[:, tensors[step['sources'][1:]]]
    if kind == 'rpbh':
        return x @ rpbh(width, step['seed']).T
    if kind == 'hadamard':
        return hadamard(x, step['seed'], step['order'])
    if kind == 'random':
        return x @ random_orthogonal(width, step['seed']).T
    matrices = tensors[step['matrices'][1:]].astype(np.float64)
    size = matrices.shape[1]
    blocks = x.reshape(len(x), -1, size)
    return np.einsum('tbj,bij->tbi', blocks, np.broadcast_to(matrices, (blocks.shape[1], size, size))).reshape(x.shape)


def quantize(x, quantizer, limits=None):
    if quantizer['kind'] == 'keep':
        return x
    steps = 2 ** quantizer['bits'] - 1
    low, high = (np.minimum(x.min(1, keepdims=True), 0), np.maximum(x.max(1, keepdims=True), 0)) if limits is None else limits
    if quantizer['symmetric']:
        scale = np.float32(np.maximum(-low, high) / (steps // 2))
        return np.clip(np.rint(x / scale), -(steps // 2) - 1, steps // 2) * scale
    scale = np.float32((high - low) / steps)
    zero = np.clip(np.rint(-low / scale), 0, steps)
    return (np.clip(np.rint(x / scale) + zero, 0, steps) - zero) * scale


def bf16(x):
    """Round to nearest even, the values kept as float64."""
    bits = np.float32(x).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16).astype(np.uint32).view(np.float32).astype(np.float64)


def linear(tensors, recipe):
    x, w = tensors['x'].astype(np.float64), tensors['w'].astype(np.float64)
    for step in recipe['transforms']:
        x, w = transform(x, step, tensors, False), transform(w, step, tensors, True)
    y = np.zeros((len(x), len(w)))
    if recipe['lowRank']:
        down, up = tensors['down'].astype(np.float64), tensors['up'].astype(np.float64)
        y += x @ down.T @ up.T
        w = w - up @ down
    split = x.shape[1] - recipe['tail']
    limits = recipe['activationRange'] and (min(recipe['activationRange']['low'], 0), max(recipe['activationRange']['high'], 0))
    y += quantize(x[:, :split], recipe['activations'], limits) @ quantize(w[:, :split], recipe['weights']).T
    return y + x[:, split:] @ bf16(w[:, split:]).T


KEEP = {'kind': 'keep', 'dtype': 'original'}
ROW4 = {'kind': 'int', 'bits': 4, 'symmetric': True, 'group': 'row', 'scale': 'fp32'}
TOKEN8 = {'kind': 'int', 'bits': 8, 'symmetric': False, 'group': 'row', 'scale': 'fp32'}
STATIC8 = {'kind': 'int', 'bits': 8, 'symmetric': False, 'group': 'tensor', 'scale': 'fp32', 'range': 'static'}


def layer(random, width, rows=7, outputs=11):
    """Gaussian with a few channels 50 times as large in every token."""
    x = random.standard_normal((rows, width))
    x[:, random.choice(width, 3)] *= 50
    return {'x': x.astype(np.float32), 'w': (random.standard_normal((outputs, width)) / math.sqrt(width)).astype(np.float32)}


def linear_cases(random):
    def recipe(*transforms, **parts):
        return {'transforms': list(transforms), 'tail': 0, 'lowRank': None, 'weights': KEEP, 'activations': KEEP, 'activationRange': None, 'packed': None, **parts}

    def with_scale(width):
        return {**layer(random, width), 'scale': np.exp(random.standard_normal(width)).astype(np.float32)}

    def orthogonal(count, size):
        return np.stack([np.linalg.qr(random.standard_normal((size, size)))[0] for _ in range(count)]).astype(np.float32)

    scale, order = {'kind': 'scale', 'values': '@scale'}, {'kind': 'permute', 'sources': '@order'}
    blocks, rotation = {'kind': 'blocks', 'matrices': '@blocks'}, {'kind': 'rpbh', 'seed': 3}
    quantized = {'weights': ROW4, 'activations': TOKEN8}
    for width, size in [(1, 1), (96, 1), (1152, 36), (1536, 12), (1920, 60), (2432, 76), (4608, 36), (8960, 140)] :
        if size > 1:
            yield f'hadamard-{width}', layer(random, width), recipe({'kind': 'hadamard', 'seed': 5, 'order': size})
        yield f'scale-{width}', with_scale(width), recipe(scale, **quantized)
    for width in [1, 2, 577, 1152]:
        yield f'random-{width}', layer(random, width), recipe({'kind': 'random', 'seed': 11}, **quantized)
    for width in [1153, 1920]:
        yield f'rpbh-{width}', layer(random, width), recipe(rotation, **quantized)
    for width, count, size in [(1152, 1, 128), (1152, 16, 72), (8960, 140, 64)]:
        yield f'blocks-{width}-{count}', {**layer(random, width), 'blocks': orthogonal(count, size)}, recipe(blocks, **quantized)
    width = 1152
    everything = {**with_scale(width), 'order': random.permutation(width).astype(np.int32), 'blocks': orthogonal(1, 128),
                  'down': random.standard_normal((5, width)).astype(np.float32) / 30, 'up': random.standard_normal((11, 5)).astype(np.float32)}
    everything['up'] = np.float32(bf16(everything['up']))
    low_rank = {'down': '@down', 'up': '@up'}
    yield 'tail', everything, recipe(rotation, tail=144, **quantized)
    yield 'low-rank', everything, recipe(scale, lowRank=low_rank, **quantized)
    yield 'static', everything, recipe(scale, weights=ROW4, activations=STATIC8, activationRange={'low': -1.5, 'high': 2.0})
    yield 'everything', everything, recipe(scale, blocks, order, rotation, tail=64, lowRank=low_rank, **quantized)


def spreading(size, seed):
    r = np.eye(size)
    for i in range(size - 1):
        cosine, sine = 1 / math.sqrt(i + 2), math.sqrt(i + 1) / math.sqrt(i + 2)
        r[i:i + 2] = np.array([[cosine, -sine], [sine, cosine]]) @ r[i:i + 2]
    r[[0, -1]] = r[[-1, 0]]
    r[:, [0, -1]] = r[:, [-1, 0]]
    mix = np.eye(size)
    mix[1:, 1:] = random_orthogonal(size - 1, seed)
    return mix @ r


def greedy(x, size, steps, seed):
    """x [rows · blocks, size]; returns x R and R."""
    spread, rotated, rotation = spreading(size, seed), x, np.eye(size)
    best, lowest = rotation, np.ptp(x)
    for _ in range(steps):
        channel = np.unravel_index(np.argmax(np.abs(rotated)), rotated.shape)[1]
        swap = np.eye(size)
        swap[[0, channel]] = swap[[channel, 0]]
        step = swap @ spread @ swap
        rotated, rotation = rotated @ step, rotation @ step
        if np.ptp(rotated) < lowest:
            best, lowest = rotation, np.ptp(rotated)
    return x @ best, best


def outlier_rotation(sample, block, steps, order, seed):
    width = sample.shape[1]
    x, first = greedy(sample.astype(np.float64).reshape(-1, block), block, steps, seed)
    x = x.reshape(-1, width)
    keys = np.abs(x).max(0) if order == 'zigzag' else np.ptp(x, axis=0)
    groups = [[] for _ in range(width // block)]
    for i, channel in enumerate(np.argsort(-keys, kind='stable')):
        turn, place = divmod(i, len(groups))
        groups[len(groups) - 1 - place if order == 'zigzag' and turn % 2 else place].append(channel)
    sources = np.array(groups).ravel()
    _, second = greedy(x[:, sources].reshape(-1, block), block, steps, seed + 1)
    return {'first': first.T[None], 'sources': sources.astype(np.int32), 'second': second.T[None]}


def basis(moments, heads, high, seed):
    width = len(moments)
    size, high = width // heads, high // heads
    low = size - high
    matrices, mixing = [], random_orthogonal(low, seed)
    for head in range(heads):
        part = moments[head * size:(head + 1) * size, head * size:(head + 1) * size].astype(np.float64)
        damped = part + .01 * np.mean(np.diag(part)) * np.eye(size)
        vectors = np.linalg.eigh((damped + damped.T) / 2)[1]
        vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(size)])
        full = np.eye(size)
        full[:low, :low] = mixing
        matrices.append((vectors @ full).T)
    sources = np.concatenate([head * size + np.arange(size)[part] for part in (slice(0, low), slice(low, size)) for head in range(heads)])
    return {'matrices': np.stack(matrices), **({'sources': sources.astype(np.int32)} if heads > 1 else {})}


def main(folder):
    random = np.random.default_rng(1)
    answer = {'linears': {}, 'outlier': {}, 'basis': {}}

    def write(case, tensors, expected):
        save(f'{folder}/{case}.safetensors', tensors)
        save(f'{folder}/{case}.expected.safetensors', {name: values if values.dtype == np.int32 else values.astype(np.float32) for name, values in expected.items()})

    for case, tensors, recipe in linear_cases(random):
        write(case, tensors, {'y': linear(tensors, recipe)})
        answer['linears'][case] = recipe
    for case, width, block, steps, order in [('zigzag-1152', 1152, 128, 100, 'zigzag'), ('round-robin-1152', 1152, 128, 40, 'round-robin'), ('zigzag-35', 35, 7, 9, 'zigzag'), ('one-block-577', 577, 577, 3, 'zigzag')]:
        sample = layer(random, width, rows=33)['x']
        write(case, {'sample': sample}, outlier_rotation(sample, block, steps, order, 3))
        answer['outlier'][case] = {'block': block, 'steps': steps, 'order': order, 'seed': 3}
    for case, width, heads, high in [('pca-1152', 1152, 1, 192), ('pca-heads-1152', 1152, 16, 144), ('pca-prime-577', 577, 1, 0), ('pca-2', 2, 1, 1)]:
        x = layer(random, width, rows=4 * width)['x'] * np.exp(random.standard_normal(width))
        moments = (x.T.astype(np.float64) @ x / len(x)).astype(np.float32)
        write(case, {'moments': moments}, basis(moments, heads, high, 42))
        answer['basis'][case] = {'heads': heads, 'high': high, 'seed': 42}
    print(json.dumps(answer))


if __name__ == '__main__':
    main(sys.argv[1])

"""Tensors as the engine and the extension store them."""
import json

import numpy as np

TYPES = {'F64': '<f8', 'F32': '<f4', 'F16': '<f2', 'BF16': '<u2', 'I32': '<i4', 'U8': 'u1'}


def tensor(ref):
    """{file, offset, dtype, shape} -> float64, or the integers that U8 holds."""
    raw = np.fromfile(ref['file'], TYPES[ref['dtype']], int(np.prod(ref['shape'])), offset=ref['offset']).reshape(ref['shape'])
    if ref['dtype'] == 'BF16':
        raw = (raw.astype(np.uint32) << 16).view(np.float32)
    return raw if ref['dtype'] == 'U8' else raw.astype(float)


def load(path):
    """All tensors of a safetensors file, by name."""
    with open(path, 'rb') as file:
        size = int.from_bytes(file.read(8), 'little')
        header = json.loads(file.read(size))
    return {name: tensor({'file': path, 'offset': 8 + size + info['data_offsets'][0], **info}) for name, info in header.items() if name != '__metadata__'}

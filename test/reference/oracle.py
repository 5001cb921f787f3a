"""An independent numpy program for what `analyze` reports: RTN and OrbitQuant weight error, distance to the sphere marginal.

Reads one JSON document from stdin: {"bits": b, "method": "rtn" | "orbitquant", "layers": [{name, file, offset, shape}]} (BF16 weights),
prints {name: {relativeMse, ks, wasserstein1, excessKurtosis, rho}}. Follows the formulas of the papers in float64 and shares no code with the engine:
the Lloyd-Max codebook comes from numerical integration on a grid, KS and Wasserstein-1 from sorted samples.
"""
import json
import math
import sys

import numpy as np

MASK = (1 << 64) - 1


def splitmix(state):
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def rpbh(width, seed=0):
    """OrbitQuant Eq 9 as a dense matrix: blkdiag(H D) P."""
    block = width & -width
    draw = splitmix((seed ^ (width << 32)) & MASK)
    permutation = list(range(width))
    for i in range(width - 1, 0, -1):
        j = (next(draw) * (i + 1)) >> 64
        permutation[i], permutation[j] = permutation[j], permutation[i]
    signs = np.array([-1.0 if next(draw) >> 63 else 1.0 for _ in range(width)])
    hadamard = np.array([[1.0]])
    while len(hadamard) < block:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    matrix = np.zeros((width, width))
    for start in range(0, width, block):
        matrix[start:start + block, start:start + block] = hadamard / math.sqrt(block)
    scattered = np.zeros((width, width))
    scattered[np.arange(width), permutation] = signs
    return matrix @ scattered


class Marginal:
    """Density of a coordinate of a random unit vector in R^d, on a grid; x = t sqrt(d)."""

    def __init__(self, width, points=2_000_001):
        self.t = np.linspace(-1, 1, points)
        density = np.maximum(1 - self.t ** 2, 0) ** ((width - 3) / 2)
        step = self.t[1] - self.t[0]
        cells = (density[1:] + density[:-1]) / 2 * step
        self.mass = np.concatenate([[0], np.cumsum(cells)])
        moments = self.t * density
        self.moment = np.concatenate([[0], np.cumsum((moments[1:] + moments[:-1]) / 2 * step)]) / self.mass[-1]
        self.mass /= self.mass[-1]

    def cdf(self, t):
        return np.interp(t, self.t, self.mass)

    def codebook(self, bits):
        levels = np.interp((np.arange(2 ** bits) + 0.5) / 2 ** bits, self.mass, self.t)
        for _ in range(20000):
            edges = np.concatenate([[-1], (levels[1:] + levels[:-1]) / 2, [1]])
            mass, moment = np.interp(edges, self.t, self.mass), np.interp(edges, self.t, self.moment)
            better = np.diff(moment) / np.diff(mass)
            if np.max(np.abs(better - levels)) < 1e-13:
                break
            levels = better
        return levels


def bf16(values):
    """Round to nearest even, as float32 bits."""
    bits = np.asarray(values, dtype=np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return rounded.astype(np.uint32).view(np.float32).astype(np.float64)


def load(layer):
    rows, width = layer["shape"]
    raw = np.fromfile(layer["file"], dtype="<u2", count=rows * width, offset=layer["offset"])
    return (raw.astype(np.uint32) << 16).view(np.float32).astype(np.float64).reshape(rows, width)


def quantize_rtn(weights, bits):
    scale = np.abs(weights).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
    scale = scale.astype(np.float16).astype(np.float64)
    safe = np.where(scale == 0, 1, scale)
    return np.clip(np.rint(weights / safe), -2 ** (bits - 1), 2 ** (bits - 1) - 1) * scale


def quantize_codebook(rotated, levels):
    norms = np.linalg.norm(rotated, axis=1, keepdims=True)
    unit = rotated / np.where(norms == 0, 1, norms)
    return levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, unit)] * bf16(norms)


def distance(unit, marginal, width):
    """Kolmogorov-Smirnov and Wasserstein-1 (in units of 1/sqrt(d)) of all coordinates to the marginal, from sorted samples."""
    sample = np.sort(unit.ravel())
    n = len(sample)
    theory = marginal.cdf(sample)
    ks = max(np.max(np.arange(1, n + 1) / n - theory), np.max(theory - np.arange(n) / n))
    grid = marginal.t
    empirical = np.searchsorted(sample, grid, side="right") / n
    gap = np.abs(empirical - marginal.mass)
    w1 = np.sum((gap[1:] + gap[:-1]) / 2) * (grid[1] - grid[0]) * math.sqrt(width)
    centred = sample - sample.mean()
    kurtosis = np.mean(centred ** 4) / np.mean(centred ** 2) ** 2 - 3
    return {"ks": ks, "wasserstein1": w1, "excessKurtosis": kurtosis, "maxAbs": np.abs(sample).max() * math.sqrt(width)}


def rho(unit, width, delta=0.01):
    block = width & -width
    return width * np.abs(unit).max() ** 2 * math.sqrt(math.log(4 * (width // block) / delta) / (2 * block))


def main():
    job = json.load(sys.stdin)
    rotations, marginals, codebooks, answers = {}, {}, {}, {}
    for layer in job["layers"]:
        weights = load(layer)
        width = weights.shape[1]
        if width not in rotations:
            rotations[width], marginals[width] = rpbh(width), Marginal(width)
            codebooks[width] = marginals[width].codebook(job["bits"])
        rotated = weights @ rotations[width].T
        if job["method"] == "rtn":
            error = np.sum((weights - quantize_rtn(weights, job["bits"])) ** 2)
        else:
            error = np.sum((rotated - quantize_codebook(rotated, codebooks[width])) ** 2)
        norms = np.linalg.norm(weights, axis=1, keepdims=True)
        kept = norms[:, 0] > 0
        answers[layer["name"]] = {
            "relativeMse": error / np.sum(weights ** 2),
            "before": distance((weights / np.where(norms == 0, 1, norms))[kept], marginals[width], width),
            "after": distance((rotated / np.where(norms == 0, 1, norms))[kept], marginals[width], width),
            "rho": rho((weights / np.where(norms == 0, 1, norms))[kept], width),
        }
    json.dump(answers, sys.stdout)


if __name__ == '__main__':
    main()

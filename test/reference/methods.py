"""Every method as a numpy program of its own, from the papers' formulas in float64: what the engine prepared for a layer is held against it.

methods.py make FOLDER: writes FOLDER/planted.safetensors (one layer with outlier channels and heavy-tailed weights) and FOLDER/statistics.safetensors.
methods.py check: reads {cases: [...]} (methods.test.ts) and prints, for every case, a list of differences and the number of ties.

Random draws are rebuilt from their documented order (transforms.py, oracle.py). Rotations fitted to data are read from the layer's files, checked for what
defines them, and then used as they are: the order of a greedy search and the basis of nearly equal eigenvalues hang on the last bit. A tie is a value within
TIE steps of the edge between two levels: the engine transforms in float32, whose error over some thousand terms comes to 1e-6 of a row's largest values (1e-5
steps at 4 bits), and GPTQ passes it on from channel to channel. There, and only there, the engine's choice is taken over.
"""
import json
import os
import sys

os.environ['OPENBLAS_NUM_THREADS'] = '1'  # many small products: threads that wait for each other cost more than they give
import numpy as np

from layers import load, tensor
from oracle import Marginal, rpbh
from quantizers import stored, twin_corrected
from transforms import hadamard, random_orthogonal, save

TIE = 1e-4
SMALLEST = 1e-5
marginals = {}


# --- smoothing: SmoothQuant Eq 4, PTQ4DiT Eq 4-9, SVDQuant's grid

def balance(x, w, alpha, beta):
    used = (x >= SMALLEST) & (w >= SMALLEST)
    return np.where(used, np.maximum(np.where(used, x, 1)**alpha / np.where(used, w, 1)**beta, SMALLEST), 1.0)


def ranks(values):
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def salience_over_time(steps, w):
    shares = np.exp([-np.corrcoef(ranks(x), ranks(w))[0, 1] for x in steps])
    return (shares / shares.sum()) @ steps


def search(case, steps, w):
    """The engine's factors, if they are those of a candidate within 5 % of the best: singular values next to each other make branches that differ, and errors with them."""
    grid = [(0, 0)] + [(i / case['recipe']['smooth']['steps'], rest) for i in range(1, case['recipe']['smooth']['steps'] + 1) for rest in {0, 1 - i / case['recipe']['smooth']['steps']}]
    x = tensor(case['sample'])
    taken = 1 / tensor(case['linear']['transforms'][0]['values'])
    errors, same = [], []
    for alpha, beta in grid:
        factors = balance(steps.max(0), w, alpha, beta)
        same.append(np.abs(factors / taken - 1).max() < 1e-5)
        quantized, errors_of_peers = inputs(x / factors, case['recipe']['activations'], factors)[0], 0
        for peer in case['peers']:
            weight = tensor(peer)
            branch = truncated(weight * factors, case['recipe']['lowRank']['rank'])
            y = quantized @ nearest(weight * factors - branch, case['recipe']['weights'])[0].T + x / factors @ branch.T
            errors_of_peers += np.sum((y - x @ weight.T)**2) / np.sum((x @ weight.T)**2)
        errors.append(errors_of_peers)
    chosen = int(np.argmax(same))
    assert same[chosen], 'the smoothing factors are those of no candidate'
    assert errors[chosen] <= 1.05 * min(errors), f'candidate {grid[chosen]} has the error {errors[chosen]:.3e}, the best {min(errors):.3e}'
    return balance(steps.max(0), w, *grid[chosen])


def smoothing(case):
    kind = case['recipe']['smooth']
    if kind is None:
        return None
    steps, w = np.array(case['absMax']), np.max([np.abs(tensor(peer)).max(0) for peer in case['peers']], axis=0)
    if kind['kind'] == 'search':
        return search(case, steps, w)
    if kind['kind'] == 'absmax':
        return balance(steps.max(0), w, 1, 0)
    if kind['kind'] == 'csb':
        return balance(salience_over_time(steps, w), w, .5, .5)
    return balance(steps.max(0), w, kind['alpha'], kind['beta'])


# --- rotations, as R [d, d]: x -> x R^T

def blocks(matrices, width):
    """Block-diagonal; one matrix is shared by all blocks."""
    size = matrices.shape[1]
    whole = np.zeros((width, width))
    for i in range(width // size):
        whole[i * size:(i + 1) * size, i * size:(i + 1) * size] = matrices[i % len(matrices)]
    return whole


def outlier_aware(case, x, fitted):
    """DuQuant: blocks, permutation, blocks. Orthogonal, one matrix for all blocks, and no larger range of values than without."""
    width = x.shape[1]
    (first, order, second) = (tensor(fitted[0]['matrices']), tensor(fitted[1]['sources']).astype(int), tensor(fitted[2]['matrices']))
    assert first.shape == second.shape == (1, 128, 128), f'{first.shape}, {second.shape}'
    assert sorted(order) == list(range(width)), 'no permutation'
    once = x @ blocks(first, width).T
    dealt = once[:, order]
    twice = dealt @ blocks(second, width).T
    assert np.ptp(once) <= np.ptp(x) * (1 + 1e-6) and np.ptp(twice) <= np.ptp(dealt) * (1 + 1e-6), 'a rotation made the range larger'
    keys = np.abs(once).max(0) if case['recipe']['rotate']['kind'] == 'outlier-aware' else np.ptp(once, axis=0)
    share = keys[order].reshape(-1, 128).sum(1)
    assert np.ptp(share) <= np.ptp(np.sort(keys)[::-1].reshape(-1, 128).sum(1)) + 1e-9, 'the outliers are not dealt out'
    return blocks(second, width) @ np.eye(width)[order] @ blocks(first, width)


def principal(case, fitted):
    """DiRotQ: y = (U blkdiag(R_low, I))^T x with eigenvectors of the damped second moments, the largest last."""
    (matrix,) = tensor(fitted[0]['matrices'])
    moments = tensor(case['moments'])
    low = len(moments) - case['tail']
    mixed = matrix.copy()
    mixed[:low] = random_orthogonal(low, case['recipe']['rotate']['seed']) @ matrix[:low]
    turned = mixed @ moments @ mixed.T
    values = np.linalg.eigvalsh(moments)
    assert np.abs(turned - np.diag(np.diag(turned))).max() <= 1e-5 * values[-1], 'the second moments are not diagonal in the basis'
    assert np.abs(np.sort(np.diag(turned))[low:].sum() / values[low:].sum() - 1) <= 1e-4 and np.diag(turned)[low:].min() >= np.diag(turned)[:low].max() * (1 - 1e-4), 'the tail does not hold the largest components'
    return matrix


def rotation(case, x, fitted):
    kind, width = case['recipe']['rotate'], x.shape[1]
    if kind is None:
        return np.eye(width)
    if kind['kind'] == 'adaptive':
        salient = np.sqrt(np.trace(tensor(case['moments'])) / width) >= kind['threshold']
        assert case['rotation'] == ('outlier-aware' if salient else 'hadamard'), f'chose {case["rotation"]}'
        return outlier_aware(case, x, fitted) if salient else hadamard(np.eye(width), kind['seed'], case['order']).T
    if kind['kind'] == 'rpbh':
        return rpbh(width, kind['seed'])
    if kind['kind'] == 'hadamard':
        return hadamard(np.eye(width), kind['seed'], case['order']).T
    return outlier_aware(case, x, fitted) if kind['kind'] == 'outlier-aware' else principal(case, fitted)


# --- quantizers: for every group the levels and the edges between them

def adopt(exact, dtype, given):
    """As stored; a number within 2e-6 of the middle between two stored ones goes where the engine's went."""
    if given is None:
        return stored(exact, dtype)
    either = (given == stored(exact * (1 - 2e-6), dtype)) | (given == stored(exact * (1 + 2e-6), dtype))
    return np.where(either, given, stored(exact, dtype))


def integer_grid(low, high, q, given=None):
    """Scale and code of zero. methods.md 5."""
    half = 2**(q['bits'] - 1)
    if 'shift' in q:
        return adopt(np.maximum(high, 0) / (2 * half - 1), q['scale'], given), np.zeros(len(low))
    if q['symmetric']:
        return adopt(np.maximum(-low, high) / (half - 1), q['scale'], given), np.full(len(low), half)
    scale = adopt((np.maximum(high, 0) - np.minimum(low, 0)) / (2 * half - 1), q['scale'], given)
    return scale, np.clip(np.rint(-np.minimum(low, 0) / np.where(scale > 0, scale, 1)), 0, 2 * half - 1)


def searched_grid(v, q, given):
    """QuaRot: the ratio of the range, 1, .99 ... .21, with the least sum of |error|^2.4. Ratios within 1e-5 of the least are ties."""
    tried, errors = [], []
    for i in range(80):
        scale, zero = integer_grid(v.min(1) * (1 - i / 100), v.max(1) * (1 - i / 100), q, given)
        s, z = scale[:, None], zero[:, None]
        rounded = (np.clip(np.rint(v / np.where(s > 0, s, 1)) + z, 0, 2**q['bits'] - 1) - z) * s
        tried.append((scale, zero))
        errors.append((np.abs(v - rounded)**2.4).sum(1))
    scales, zeros, errors = np.array([t[0] for t in tried]), np.array([t[1] for t in tried]), np.array(errors)
    best = errors.argmin(0)
    if given is not None:
        tied = (errors <= errors.min(0) * (1 + 1e-5)) & (scales == given)
        best = np.where(tied.any(0), tied.argmax(0), best)
    return np.take_along_axis(scales, best[None], 0)[0], np.take_along_axis(zeros, best[None], 0)[0]


def levels_of(v, q, given, limits):
    """Levels, edges, and whether a value on an edge goes up: integers round half to even."""
    if q['kind'] == 'codebook':
        width = v.shape[1]
        key = (width, q['bits'])
        marginals[key] = marginals.get(key) if key in marginals else Marginal(width).codebook(q['bits'])
        exact = np.linalg.norm(v, axis=1)
        edges = exact[:, None] * (marginals[key][1:] + marginals[key][:-1]) / 2
        return adopt(exact, q['norm'], given)[:, None] * marginals[key], edges, np.zeros(edges.shape, bool)
    ratio = q.get('clip', 1)
    if limits:
        scale, zero = integer_grid(np.full(len(v), limits[0]), np.full(len(v), limits[1]), q)
    elif ratio == 'mse':
        scale, zero = searched_grid(v, q, given)
    else:
        scale, zero = integer_grid(v.min(1) * ratio, v.max(1) * ratio, q, given)
    steps = np.arange(2**q['bits']) - zero[:, None]
    levels = steps * scale[:, None]
    return levels, (levels[:, 1:] + levels[:, :-1]) / 2, steps[:, 1:] % 2 == 0


def nearest(w, q, given=None, limits=None):
    """Decoded values, codes, and for every value the level across the nearest edge with the distance to that edge in steps; all in the shape of w."""
    if q['kind'] == 'keep':
        return w, None, w, np.full(w.shape, np.inf)
    if q['kind'] == 'twin-log':
        values = np.stack([twin_corrected(row, q['bits']) for row in w])
        return values, None, values, np.full(w.shape, np.inf)
    v = w.reshape(-1, size_of(q, w.shape[1]))
    return tuple(a.reshape(w.shape) for a in on_grid(v, *levels_of(v, q, given, limits)))


def inputs(x, q, factors, limits=None):
    """The same for activations behind the factors. SVDQuant's shift belongs to the inputs themselves: it is scaled like them."""
    shift = q.get('shift', 0) / factors
    values, codes, other, distance = nearest(x + shift, q, None, limits)
    return values - shift, codes, other - shift, distance


def on_grid(v, levels, edges, up):
    """v [groups, n], levels [groups, L], edges and up [groups, L - 1]."""
    code = np.where(up[:, None, :], v[:, :, None] >= edges[:, None, :], v[:, :, None] > edges[:, None, :]).sum(2)
    take = lambda table, at: np.take_along_axis(table, at, 1)
    below, above = np.maximum(code - 1, 0), np.minimum(code, edges.shape[1] - 1)
    edge = np.where(np.abs(v - take(edges, above)) < np.abs(v - take(edges, below)), above, below)
    step = take(levels, edge + 1) - take(levels, edge)
    return take(levels, code), code, take(levels, np.where(code == edge, edge + 1, edge)), np.abs(v - take(edges, edge)) / np.where(step > 0, step, np.inf)


def size_of(q, width):
    return q['group'] if isinstance(q.get('group'), int) else width


# --- solvers

def order_of(moments, solver, off):
    """Channels by descending diagonal. Neighbours within 1e-6 of each other may stand either way round, since the engine's moments are float32: `off` counts
    the engine's values that an order does not explain, and fewer decide."""
    diagonal = np.diag(moments)
    if not solver['actOrder']:
        return np.arange(len(diagonal))
    order = np.argsort(-diagonal, kind='stable')
    sorted_ = diagonal[order]
    for i in np.flatnonzero((sorted_[1:] > 0) & (sorted_[:-1] - sorted_[1:] <= 1e-6 * sorted_[:-1])):
        turned = order.copy()
        turned[[i, i + 1]] = order[[i + 1, i]]
        order = turned if off(turned) < off(order) else order
    return order


def gptq(w, moments, mean_diagonal, grid, taken, solver, order):
    """For the engine's values `taken`: where every weight had moved to when its turn came; and what the loop gives by itself. arXiv 2210.17323.

    The loop w[i:] -= e_i U[i, i:] with e_i = (w_i - q_i) / U_ii leaves W - Q = E U, so that E = (W - Q) U^-1, and what was rounded is q_i + e_i U_ii.
    """
    n, mean = w.shape[1], np.mean(np.diag(moments))
    damped = moments + solver['damping'] * max(1, mean_diagonal / mean) * mean * np.eye(n)
    upper = np.linalg.cholesky(np.linalg.inv(damped[order][:, order])).T
    moved = np.empty_like(w)
    moved[:, order] = taken[:, order] + np.linalg.solve(upper.T, (w - taken)[:, order].T).T * np.diag(upper)
    left, own = w[:, order].copy(), np.empty_like(w)
    levels = grid.reshape(len(w), -1, grid.shape[1])
    for i, channel in enumerate(order):
        candidates = levels[:, channel * levels.shape[1] // n]
        own[:, channel] = np.take_along_axis(candidates, np.abs(candidates - left[:, i:i + 1]).argmin(1)[:, None], 1)[:, 0]
        left[:, i:] -= ((left[:, i] - own[:, channel]) / upper[i, i])[:, None] * upper[i, i:]
    return moved, own


def proxy(difference, moments):
    return np.sum((difference @ moments) * difference)


def truncated(w, rank):
    """The best approximation of this rank, its factors stored in BF16."""
    values, vectors = np.linalg.eigh(w @ w.T)
    left, root = vectors[:, -rank:], np.maximum(values[-rank:], 0)**.25
    return stored(left * root, 'bf16') @ stored(left.T @ w / np.where(root > 0, root, 1)[:, None], 'bf16')


def low_rank(w, moments, q, rank, iterations):
    """SVDQuant: error of the branch, taken again from W - Q(R) while tr(D C D^T) falls, at most ten times here."""
    rest, least = w, np.inf
    for _ in range(min(iterations, 10)):
        residual = w - truncated(rest, rank)
        quantized = nearest(residual, q)[0]
        error = proxy(residual - quantized, moments)
        if error >= least:
            break
        rest, least = w - quantized, error
    return least


def static_range(x, q):
    """PTQ4DiT: of three percentiles the range that rounds best."""
    ordered, best = np.sort(x.ravel()), (np.inf, None)
    at = lambda share: ordered[int(np.floor(share * (len(ordered) - 1) + .5))]
    for percentile in (.999, .9999, .99999):
        low, high = min(0, at(1 - percentile)), max(0, at(percentile))
        error = np.sum((nearest(x.reshape(1, -1), {**q, 'scale': 'fp32'}, None, (low, high))[0] - x.reshape(1, -1))**2)
        best = min(best, (error, (low, high)), key=lambda pair: pair[0])
    return best[1]


# --- what the engine stored

def decode(file, q, n):
    """Codes, values and the stored scales or norms of a layer's file, from their documented format."""
    bits = q['bits']
    unpack = lambda packed, count: np.unpackbits(packed, axis=1, bitorder='little')[:, :count * bits].reshape(len(packed), count, bits) @ (1 << np.arange(bits))
    codes = unpack(file['codes'], n)
    if q['kind'] == 'codebook':
        return codes, file['norms'][:, None] * marginals[n, bits][codes], file['norms']
    if q['kind'] == 'twin-log':
        half, (up, up_step, down, down_step, offset) = 2**(bits - 1), file['ranges'].T[:, :, None]
        positive = np.maximum(2**(up + (codes - half) * up_step) - offset, 0)
        return codes, np.where(codes >= half, positive, -np.maximum(2**(down + (half - 1 - codes) * down_step) - offset, 0)), None
    scales = file['scales']
    zeros = unpack(file['zeros'], scales.shape[1]) if 'zeros' in file else np.full(scales.shape, 2**(bits - 1))
    spread = lambda sides: np.repeat(sides, n // scales.shape[1], axis=1)
    return codes, (codes - spread(zeros)) * spread(scales), scales.ravel()


def relative(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def check(case):
    """Raises AssertionError with the first thing that differs; returns numbers."""
    recipe, answer = case['recipe'], {}
    x, w = tensor(case['sample']), tensor(case['weight'])
    factors = smoothing(case)
    fitted = case['linear']['transforms'][0 if factors is None else 1:]
    factors = np.ones(x.shape[1]) if factors is None else factors
    r = rotation(case, x / factors, fitted)
    answer['orthogonality'] = float(np.abs(r @ r.T - np.eye(len(r))).max())
    xt, wt = x / factors @ r.T, w * factors @ r.T
    answer['product'] = relative(xt @ wt.T, x @ w.T)
    n = len(r) - case['tail']
    moments = tensor(case['moments']) / np.outer(factors, factors)
    moments = r @ moments @ r.T
    file = load(case['codes'])
    down, up = file.get('low_rank.down', np.zeros((1, len(r)))), file.get('low_rank.up', np.zeros((len(w), 1)))
    residual = (wt - up @ down)[:, :n]
    if recipe['lowRank']:
        answer['branch'] = proxy(residual - nearest(residual, recipe['weights'])[0], moments) / low_rank(wt, moments, recipe['weights'], recipe['lowRank']['rank'], recipe['lowRank']['iterations'])
    if recipe['weights']['kind'] == 'codebook':
        levels_of(residual[:1], recipe['weights'], None, None)
    codes, taken, given = decode(file, recipe['weights'], n)
    if recipe['solver']['kind'] == 'gptq':
        inner = moments[:n, :n]
        grid = levels_of(residual.reshape(-1, size_of(recipe['weights'], n)), recipe['weights'], given, None)
        solve = lambda order: gptq(residual, inner, np.mean(np.diag(moments)), grid[0], taken, recipe['solver'], order)
        rounded = lambda moved: [a.reshape(residual.shape) for a in on_grid(moved.reshape(len(grid[0]), -1), *grid)]
        order = order_of(inner, recipe['solver'], lambda order: np.sum(np.abs(rounded(solve(order)[0])[0] - taken) > 1e-6 * np.abs(taken)))
        moved, own = solve(order)
        answer['gptq'] = {'foreign': float(np.mean(own != taken)), 'loss': proxy(residual - taken, inner), 'own': proxy(residual - own, inner),
                          'rtn': proxy(residual - nearest(residual, recipe['weights'], given)[0], inner)}
        found = rounded(moved)
    else:
        found = nearest(residual, recipe['weights'], given)
    values = compare(residual, found, taken, codes, answer)
    whole = np.concatenate([values + (up @ down)[:, :n], stored(wt[:, n:], 'bf16')], axis=1)
    answer['dequantized'] = relative(load(case['dequantized'])['weight'], stored(whole @ r / factors, 'bf16'))
    limits = static_range(xt, recipe['activations']) if recipe['activations'].get('range') == 'static' else None
    if limits:
        given = case['linear']['activationRange']
        answer['range'] = max(abs(limits[0] - given['low']), abs(limits[1] - given['high'])) / (limits[1] - limits[0])
    y = load(case['output'])['y']
    answer['outputs'], answer['flips'] = outputs(y, inputs(xt[:, :n], recipe['activations'], factors[:n], limits), values, xt @ down.T @ up.T + xt[:, n:] @ stored(wt[:, n:], 'bf16').T)
    answer['error'] = relative(y, x @ w.T)
    return answer


def compare(w, found, taken, codes, answer):
    """Where the engine's values differ, and whether a tie explains it. Returns the values with the engine's choice at ties."""
    values, own, other, distance = found
    foreign = np.abs(taken - values) > np.where(own is None, 1e-6 * np.abs(values), .01 * np.abs(other - values))
    if own is None:  # searched row by row: a row as good as ours is a tie, and so is one whose FP16 ranges went to the other neighbour
        tie = foreign & (((w - taken)**2).sum(1) <= ((w - values)**2).sum(1) * (1 + 1e-3))[:, None]
    else:
        tie = foreign & (distance < TIE) & (np.abs(taken - other) <= .01 * np.abs(other - values))
        answer['codes'] = int(np.sum((codes != own) & ~foreign))
    values = np.where(tie, taken, values)
    answer.update(ties=int(tie.sum()), foreign=int((foreign & ~tie).sum()), farthest=float(distance[tie].max(initial=0)) if own is not None else 0, weights=relative(taken, values), of=int(w.size))
    return values


def outputs(y, x, w, rest):
    """Relative difference of the outputs once values at an edge went the engine's way, row by row, and their number."""
    values, _, other, distance = x
    difference, flips = y - (values @ w.T + rest), 0
    for row in range(len(values)):
        at = np.flatnonzero((distance[row] < TIE) & (other[row] != values[row]))
        change = w[:, at] * (other - values)[row, at]
        taken = np.rint(np.clip(np.linalg.lstsq(change, difference[row], rcond=None)[0], 0, 1))
        difference[row] -= change @ taken
        flips += int(taken.sum())
    return float(np.linalg.norm(difference) / np.linalg.norm(y)), flips


# --- a layer with what makes quantization hard

def make(folder):
    """1152 -> 128: 6 input channels 40 times as large as the others in every token, weights from a t distribution with 4 degrees of freedom; four time steps of different strength."""
    random = np.random.default_rng(11)
    width, rows, steps = 1152, 256, 4
    channels = np.where(np.isin(np.arange(width), random.choice(width, 6, replace=False)), 40, 1) * np.exp(.3 * random.standard_normal(width))
    x = random.standard_normal((steps, rows, width)) * channels * np.linspace(.5, 1.5, steps)[:, None, None] * np.exp(.2 * random.standard_normal((steps, 1, width)))
    x = x.astype(np.float32)
    flat = x.reshape(-1, width)
    save(f'{folder}/planted.safetensors', {'layer.weight': (random.standard_t(4, (128, width)) / width**.5).astype(np.float32)})
    save(f'{folder}/statistics.safetensors', {'absMax': np.abs(x).max(1), 'sample': flat[::21].copy(), 'moments': (flat.T.astype(float) @ flat / len(flat)).astype(np.float32)})


def main():
    if sys.argv[1] == 'make':
        make(sys.argv[2])
        return print('null')
    answers = {}
    for case in json.load(sys.stdin)['cases']:
        try:
            answers[case['name']] = check(case)
        except AssertionError as error:
            answers[case['name']] = {'failed': str(error)}
    print(json.dumps(answers))


if __name__ == '__main__':
    main()

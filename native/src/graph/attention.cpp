// softmax(q kᵀ / √d + bias) v per head, exact, without ever holding the whole score matrix.
#include <algorithm>
#include <cmath>

#include "graph/ops.h"
#include "linear/gemm.h"

namespace quantscope {

void check(AttentionOp& op, Checks& to) {
    const Shape& q = to.read(op.q, "q");
    const Shape& k = to.read(op.k, "k");
    const Shape& v = to.read(op.v, "v");
    to.require(q.size() == 2 && k.size() == 2 && q[1] == k[1] && k == v,
               "expected q [T, width], k and v [S, width]; found " + describe(q) + ", " + describe(k) + " and " + describe(v));
    to.require(op.heads >= 1 && q[1] % op.heads == 0,
               "heads: " + std::to_string(q[1]) + " columns do not split into " + std::to_string(op.heads) + " heads");
    if (op.bias) {
        const Shape& bias = to.read(*op.bias, "bias");
        to.require(elementsOf(bias) == k[0],
                   "bias is " + describe(bias) + ", expected one value for each of the " + std::to_string(k[0]) + " keys");
    }
    const Shape& out = to.write(op.out);
    to.require(out == q, "out is " + describe(out) + ", q is " + describe(q));
    to.addFlops(4.0 * static_cast<double>(q[0]) * static_cast<double>(k[0]) * static_cast<double>(q[1]));
}

void run(const AttentionOp& op, Run& in) {
    const size_t queries = in.shape(op.q)[0];
    const size_t keys = in.shape(op.k)[0];
    const size_t width = in.shape(op.q)[1];
    const size_t d = width / op.heads;
    const float scale = 1.0f / std::sqrt(static_cast<float>(d));
    const float* bias = op.bias ? in.in(*op.bias) : nullptr;
    // A block of scores of about a mebibyte stays in the second-level cache between its three passes.
    const size_t block = std::clamp<size_t>((size_t{1} << 18) / keys, 16, 128);
    const size_t blocks = (queries + block - 1) / block;
    in.workers.tiles(op.heads * blocks, [&](size_t tile, unsigned worker) {
        const size_t column = tile / blocks * d;
        const size_t first = tile % blocks * block;
        const size_t count = std::min(block, queries - first);
        float* scores = in.memory[worker].panel.get<float>(block * keys);
        float* out = in.out(op.out) + first * width + column;
        multiplyTransposed(count, keys, d, scale, in.in(op.q) + first * width + column, width, in.in(op.k) + column, width, 0.0f,
                           scores, keys);
        float sums[128];
        for (size_t i = 0; i < count; ++i) {
            float* row = scores + i * keys;
            if (bias != nullptr) {
                for (size_t j = 0; j < keys; ++j) {
                    row[j] += bias[j];
                }
            }
            sums[i] = static_cast<float>(in.kernels.expSum(row, keys, in.kernels.range(row, keys).highest));
        }
        multiply(count, d, keys, scores, keys, in.in(op.v) + column, width, 0.0f, out, width);
        for (size_t i = 0; i < count; ++i) {
            in.kernels.multiply(out + i * width, d, 1.0f / sums[i]);
        }
        in.workers.advance(4.0 * static_cast<double>(count) * static_cast<double>(keys) * static_cast<double>(d));
    });
}

}  // namespace quantscope

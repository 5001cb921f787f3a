// With P = softmax(q kᵀ / √d + bias) and y = P v, per head:
//     dv = Pᵀ dy,   dS = P ∘ (dy vᵀ - rowsum(dy ∘ y)),   dq = dS k / √d,   dk = dSᵀ q / √d.
// P is computed again, a block of queries at a time: memory stays linear in the number of keys.
#include <algorithm>
#include <cmath>

#include "linear/gemm.h"
#include "reconstruct/reverse.h"

namespace quantscope {

namespace {

constexpr size_t kQueries = 64;

/// Adds `count` rows of `width` values to rows that are `stride` apart.
void addRows(const float* source, size_t count, size_t width, float* target, size_t stride) {
    for (size_t i = 0; i < count; ++i) {
        for (size_t j = 0; j < width; ++j) {
            target[i * stride + j] += source[i * width + j];
        }
    }
}

}  // namespace

void backward(const AttentionOp& op, const Reverse& to) {
    const Run& in = to.values;
    const size_t queries = in.shape(op.q)[0];
    const size_t keys = in.shape(op.k)[0];
    const size_t width = in.shape(op.q)[1];
    const size_t d = width / op.heads;
    const float scale = 1.0f / std::sqrt(static_cast<float>(d));
    const float* const bias = op.bias ? in.in(*op.bias) : nullptr;
    // One tile a head: every head writes columns of its own, and adds its queries up in order.
    in.workers.tiles(op.heads, [&](size_t head, unsigned worker) {
        const size_t column = head * d;
        const float* const k = in.in(op.k) + column;
        const float* const v = in.in(op.v) + column;
        float* const scores = in.memory[worker].panel.get<float>(2 * kQueries * keys);
        float* const slopes = scores + kQueries * keys;
        float* const product = in.memory[worker].spare.get<float>(std::max(keys, kQueries) * d);
        for (size_t first = 0; first < queries; first += kQueries) {
            in.workers.checkCancelled();
            const size_t count = std::min(kQueries, queries - first);
            const size_t at = first * width + column;
            const float* const q = in.in(op.q) + at;
            const float* const dy = to.gradient(op.out) + at;
            const float* const y = in.in(op.out) + at;
            multiplyTransposed(count, keys, d, scale, q, width, k, width, 0.0f, scores, keys);
            for (size_t i = 0; i < count; ++i) {
                float* const row = scores + i * keys;
                for (size_t j = 0; bias != nullptr && j < keys; ++j) {
                    row[j] += bias[j];
                }
                const double sum = in.kernels.expSum(row, keys, in.kernels.range(row, keys).highest);
                in.kernels.multiply(row, keys, static_cast<float>(1.0 / sum));
            }
            if (float* const dv = to.gradient(op.v)) {
                multiplyColumns(keys, d, count, scores, keys, dy, width, product, d);
                addRows(product, keys, d, dv + column, width);
            }
            if (to.gradient(op.q) == nullptr && to.gradient(op.k) == nullptr) {
                continue;
            }
            multiplyTransposed(count, keys, d, 1.0f, dy, width, v, width, 0.0f, slopes, keys);
            for (size_t i = 0; i < count; ++i) {
                double along = 0;
                for (size_t j = 0; j < d; ++j) {
                    along += static_cast<double>(dy[i * width + j]) * y[i * width + j];
                }
                const auto mean = static_cast<float>(along);
                for (size_t j = i * keys; j < (i + 1) * keys; ++j) {
                    slopes[j] = scores[j] * (slopes[j] - mean) * scale;
                }
            }
            if (float* const dq = to.gradient(op.q)) {
                multiply(count, d, keys, slopes, keys, k, width, 0.0f, product, d);
                addRows(product, count, d, dq + at, width);
            }
            if (float* const dk = to.gradient(op.k)) {
                multiplyColumns(keys, d, count, slopes, keys, q, width, product, d);
                addRows(product, keys, d, dk + column, width);
            }
        }
    });
}

}  // namespace quantscope

// With y = x̂ w + b, x̂ = (x - mean) / s and g = dy w:  dx = (g - mean(g) - x̂ mean(g x̂)) / s. The RMS norm has no mean, and no mean(g).
#include <cmath>

#include "reconstruct/reverse.h"

namespace quantscope {

namespace {

/// dx += derivative of one row. `weight` may be null. In double: rows are short beside the products around them.
void addRow(const float* x, const float* dy, const float* weight, size_t width, double eps, bool centred, float* dx) {
    const auto n = static_cast<double>(width);
    double mean = 0;
    for (size_t i = 0; centred && i < width; ++i) {
        mean += x[i];
    }
    mean /= n;
    double squares = 0;
    double sumG = 0;
    double sumGx = 0;
    for (size_t i = 0; i < width; ++i) {
        const double value = x[i] - mean;
        const double g = weight != nullptr ? static_cast<double>(dy[i]) * weight[i] : dy[i];
        squares += value * value;
        sumG += g;
        sumGx += g * value;
    }
    const double inverse = 1.0 / std::sqrt(squares / n + eps);
    const double meanG = centred ? sumG / n : 0.0;
    const double slope = sumGx / n * inverse * inverse;
    for (size_t i = 0; i < width; ++i) {
        const double g = weight != nullptr ? static_cast<double>(dy[i]) * weight[i] : dy[i];
        dx[i] += static_cast<float>((g - meanG - (x[i] - mean) * slope) * inverse);
    }
}

void addRows(Buffer in, Buffer out, const std::vector<float>& weight, double eps, bool centred, const Reverse& to) {
    const uint64_t width = lastOf(to.values.shape(in));
    to.values.workers.rows(to.values.rows(in), width, [&](uint64_t begin, uint64_t end) {
        for (uint64_t i = begin * width; i < end * width; i += width) {
            addRow(to.values.in(in) + i, to.gradient(out) + i, weight.empty() ? nullptr : weight.data(), width, eps, centred, to.gradient(in) + i);
        }
    });
}

}  // namespace

void backward(const LayerNormOp& op, const Reverse& to) {
    const auto weight = op.weight ? load(*op.weight->tensor, to.values.kernels) : std::vector<float>();
    addRows(op.x, op.out, weight, op.eps, true, to);
}

void backward(const RmsNormOp& op, const Reverse& to) { addRows(op.x, op.out, load(*op.weight.tensor, to.values.kernels), op.eps, false, to); }

}  // namespace quantscope

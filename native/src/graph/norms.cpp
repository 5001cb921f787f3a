// Normalisations: layernorm, rmsnorm, groupnorm, channelnorm.
#include <algorithm>
#include <cmath>

#include "graph/ops.h"

namespace quantscope {

namespace {

/// Sum of term(x[i]): float over short runs, where the compiler can use vectors, double beyond.
template <class Term>
double sumOf(const float* x, size_t n, Term term) {
    constexpr size_t kLanes = 16;
    constexpr size_t kRun = 64 * kLanes;
    double sum = 0;
    size_t i = 0;
    while (i + kLanes <= n) {
        float lanes[kLanes] = {};
        for (const size_t end = std::min(n, i + kRun); i + kLanes <= end; i += kLanes) {
            for (size_t k = 0; k < kLanes; ++k) {
                lanes[k] += term(x[i + k]);
            }
        }
        for (const float lane : lanes) {
            sum += lane;
        }
    }
    for (; i < n; ++i) {
        sum += term(x[i]);
    }
    return sum;
}

struct Moments {
    float mean;
    float inverse;  ///< 1 / sqrt(variance + eps), biased variance
};

Moments momentsOf(const float* x, size_t n, double eps) {
    const float mean = static_cast<float>(sumOf(x, n, [](float v) { return v; }) / static_cast<double>(n));
    const double squares = sumOf(x, n, [mean](float v) { return (v - mean) * (v - mean); });
    return {mean, static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(n) + eps))};
}

void requirePositive(double eps, Checks& to) { to.require(eps > 0 && std::isfinite(eps), "eps: expected a positive number"); }

void requireSame(const Shape& out, const Shape& x, Checks& to) {
    to.require(out == x, "out is " + describe(out) + ", x is " + describe(x));
}

}  // namespace

void check(LayerNormOp& op, Checks& to) {
    const Shape& x = to.read(op.x, "x");
    requirePositive(op.eps, to);
    if (op.weight) {
        to.open(*op.weight, "weight", lastOf(x));
    }
    if (op.bias) {
        to.open(*op.bias, "bias", lastOf(x));
    }
    requireSame(to.write(op.out), x, to);
}

void run(const LayerNormOp& op, Run& in) {
    const size_t width = lastOf(in.shape(op.x));
    const auto weight = op.weight ? load(*op.weight->tensor, in.kernels) : std::vector<float>(width, 1.0f);
    const auto bias = op.bias ? load(*op.bias->tensor, in.kernels) : std::vector<float>(width, 0.0f);
    in.workers.rows(in.rows(op.x), width, [&](uint64_t begin, uint64_t end) {
        for (uint64_t row = begin; row < end; ++row) {
            const float* x = in.in(op.x) + row * width;
            float* y = in.out(op.out) + row * width;
            const Moments m = momentsOf(x, width, op.eps);
            for (size_t i = 0; i < width; ++i) {
                y[i] = (x[i] - m.mean) * m.inverse * weight[i] + bias[i];
            }
        }
    });
}

void check(RmsNormOp& op, Checks& to) {
    const Shape& x = to.read(op.x, "x");
    requirePositive(op.eps, to);
    to.open(op.weight, "weight", lastOf(x));
    requireSame(to.write(op.out), x, to);
}

void run(const RmsNormOp& op, Run& in) {
    const size_t width = lastOf(in.shape(op.x));
    const auto weight = load(*op.weight.tensor, in.kernels);
    in.workers.rows(in.rows(op.x), width, [&](uint64_t begin, uint64_t end) {
        for (uint64_t row = begin; row < end; ++row) {
            const float* x = in.in(op.x) + row * width;
            float* y = in.out(op.out) + row * width;
            const double mean = sumOf(x, width, [](float v) { return v * v; }) / static_cast<double>(width);
            const float inverse = static_cast<float>(1.0 / std::sqrt(mean + op.eps));
            for (size_t i = 0; i < width; ++i) {
                y[i] = x[i] * inverse * weight[i];
            }
        }
    });
}

void check(GroupNormOp& op, Checks& to) {
    const Shape& x = to.read(op.x, "x");
    to.require(!x.empty(), "x: expected channels as the first axis");
    requirePositive(op.eps, to);
    to.require(op.groups >= 1 && x[0] % op.groups == 0,
               "groups: " + std::to_string(op.groups) + " does not divide " + std::to_string(x[0]) + " channels");
    to.open(op.weight, "weight", x[0]);
    to.open(op.bias, "bias", x[0]);
    requireSame(to.write(op.out), x, to);
}

void run(const GroupNormOp& op, Run& in) {
    const uint64_t channels = in.shape(op.x)[0];
    const uint64_t size = in.elements(op.x) / channels;
    const uint64_t perGroup = channels / op.groups;
    const auto weight = load(*op.weight.tensor, in.kernels);
    const auto bias = load(*op.bias.tensor, in.kernels);
    in.workers.tiles(op.groups, [&](size_t group, unsigned) {
        const uint64_t first = group * perGroup;
        const Moments m = momentsOf(in.in(op.x) + first * size, perGroup * size, op.eps);
        for (uint64_t c = first; c < first + perGroup; ++c) {
            const float* x = in.in(op.x) + c * size;
            float* y = in.out(op.out) + c * size;
            for (uint64_t i = 0; i < size; ++i) {
                y[i] = (x[i] - m.mean) * m.inverse * weight[c] + bias[c];
            }
        }
    });
}

void check(ChannelNormOp& op, Checks& to) {
    const Shape& x = to.read(op.x, "x");
    to.require(!x.empty(), "x: expected channels as the first axis");
    to.open(op.weight, "weight", x[0]);
    requireSame(to.write(op.out), x, to);
}

void run(const ChannelNormOp& op, Run& in) {
    const uint64_t channels = in.shape(op.x)[0];
    const uint64_t size = in.elements(op.x) / channels;
    auto weight = load(*op.weight.tensor, in.kernels);
    for (float& w : weight) {
        w *= std::sqrt(static_cast<float>(channels));
    }
    // A few hundred neighbouring positions at a time: channel by channel, the inner loops stay in consecutive memory.
    constexpr uint64_t kPositions = 256;
    in.workers.tiles((size + kPositions - 1) / kPositions, [&](size_t tile, unsigned) {
        const uint64_t first = tile * kPositions;
        const uint64_t count = std::min(kPositions, size - first);
        double squares[kPositions] = {};
        float inverse[kPositions];
        for (uint64_t c = 0; c < channels; ++c) {
            const float* x = in.in(op.x) + c * size + first;
            for (uint64_t i = 0; i < count; ++i) {
                squares[i] += static_cast<double>(x[i]) * x[i];
            }
        }
        for (uint64_t i = 0; i < count; ++i) {
            inverse[i] = static_cast<float>(1.0 / std::max(std::sqrt(squares[i]), 1e-12));
        }
        for (uint64_t c = 0; c < channels; ++c) {
            const float* x = in.in(op.x) + c * size + first;
            float* y = in.out(op.out) + c * size + first;
            for (uint64_t i = 0; i < count; ++i) {
                y[i] = x[i] * inverse[i] * weight[c];
            }
        }
    });
}

}  // namespace quantscope

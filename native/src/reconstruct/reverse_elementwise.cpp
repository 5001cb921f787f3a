#include <algorithm>
#include <cmath>

#include "reconstruct/reverse.h"

namespace quantscope {

namespace {

/// target[j] += sum over rows of term(row · width + j), in the order of the rows.
template <class Term>
void addColumnSums(uint64_t rows, uint64_t width, Workers& workers, float* target, Term term) {
    constexpr uint64_t kColumns = 64;
    workers.tiles((width + kColumns - 1) / kColumns, [&](size_t tile, unsigned) {
        const uint64_t first = tile * kColumns;
        const uint64_t count = std::min(kColumns, width - first);
        double sums[kColumns] = {};
        for (uint64_t row = 0; row < rows; ++row) {
            for (uint64_t j = 0; j < count; ++j) {
                sums[j] += term(row * width + first + j);
            }
        }
        for (uint64_t j = 0; j < count; ++j) {
            target[first + j] += static_cast<float>(sums[j]);
        }
    });
}

/// Calls body(i) for every value of a buffer.
template <class Body>
void eachValue(const Run& in, Buffer buffer, Body body) {
    in.workers.rows(in.elements(buffer), 1, [&](uint64_t begin, uint64_t end) {
        for (uint64_t i = begin; i < end; ++i) {
            body(i);
        }
    });
}

/// Steps of a broadcast operand along the axes of the result; 0 where it repeats.
std::vector<uint64_t> stepsOf(const Shape& shape, const Shape& result) {
    std::vector<uint64_t> steps(result.size(), 0);
    uint64_t step = 1;
    for (size_t i = 0; i < shape.size(); ++i) {
        const uint64_t size = shape[shape.size() - 1 - i];
        steps[result.size() - 1 - i] = size == 1 ? 0 : step;
        step *= size;
    }
    return steps;
}

uint64_t placeOf(uint64_t index, const Shape& shape, const std::vector<uint64_t>& steps) {
    uint64_t place = 0;
    for (size_t axis = shape.size(); axis-- > 0;) {
        place += index % shape[axis] * steps[axis];
        index /= shape[axis];
    }
    return place;
}

/// d operand += dy · factor(place in the other operand), summed over where the operand repeats.
template <class Factor>
void addOperand(Buffer operand, Buffer other, Buffer out, const Reverse& to, Factor factor) {
    const Run& in = to.values;
    const Shape& shape = in.shape(out);
    float* const target = to.gradient(operand);
    const float* const dy = to.gradient(out);
    if (in.shape(operand) == shape && in.shape(other) == shape) {
        eachValue(in, out, [&](uint64_t i) { target[i] += dy[i] * factor(i); });
        return;
    }
    // On one thread: tables of a few rows, and sums that must not depend on the threads.
    const auto own = stepsOf(in.shape(operand), shape);
    const auto others = stepsOf(in.shape(other), shape);
    std::vector<double> sums(in.elements(operand));
    for (uint64_t i = 0; i < in.elements(out); ++i) {
        sums[placeOf(i, shape, own)] += static_cast<double>(dy[i]) * factor(placeOf(i, shape, others));
    }
    for (size_t i = 0; i < sums.size(); ++i) {
        target[i] += static_cast<float>(sums[i]);
    }
}

/// Derivative of the function at x; values beyond exp's range give its limits.
double slopeOf(UnaryKind kind, double x) {
    switch (kind) {
        case UnaryKind::Silu: {
            const double sigmoid = 1.0 / (1.0 + std::exp(-x));
            return sigmoid * (1.0 + x * (1.0 - sigmoid));
        }
        case UnaryKind::GeluTanh: {
            constexpr double kRoot = 0.7978845608028654;  // sqrt(2 / π)
            constexpr double kCubic = 0.044715;
            const double t = std::tanh(kRoot * (x + kCubic * x * x * x));
            return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * kRoot * (1.0 + 3.0 * kCubic * x * x);
        }
        case UnaryKind::Tanh: {
            const double t = std::tanh(x);
            return 1.0 - t * t;
        }
        case UnaryKind::Relu: return x > 0 ? 1.0 : 0.0;
    }
    return 0;
}

}  // namespace

void backward(const ModulateOp& op, const Reverse& to) {
    const Run& in = to.values;
    const uint64_t width = lastOf(in.shape(op.x));
    const uint64_t rows = in.rows(op.x);
    const float* const x = in.in(op.x);
    const float* const scale = in.in(op.scale);
    const float* const dy = to.gradient(op.out);
    if (float* const dx = to.gradient(op.x)) {
        in.workers.rows(rows, width, [&](uint64_t begin, uint64_t end) {
            for (uint64_t row = begin; row < end; ++row) {
                for (uint64_t j = 0; j < width; ++j) {
                    dx[row * width + j] += dy[row * width + j] * (1.0f + scale[j]);
                }
            }
        });
    }
    if (float* const dShift = to.gradient(op.shift)) {
        addColumnSums(rows, width, in.workers, dShift, [&](uint64_t i) { return static_cast<double>(dy[i]); });
    }
    if (float* const dScale = to.gradient(op.scale)) {
        addColumnSums(rows, width, in.workers, dScale, [&](uint64_t i) { return static_cast<double>(dy[i]) * x[i]; });
    }
}

void backward(const GateAddOp& op, const Reverse& to) {
    const Run& in = to.values;
    const uint64_t width = lastOf(in.shape(op.x));
    const uint64_t rows = in.rows(op.x);
    const float* const gate = in.in(op.gate);
    const float* const y = in.in(op.y);
    const float* const dOut = to.gradient(op.out);
    if (float* const dx = to.gradient(op.x)) {
        eachValue(in, op.x, [&](uint64_t i) { dx[i] += dOut[i]; });
    }
    if (float* const dy = to.gradient(op.y)) {
        in.workers.rows(rows, width, [&](uint64_t begin, uint64_t end) {
            for (uint64_t row = begin; row < end; ++row) {
                for (uint64_t j = 0; j < width; ++j) {
                    dy[row * width + j] += dOut[row * width + j] * gate[j];
                }
            }
        });
    }
    if (float* const dGate = to.gradient(op.gate)) {
        addColumnSums(rows, width, in.workers, dGate, [&](uint64_t i) { return static_cast<double>(dOut[i]) * y[i]; });
    }
}

void backward(const BinaryOp& op, const Reverse& to) {
    const float* const a = to.values.in(op.a);
    const float* const b = to.values.in(op.b);
    const bool product = op.kind == BinaryKind::Mul;
    if (to.gradient(op.a) != nullptr) {
        addOperand(op.a, op.b, op.out, to, [&](uint64_t other) { return product ? b[other] : 1.0f; });
    }
    if (to.gradient(op.b) != nullptr) {
        const float sign = op.kind == BinaryKind::Sub ? -1.0f : 1.0f;
        addOperand(op.b, op.a, op.out, to, [&](uint64_t other) { return product ? a[other] : sign; });
    }
}

void backward(const UnaryOp& op, const Reverse& to) {
    const float* const x = to.values.in(op.x);
    const float* const dy = to.gradient(op.out);
    float* const dx = to.gradient(op.x);
    eachValue(to.values, op.x, [&](uint64_t i) { dx[i] += static_cast<float>(dy[i] * slopeOf(op.kind, x[i])); });
}

void backward(const AffineOp& op, const Reverse& to) {
    const float* const x = to.values.in(op.x);
    const float* const dy = to.gradient(op.out);
    float* const dx = to.gradient(op.x);
    const auto mul = static_cast<float>(op.mul);
    const auto add = static_cast<float>(op.add);
    eachValue(to.values, op.x, [&](uint64_t i) {
        const float value = mul * x[i] + add;
        const bool bounded = (op.low && value < static_cast<float>(*op.low)) || (op.high && value > static_cast<float>(*op.high));
        dx[i] += bounded ? 0.0f : mul * dy[i];
    });
}

/// The rotation turned back. Angles are data.
void backward(const RopeOp& op, const Reverse& to) {
    const Run& in = to.values;
    const uint64_t width = in.shape(op.x)[1];
    const uint64_t pairs = width / op.heads / 2;
    in.workers.rows(in.shape(op.x)[0], width, [&](uint64_t begin, uint64_t end) {
        for (uint64_t row = begin; row < end; ++row) {
            const float* cos = in.in(op.cos) + row * pairs;
            const float* sin = in.in(op.sin) + row * pairs;
            const float* dy = to.gradient(op.out) + row * width;
            float* dx = to.gradient(op.x) + row * width;
            for (uint64_t head = 0; head < op.heads; ++head, dx += 2 * pairs, dy += 2 * pairs) {
                for (uint64_t i = 0; i < pairs; ++i) {
                    dx[2 * i] += dy[2 * i] * cos[i] + dy[2 * i + 1] * sin[i];
                    dx[2 * i + 1] += dy[2 * i + 1] * cos[i] - dy[2 * i] * sin[i];
                }
            }
        }
    });
}

}  // namespace quantscope

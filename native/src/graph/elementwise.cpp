// Ops that take every value by itself or with its neighbour: modulate, gateAdd, binary, unary, affine, rope.
#include <algorithm>
#include <cmath>
#include <limits>

#include "graph/ops.h"
#include "graph/strides.h"

namespace quantscope {

namespace {

void requireVector(const Shape& shape, uint64_t width, const char* what, Checks& to) {
    to.require(elementsOf(shape) == width, std::string(what) + " is " + describe(shape) + ", expected " + std::to_string(width) +
                                               " values, one per column of x");
}

void requireSame(const Shape& a, const Shape& b, const char* what, Checks& to) {
    to.require(a == b, std::string(what) + " is " + describe(a) + ", x is " + describe(b));
}

/// Shape two shapes broadcast to by numpy's rule, or nothing.
std::optional<Shape> broadcast(const Shape& a, const Shape& b) {
    Shape result(std::max(a.size(), b.size()));
    for (size_t i = 0; i < result.size(); ++i) {  // from the last axis
        const uint64_t fromA = i < a.size() ? a[a.size() - 1 - i] : 1;
        const uint64_t fromB = i < b.size() ? b[b.size() - 1 - i] : 1;
        if (fromA != fromB && fromA != 1 && fromB != 1) {
            return std::nullopt;
        }
        result[result.size() - 1 - i] = std::max(fromA, fromB);
    }
    return result;
}

template <class Combine>
void combineRows(const BinaryOp& op, Run& in, Combine combine) {
    const Shape& shape = in.shape(op.out);
    const uint64_t width = lastOf(shape);
    const auto stepsA = broadcastSteps(in.shape(op.a), shape);
    const auto stepsB = broadcastSteps(in.shape(op.b), shape);
    const uint64_t stepA = stepsA.empty() ? 0 : stepsA.back();
    const uint64_t stepB = stepsB.empty() ? 0 : stepsB.back();
    in.workers.rows(in.rows(op.out), width, [&](uint64_t begin, uint64_t end) {
        for (uint64_t row = begin; row < end; ++row) {
            const float* a = in.in(op.a);
            const float* b = in.in(op.b);
            uint64_t rest = row;
            for (size_t axis = shape.size() - std::min<size_t>(1, shape.size()); axis-- > 0;) {
                a += rest % shape[axis] * stepsA[axis];
                b += rest % shape[axis] * stepsB[axis];
                rest /= shape[axis];
            }
            float* y = in.out(op.out) + row * width;
            if (stepA == 1 && stepB == 1) {
                for (uint64_t i = 0; i < width; ++i) {
                    y[i] = combine(a[i], b[i]);
                }
            } else {
                for (uint64_t i = 0; i < width; ++i) {
                    y[i] = combine(a[i * stepA], b[i * stepB]);
                }
            }
        }
    });
}

/// Calls body(begin, count) for pieces of all values of a buffer.
template <class Body>
void pieces(Run& in, Buffer buffer, Body body) {
    in.workers.rows(in.elements(buffer), 1, [&](uint64_t begin, uint64_t end) { body(begin, end - begin); });
}

}  // namespace

void check(ModulateOp& op, Checks& to) {
    const Shape& x = to.read(op.x, "x");
    requireVector(to.read(op.shift, "shift"), lastOf(x), "shift", to);
    requireVector(to.read(op.scale, "scale"), lastOf(x), "scale", to);
    requireSame(to.write(op.out), x, "out", to);
}

void run(const ModulateOp& op, Run& in) {
    const uint64_t width = lastOf(in.shape(op.x));
    const float* shift = in.in(op.shift);
    const float* scale = in.in(op.scale);
    in.workers.rows(in.rows(op.x), width, [&](uint64_t begin, uint64_t end) {
        for (uint64_t row = begin; row < end; ++row) {
            const float* x = in.in(op.x) + row * width;
            float* y = in.out(op.out) + row * width;
            for (uint64_t i = 0; i < width; ++i) {
                y[i] = x[i] * (1.0f + scale[i]) + shift[i];
            }
        }
    });
}

void check(GateAddOp& op, Checks& to) {
    const Shape& x = to.read(op.x, "x");
    requireVector(to.read(op.gate, "gate"), lastOf(x), "gate", to);
    requireSame(to.read(op.y, "y"), x, "y", to);
    requireSame(to.write(op.out), x, "out", to);
}

void run(const GateAddOp& op, Run& in) {
    const uint64_t width = lastOf(in.shape(op.x));
    const float* gate = in.in(op.gate);
    in.workers.rows(in.rows(op.x), width, [&](uint64_t begin, uint64_t end) {
        for (uint64_t row = begin; row < end; ++row) {
            const float* x = in.in(op.x) + row * width;
            const float* y = in.in(op.y) + row * width;
            float* out = in.out(op.out) + row * width;
            for (uint64_t i = 0; i < width; ++i) {
                out[i] = x[i] + gate[i] * y[i];
            }
        }
    });
}

void check(BinaryOp& op, Checks& to) {
    const Shape& a = to.read(op.a, "a");
    const Shape& b = to.read(op.b, "b");
    const std::optional<Shape> result = broadcast(a, b);
    to.require(result.has_value(), "a is " + describe(a) + ", b is " + describe(b) + "; they do not broadcast");
    const Shape& out = to.write(op.out);
    to.require(out == *result, "out is " + describe(out) + ", a and b broadcast to " + describe(*result));
}

void run(const BinaryOp& op, Run& in) {
    switch (op.kind) {
        case BinaryKind::Add: return combineRows(op, in, [](float a, float b) { return a + b; });
        case BinaryKind::Sub: return combineRows(op, in, [](float a, float b) { return a - b; });
        case BinaryKind::Mul: return combineRows(op, in, [](float a, float b) { return a * b; });
    }
}

void check(UnaryOp& op, Checks& to) {
    const Shape& x = to.read(op.x, "x");
    requireSame(to.write(op.out), x, "out", to);
}

void run(const UnaryOp& op, Run& in) {
    pieces(in, op.x, [&](uint64_t begin, uint64_t count) {
        const float* x = in.in(op.x) + begin;
        float* y = in.out(op.out) + begin;
        switch (op.kind) {
            case UnaryKind::Silu: return in.kernels.silu(x, y, count);
            case UnaryKind::GeluTanh: return in.kernels.geluTanh(x, y, count);
            case UnaryKind::Tanh: return in.kernels.tanh(x, y, count);
            case UnaryKind::Relu:
                for (uint64_t i = 0; i < count; ++i) {
                    y[i] = x[i] < 0 ? 0.0f : x[i];  // NaN stays NaN
                }
        }
    });
}

void check(AffineOp& op, Checks& to) {
    const Shape& x = to.read(op.x, "x");
    to.require(std::isfinite(op.mul) && std::isfinite(op.add), "mul and add: expected finite numbers");
    to.require(!op.low || !op.high || *op.low <= *op.high, "low: expected at most high");
    requireSame(to.write(op.out), x, "out", to);
}

void run(const AffineOp& op, Run& in) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    const float mul = static_cast<float>(op.mul);
    const float add = static_cast<float>(op.add);
    const float low = static_cast<float>(op.low.value_or(-kInfinity));
    const float high = static_cast<float>(op.high.value_or(kInfinity));
    pieces(in, op.x, [&](uint64_t begin, uint64_t count) {
        const float* x = in.in(op.x) + begin;
        float* y = in.out(op.out) + begin;
        for (uint64_t i = 0; i < count; ++i) {
            const float value = mul * x[i] + add;
            y[i] = value < low ? low : value > high ? high : value;  // NaN stays NaN
        }
    });
}

void check(RopeOp& op, Checks& to) {
    const Shape& x = to.read(op.x, "x");
    to.require(x.size() == 2, "x: expected [tokens, heads x d], found " + describe(x));
    to.require(
        op.heads >= 1 && x[1] % op.heads == 0 && x[1] / op.heads % 2 == 0,
        "heads: " + std::to_string(x[1]) + " columns do not split into " + std::to_string(op.heads) + " heads of even width");
    const Shape angles{x[0], x[1] / op.heads / 2};
    for (const auto& [buffer, what] : {std::pair{op.cos, "cos"}, std::pair{op.sin, "sin"}}) {
        const Shape& found = to.read(buffer, what);
        to.require(found == angles, std::string(what) + " is " + describe(found) + ", expected " + describe(angles));
    }
    requireSame(to.write(op.out), x, "out", to);
}

void run(const RopeOp& op, Run& in) {
    const uint64_t width = in.shape(op.x)[1];
    const uint64_t pairs = width / op.heads / 2;
    in.workers.rows(in.shape(op.x)[0], width, [&](uint64_t begin, uint64_t end) {
        for (uint64_t row = begin; row < end; ++row) {
            const float* cos = in.in(op.cos) + row * pairs;
            const float* sin = in.in(op.sin) + row * pairs;
            for (uint64_t head = 0; head < op.heads; ++head) {
                const float* x = in.in(op.x) + row * width + head * 2 * pairs;
                float* y = in.out(op.out) + row * width + head * 2 * pairs;
                for (uint64_t i = 0; i < pairs; ++i) {
                    const float a = x[2 * i];
                    const float b = x[2 * i + 1];
                    y[2 * i] = a * cos[i] - b * sin[i];
                    y[2 * i + 1] = a * sin[i] + b * cos[i];
                }
            }
        }
    });
}

}  // namespace quantscope

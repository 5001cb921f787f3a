// Ops that only move values: permute, slice, concat, resize. Reshapes and slices of whole rows move nothing: they are views.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "graph/ops.h"
#include "graph/strides.h"

namespace quantscope {

namespace {

/// True when the shape, which nobody has looked at yet, has this many elements.
bool hasElements(const Shape& shape, uint64_t elements) {
    uint64_t count = 1;
    for (const uint64_t size : shape) {
        if (size == 0 || size > elements / count) {
            return false;
        }
        count *= size;
    }
    return count == elements;
}

bool isIdentity(const std::vector<uint64_t>& axes) { return std::is_sorted(axes.begin(), axes.end()); }

bool isView(const SliceOp& op, const Shape& x) { return outerOf(x, op.axis) == 1; }

}  // namespace

void check(PermuteOp& op, Checks& to) {
    const Shape& x = to.read(op.x, "x");
    to.require(hasElements(op.shape, elementsOf(x)),
               "shape: x is " + describe(x) + ", which cannot be viewed as " + describe(op.shape));
    std::vector<uint64_t> sorted = op.axes;
    std::sort(sorted.begin(), sorted.end());
    std::vector<uint64_t> expected(op.shape.size());
    std::iota(expected.begin(), expected.end(), 0);
    to.require(sorted == expected, "axes: expected every axis of " + describe(op.shape) + " once, got " + describe(op.axes));
    const Shape& out = to.write(op.out);
    to.require(elementsOf(out) == elementsOf(x), "out is " + describe(out) + ", x is " + describe(x));
    if (isIdentity(op.axes)) {
        to.alias(op.out, op.x, 0);
    }
}

void run(const PermuteOp& op, Run& in) {
    if (isIdentity(op.axes)) {
        return;
    }
    const auto [sizes, sourceSteps] = PermuteWalk(op);
    const uint64_t width = sizes.back();
    const uint64_t step = sourceSteps.back();
    in.workers.rows(elementsOf(sizes) / width, width, [&](uint64_t begin, uint64_t end) {
        for (uint64_t row = begin; row < end; ++row) {
            const float* x = in.in(op.x);
            uint64_t rest = row;
            for (size_t axis = sizes.size() - 1; axis-- > 0;) {
                x += rest % sizes[axis] * sourceSteps[axis];
                rest /= sizes[axis];
            }
            float* y = in.out(op.out) + row * width;
            if (step == 1) {
                std::memcpy(y, x, width * sizeof(float));
            } else {
                for (uint64_t i = 0; i < width; ++i) {
                    y[i] = x[i * step];
                }
            }
        }
    });
}

void check(SliceOp& op, Checks& to) {
    const Shape& x = to.read(op.x, "x");
    to.require(op.axis < x.size(), "axis: x is " + describe(x) + ", there is no axis " + std::to_string(op.axis));
    to.require(op.start < op.end && op.end <= x[op.axis], "range: " + std::to_string(op.start) + " to " + std::to_string(op.end) +
                                                              " is outside of axis " + std::to_string(op.axis) + " of " +
                                                              describe(x));
    Shape expected = x;
    expected[op.axis] = op.end - op.start;
    const Shape& out = to.write(op.out);
    to.require(out == expected, "out is " + describe(out) + ", expected " + describe(expected));
    if (isView(op, x)) {
        to.alias(op.out, op.x, op.start * innerOf(x, op.axis));
    }
}

void run(const SliceOp& op, Run& in) {
    const Shape& shape = in.shape(op.x);
    if (isView(op, shape)) {
        return;
    }
    const uint64_t inner = innerOf(shape, op.axis);
    const uint64_t run = (op.end - op.start) * inner;
    in.workers.rows(outerOf(shape, op.axis), run, [&](uint64_t begin, uint64_t end) {
        for (uint64_t i = begin; i < end; ++i) {
            std::memcpy(in.out(op.out) + i * run, in.in(op.x) + (i * shape[op.axis] + op.start) * inner, run * sizeof(float));
        }
    });
}

void check(ConcatOp& op, Checks& to) {
    to.require(!op.xs.empty(), "xs: expected at least one buffer");
    Shape expected = to.read(op.xs[0], "xs[0]");
    to.require(op.axis < expected.size(),
               "axis: xs[0] is " + describe(expected) + ", there is no axis " + std::to_string(op.axis));
    for (size_t i = 1; i < op.xs.size(); ++i) {
        Shape x = to.read(op.xs[i], "xs");
        const uint64_t size = op.axis < x.size() ? x[op.axis] : 0;
        if (op.axis < x.size()) {
            x[op.axis] = expected[op.axis];
        }
        to.require(x == expected, "xs[" + std::to_string(i) + "] is " + describe(to.read(op.xs[i], "xs")) +
                                      ", it does not fit behind " + describe(expected) + " along axis " +
                                      std::to_string(op.axis));
        expected[op.axis] += size;
    }
    const Shape& out = to.write(op.out);
    to.require(out == expected, "out is " + describe(out) + ", expected " + describe(expected));
}

void run(const ConcatOp& op, Run& in) {
    const Shape& shape = in.shape(op.out);
    const uint64_t inner = innerOf(shape, op.axis);
    const uint64_t outer = outerOf(shape, op.axis);
    uint64_t position = 0;
    for (const Buffer x : op.xs) {
        const uint64_t run = in.shape(x)[op.axis] * inner;
        in.workers.rows(outer, run, [&](uint64_t begin, uint64_t end) {
            for (uint64_t i = begin; i < end; ++i) {
                std::memcpy(in.out(op.out) + i * shape[op.axis] * inner + position, in.in(x) + i * run, run * sizeof(float));
            }
        });
        position += run;
    }
}

void check(ResizeOp& op, Checks& to) {
    const Shape& x = to.read(op.x, "x");
    const Shape& out = to.write(op.out);
    to.require(out.size() == x.size(),
               "out is " + describe(out) + ", x is " + describe(x) + "; they need the same number of axes");
}

void run(const ResizeOp& op, Run& in) {
    const Shape& from = in.shape(op.x);
    const Shape& to = in.shape(op.out);
    const auto steps = stepsOf(from);
    const uint64_t width = lastOf(to);
    std::vector<uint32_t> columns(width);
    for (uint64_t i = 0; i < width; ++i) {
        columns[i] = static_cast<uint32_t>(i * lastOf(from) / width);
    }
    in.workers.rows(in.rows(op.out), width, [&](uint64_t begin, uint64_t end) {
        for (uint64_t row = begin; row < end; ++row) {
            const float* x = in.in(op.x);
            uint64_t rest = row;
            for (size_t axis = to.size() - std::min<size_t>(1, to.size()); axis-- > 0;) {
                x += rest % to[axis] * from[axis] / to[axis] * steps[axis];
                rest /= to[axis];
            }
            float* y = in.out(op.out) + row * width;
            for (uint64_t i = 0; i < width; ++i) {
                y[i] = x[columns[i]];
            }
        }
    });
}

}  // namespace quantscope

// How far apart the neighbours along each axis of a shape lie.
#pragma once

#include <algorithm>
#include <vector>

#include "graph/program.h"

namespace quantscope {

/// Product of the sizes after `axis`.
inline uint64_t innerOf(const Shape& shape, uint64_t axis) {
    return elementsOf(Shape(shape.begin() + static_cast<std::ptrdiff_t>(axis) + 1, shape.end()));
}

inline uint64_t outerOf(const Shape& shape, uint64_t axis) {
    return elementsOf(Shape(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(axis)));
}

inline std::vector<uint64_t> stepsOf(const Shape& shape) {
    std::vector<uint64_t> steps(shape.size(), 1);
    for (size_t i = shape.size(); i-- > 1;) {
        steps[i - 1] = steps[i] * shape[i];
    }
    return steps;
}

/// Steps of a broadcast operand along the axes of the result; 0 where it repeats.
inline std::vector<uint64_t> broadcastSteps(const Shape& shape, const Shape& result) {
    std::vector<uint64_t> steps(result.size(), 0);
    uint64_t step = 1;
    for (size_t i = 0; i < shape.size(); ++i) {
        const uint64_t size = shape[shape.size() - 1 - i];
        steps[result.size() - 1 - i] = size == 1 ? 0 : step;
        step *= size;
    }
    return steps;
}

/// What a permute walks along: sizes of its result, and the steps of x there.
struct PermuteWalk {
    Shape sizes;
    std::vector<uint64_t> xSteps;
    explicit PermuteWalk(const PermuteOp& op) {
        const auto steps = stepsOf(op.shape);
        for (const uint64_t axis : op.axes) {
            sizes.push_back(op.shape[axis]);
            xSteps.push_back(steps[axis]);
        }
    }
};

}  // namespace quantscope

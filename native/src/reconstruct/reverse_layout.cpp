// What moves values moves their gradients back. A view has its gradient inside the one of what it views: nothing is left to do.
#include "reconstruct/reverse.h"

namespace quantscope {

namespace {

/// Values between neighbours along `axis`.
uint64_t innerOf(const Shape& shape, uint64_t axis) {
    return elementsOf(Shape(shape.begin() + static_cast<std::ptrdiff_t>(axis) + 1, shape.end()));
}

/// target[i · targetStep + j] += source[i · sourceStep + j] for j below `run`.
void addRuns(uint64_t count, uint64_t run, const float* source, uint64_t sourceStep, float* target, uint64_t targetStep, Workers& workers) {
    workers.rows(count, run, [&](uint64_t begin, uint64_t end) {
        for (uint64_t i = begin; i < end; ++i) {
            for (uint64_t j = 0; j < run; ++j) {
                target[i * targetStep + j] += source[i * sourceStep + j];
            }
        }
    });
}

}  // namespace

void backward(const PermuteOp& op, const Reverse& to) {
    const float* const dy = to.gradient(op.out);
    float* const dx = to.gradient(op.x);
    if (dx == dy) {
        return;
    }
    std::vector<uint64_t> steps(op.shape.size(), 1);
    for (size_t axis = op.shape.size(); axis-- > 1;) {
        steps[axis - 1] = steps[axis] * op.shape[axis];
    }
    // Every value goes to a place of its own.
    to.values.workers.rows(to.values.elements(op.out), 1, [&](uint64_t begin, uint64_t end) {
        for (uint64_t i = begin; i < end; ++i) {
            uint64_t rest = i;
            uint64_t place = 0;
            for (size_t axis = op.axes.size(); axis-- > 0;) {
                place += rest % op.shape[op.axes[axis]] * steps[op.axes[axis]];
                rest /= op.shape[op.axes[axis]];
            }
            dx[place] += dy[i];
        }
    });
}

void backward(const SliceOp& op, const Reverse& to) {
    const Shape& shape = to.values.shape(op.x);
    const uint64_t inner = innerOf(shape, op.axis);
    const uint64_t run = (op.end - op.start) * inner;
    float* const target = to.gradient(op.x) + op.start * inner;
    if (target != to.gradient(op.out)) {
        addRuns(to.values.elements(op.out) / run, run, to.gradient(op.out), run, target, shape[op.axis] * inner, to.values.workers);
    }
}

void backward(const ConcatOp& op, const Reverse& to) {
    const Shape& shape = to.values.shape(op.out);
    const uint64_t inner = innerOf(shape, op.axis);
    const float* source = to.gradient(op.out);
    for (const Buffer x : op.xs) {
        const uint64_t run = to.values.shape(x)[op.axis] * inner;
        if (float* const dx = to.gradient(x)) {
            addRuns(to.values.elements(x) / run, run, source, shape[op.axis] * inner, dx, run, to.values.workers);
        }
        source += run;
    }
}

}  // namespace quantscope

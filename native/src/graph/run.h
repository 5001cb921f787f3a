// One execution of a program, as an op sees it.
#pragma once

#include <vector>

#include "base/workers.h"
#include "cpu/kernels.h"
#include "graph/program.h"
#include "linear/linear.h"

namespace quantscope {

struct Run {
    const Program& program;
    const std::vector<float*>& places;  ///< where each buffer begins
    Workers& workers;
    Linears* linears;  ///< null where linears run elsewhere
    const Kernels& kernels;
    std::vector<TileMemory>& memory;  ///< one per worker, for the time of one tile

    const Shape& shape(Buffer buffer) const { return program.buffers[buffer]; }
    uint64_t elements(Buffer buffer) const { return elementsOf(shape(buffer)); }
    /// Rows along the last axis.
    uint64_t rows(Buffer buffer) const { return elements(buffer) / lastOf(shape(buffer)); }
    const float* in(Buffer buffer) const { return places[buffer]; }
    float* out(Buffer buffer) const { return places[buffer]; }
};

/// The whole tensor as float32. For the small ones: norms, biases, tables of a few rows.
std::vector<float> load(const Tensor& tensor, const Kernels& kernels);

}  // namespace quantscope

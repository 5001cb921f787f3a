// Sizes of a convolution.
#pragma once

#include "graph/program.h"

namespace quantscope {

/// Images are videos of one frame.
struct ConvGeometry {
    uint64_t channels, frames, height, width;     // of x
    uint64_t outputs, kernelT, kernelH, kernelW;  // of the weight

    uint64_t outFrames() const { return frames - kernelT + 1; }
    uint64_t area() const { return height * width; }
    uint64_t patch() const { return channels * kernelT * kernelH * kernelW; }
    double flops(uint64_t positions) const {
        return 2.0 * static_cast<double>(positions) * static_cast<double>(outputs) * static_cast<double>(patch());
    }
};

inline ConvGeometry geometryOf(const Shape& x, const Shape& weight) {
    return x.size() == 3 ? ConvGeometry{x[0], 1, x[1], x[2], weight[0], 1, weight[2], weight[3]}
                         : ConvGeometry{x[0], x[1], x[2], x[3], weight[0], weight[2], weight[3], weight[4]};
}

}  // namespace quantscope

// The mid-rise quantizer: equal steps of a fixed width and no level at zero, so that codes are odd integers times half a step.
//
// Row norm r, width d: q = clamp(floor(w sqrt(d) / (r step)), -2^(b-1), 2^(b-1) - 1), value (q + 1/2) step r / sqrt(d), r rounded to
// its type. The step minimises the mean squared error on the sphere marginal of OrbitQuant (arXiv 2607.02461, Eq 2), so that rows
// need no range: in standard deviations .9957, .5860, .3352 and .1041 for 2, 3, 4 and 6 bits at large widths.
#pragma once

#include <memory>

#include "quantizer/coder.h"
#include "quantizer/quantizer.h"

namespace quantscope {

struct MidRiseStep {
    double step;        ///< in standard deviations 1 / sqrt(d)
    double distortion;  ///< relative mean squared error on the sphere marginal
};

/// Cached. width 1 has only the coordinates -1 and 1: its outer levels are those. Throws Error(Argument) as codebookFor() does.
MidRiseStep midRiseStep(uint64_t width, int bits);

/// Sides of a row: one number, its norm over sqrt(width), the norm rounded to its type. Codes are the levels from the lowest on.
std::shared_ptr<const Coder> makeMidRiseCoder(const MidRiseQuantizer& quantizer, uint64_t width, const Kernels& kernels);

}  // namespace quantscope

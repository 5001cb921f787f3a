// The factors of a low-rank branch in memory.
#pragma once

#include <string>
#include <vector>

#include "cpu/kernels.h"
#include "linear/recipe.h"

namespace quantscope {

struct LowRankFactors {
    uint64_t rank;
    std::vector<float> down;            ///< [rank, inputs]
    std::vector<float> downTransposed;  ///< [inputs, rank]
    std::vector<float> up;              ///< [outputs, rank]
};

/// Throws Error(Io), and Error(Argument) naming the file when `up` has another number of outputs or a factor is not finite.
LowRankFactors load(const LowRank& lowRank, uint64_t outputs, uint64_t inputs, const std::string& layer, const Kernels& kernels);

}  // namespace quantscope

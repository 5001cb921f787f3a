#include "linear/low_rank.h"

#include "base/error.h"

namespace quantscope {

LowRankFactors load(const LowRank& lowRank, uint64_t outputs, uint64_t inputs, const std::string& layer, const Kernels& kernels) {
    const uint64_t rank = lowRank.down.shape[0];
    if (lowRank.up.shape[0] != outputs) {
        failArgument(lowRank.up.file + ": the low-rank branch has " + std::to_string(lowRank.up.shape[0]) + " outputs, " + layer + " has " +
                     std::to_string(outputs) + ". Make the file again for this checkpoint.");
    }
    LowRankFactors factors{rank, readFloats(lowRank.down, kernels), std::vector<float>(inputs * rank), readFloats(lowRank.up, kernels)};
    for (const auto* values : {&factors.down, &factors.up}) {
        if (kernels.maxMagnitude(values->data(), values->size()) >= 0x7F800000) {
            failArgument(lowRank.down.file + ": the low-rank branch of " + layer + " holds NaN or infinite values. Make the file again.");
        }
    }
    for (uint64_t r = 0; r < rank; ++r) {
        for (uint64_t j = 0; j < inputs; ++j) {
            factors.downTransposed[j * rank + r] = factors.down[r * inputs + j];
        }
    }
    return factors;
}

}  // namespace quantscope

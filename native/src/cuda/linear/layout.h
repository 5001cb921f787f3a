// Where the parts of a layer lie: in its packed weights and in the scratch memory of one product.
#pragma once

#include <cstdint>
#include <numeric>
#include <string>

#include "cuda/api.h"

namespace quantscope::cuda {

inline constexpr uint64_t roundUp(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }
inline constexpr uint64_t kNowhere = ~uint64_t{0};

/// Hands out aligned places, one behind the other.
struct Places {
    uint64_t end = 0;
    uint64_t take(uint64_t bytes) {
        const uint64_t at = end;
        end += roundUp(bytes, 256);
        return at;
    }
};

enum class Arithmetic { Integers, Bf16, F32 };

/// What follows from a shape alone.
struct LinearPlan {
    Arithmetic arithmetic;
    bool nibbles;            ///< both sides' codes go to the tensor cores as they are
    bool unpacksCodes;       ///< those of the weights go as they are to where they are multiplied (hopper_codes.cuh)
    uint64_t group;          ///< inputs that share a scale on both sides
    uint64_t groups;
    uint64_t padded;         ///< bytes of a group as the tensor cores take it
    bool offsets;            ///< either side is asymmetric
    bool expandWeights;      ///< before each product; otherwise they are packed as the product reads them
    bool expandActivations;
    uint64_t codePitch;      ///< bytes of a row of packed weights
    uint64_t extraPitch;     ///< bytes of a row of tail and branch
    // In the packed weights.
    uint64_t codes = 0;
    uint64_t scales = 0;     ///< [groups][scaleStride]
    uint64_t wOffsets = kNowhere;
    uint64_t wSums = kNowhere;
    uint64_t extra = kNowhere;
    uint64_t bias = kNowhere;
    uint64_t bytes = 0;
    uint64_t scaleStride = 0;
};

/// Where the scratch memory of so many rows goes.
struct LinearScratch {
    uint64_t x = kNowhere;        ///< expanded codes, or bfloat16
    uint64_t xPitch = 0;
    uint64_t w = kNowhere;
    uint64_t wPitch = 0;
    uint64_t scales = kNowhere;
    uint64_t offsets = kNowhere;
    uint64_t sums = kNowhere;
    uint64_t scaleStride = 0;
    uint64_t extra = kNowhere;
    uint64_t bytes = 0;
};

/// The plan, or an empty one and why there is none.
LinearPlan planLinear(const LinearShape& shape, std::string& reason);
LinearScratch planScratch(const LinearShape& shape, const LinearPlan& plan, uint64_t rows);

inline bool isInteger(Code code) { return code == Code::Symmetric || code == Code::Asymmetric; }
inline bool hasLevels(Code code) { return code == Code::Codebook || code == Code::MidRise; }

}  // namespace quantscope::cuda

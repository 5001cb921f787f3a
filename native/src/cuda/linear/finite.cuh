// Values of y that are not finite are found where they are written: another pass would read all of y again.
#pragma once

#include "cuda/portable.cuh"

namespace quantscope::cuda {

/// Whether a value that is stored is no number, or too large for its type.
__device__ inline bool isNonFinite(float value, bool asBf16) {
    constexpr uint32_t kMostBf16 = 0x7F7F7FFF, kMostFloat = 0x7F7FFFFF;  // what is above rounds to infinity
    return !(fabsf(value) <= __uint_as_float(asBf16 ? kMostBf16 : kMostFloat));
}

/// Not zero where one of the values in a word is not finite: two of bfloat16, or a float. Their exponents are all ones, and one more overflows.
template <class Y>
__device__ inline uint32_t nonFiniteIn(uint32_t word) {
    return sizeof(Y) == 2 ? ((word & 0x7F807F80u) + 0x00800080u) & 0x80008000u : ((word & 0x7F800000u) + 0x00800000u) & 0x80000000u;
}

/// That there was one, which is rare.
__device__ inline void report(bool nonFinite, uint32_t* to) {
    if (nonFinite && to != nullptr) {
        atomicOr(to, 1u);
    }
}

}  // namespace quantscope::cuda

// What both kernels of attention in bfloat16 do with a row of scores.
#pragma once

#include "cuda/portable.cuh"

namespace quantscope::cuda {

/// Of one row of a query's scores over the four lanes that share it.
__device__ inline float rowMax(float value) {
    value = fmaxf(value, __shfl_xor_sync(kFullWarp, value, 1));
    return fmaxf(value, __shfl_xor_sync(kFullWarp, value, 2));
}
__device__ inline float rowSum(float value) {
    value += __shfl_xor_sync(kFullWarp, value, 1);
    return value + __shfl_xor_sync(kFullWarp, value, 2);
}

}  // namespace quantscope::cuda

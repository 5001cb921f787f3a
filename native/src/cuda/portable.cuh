// What kernels say instead of PTX, so that every one of them compiles twice: with nvcc for devices (cuda/ptx.cuh) and with the host's compiler for the
// emulator of the tests (test/cuda_emulator), which runs it on the CPU and looks for missing barriers, missing waits and addresses out of bounds.
//
// Kernels are plain CUDA otherwise: threadIdx, __syncthreads(), __shfl_xor_sync(), atomicAdd(), __byte_perm() and so on. Instead of `<<<>>>` there is
//   launch(kernel, grid, block, sharedBytes, stream, arguments...)      -> cudaError_t
// more than 48 KiB of shared memory is asked for on the way. Instead of `__shared__`:
//   QUANTSCOPE_SHARED(float, sums, [32]);                               static shared memory
//   float* const tile = dynamicShared<float>();                         dynamic shared memory, aligned to 1024 bytes
// Arithmetic is never contracted: a * b + c rounds twice on device and CPU alike (nvcc -fmad=false), and fmaf() where once is meant.
#pragma once

#include <cstddef>
#include <cstdint>

#include <cuda_runtime.h>

#if defined(QUANTSCOPE_CUDA_EMULATION)
#include "device.h"
#else
#include "cuda/ptx.cuh"
#endif

namespace quantscope::cuda {

inline constexpr unsigned kFullWarp = 0xffffffffu;
inline constexpr int kWarpLanes = 32;

/// Numbers of 16 bits as they lie in memory.
struct Bf16 {
    uint16_t bits;
};
struct Half {
    uint16_t bits;
};

__host__ __device__ constexpr unsigned divideUp(size_t n, size_t by) { return static_cast<unsigned>((n + by - 1) / by); }

__device__ inline float toFloat(float value) { return value; }
__device__ inline float toFloat(Bf16 value) { return floatOfBf16(value.bits); }
__device__ inline float toFloat(Half value) { return floatOfHalf(value.bits); }

/// To nearest, ties to even; T is float, Bf16 or Half.
template <class T>
__device__ inline T fromFloat(float value);
template <>
__device__ inline float fromFloat<float>(float value) { return value; }
template <>
__device__ inline Bf16 fromFloat<Bf16>(float value) { return {bf16Of(value)}; }
template <>
__device__ inline Half fromFloat<Half>(float value) { return {halfOf(value)}; }

/// Sum and greatest of a whole warp, the same in all lanes. Additions by halves: lanes l and l ^ 16 first.
template <class T>
__device__ inline T warpSum(T value) {
    for (int step = kWarpLanes / 2; step > 0; step /= 2) {
        value += __shfl_xor_sync(kFullWarp, value, step);
    }
    return value;
}
template <class T>
__device__ inline T warpMax(T value) {
    for (int step = kWarpLanes / 2; step > 0; step /= 2) {
        const T other = __shfl_xor_sync(kFullWarp, value, step);
        value = other > value ? other : value;
    }
    return value;
}

}  // namespace quantscope::cuda

// What rows of a tile are coded by: norms, or how far their values reach.
#pragma once

#include "cuda/rotate/tile.cuh"

namespace quantscope::cuda::tiles {

/// Sum of squares of a row as stage() left it.
template <int kRows>
__device__ inline float squaresOf(const Arguments& a, const Shared& shared, uint32_t row) {
    const uint32_t group = row / kRows;
    float sum = 0;
    for (uint32_t warp = group * a.segments / a.share; warp <= ((group + 1) * a.segments - 1) / a.share; ++warp) {
        const float4* const of = reinterpret_cast<const float4*>(shared.squares + (row * a.warps + warp) * 8);
        const float4 low = load16(of);
        const float4 high = load16(of + 1);
        sum += ((low.x + low.y) + (low.z + low.w)) + ((high.x + high.y) + (high.z + high.w));
    }
    return sum;
}

/// State of a row whose squares, of x 2^-exponent, are known; writes the side of a codebook.
template <Kind kKind>
__device__ inline RowState stateOf(const Arguments& a, uint32_t row, float squares, int exponent, float perDeviation) {
    if (kKind != Kind::Codebook) {
        return {ldexpf(1.0f, -exponent), 1.0f, ldexpf(1.0f, exponent), 0, row};
    }
    const double norm = sqrt(static_cast<double>(squares));
    if (row < a.rows) {
        a.request.sides[row] = static_cast<float>(roundToStored(a.request.stored, ldexp(norm, exponent)) / a.root);
    }
    return {static_cast<float>(a.root / norm) * perDeviation, 0.5f, 1.0f, 0, row};
}

/// Rows of zeros, with NaNs, infinities, or values so large or small that their squares leave the range of floats: all threads look at each again.
template <int kRows, Kind kKind>
__device__ inline void lookAgain(const Arguments& a, const Shared& shared, uint32_t firstRow, float perDeviation) {
    const uint32_t width = static_cast<uint32_t>(a.request.width);
    for (uint32_t row = 0; row < a.tileRows; ++row) {
        if (__float_as_uint(shared.states[row].offset) != kInfinityBits) {  // for all threads alike
            continue;
        }
        uint16_t* const own = reinterpret_cast<uint16_t*>(columnsOf<kRows>(a, shared, row / kRows)) + row % kRows;
        uint32_t largest = 0;
        for (uint32_t i = threadIdx.x; i < width; i += blockDim.x) {
            largest = max(largest, static_cast<uint32_t>(own[entryOf<kRows>(i) * kRows] & 0x7FFFu) << 16);
        }
        atomicMax(&shared.states[row].largest, largest);
        __syncthreads();
        largest = shared.states[row].largest;
        const int exponent = exponentFor(largest);
        float squares = 0;
        if (largest > 0 && largest < kInfinityBits) {
            const float factor = ldexpf(1.0f, -exponent);
            for (uint32_t i = threadIdx.x; i < width; i += blockDim.x) {
                uint16_t& value = own[entryOf<kRows>(i) * kRows];
                const float scaled = floatOfBf16(value) * factor;
                value = bf16Of(scaled);
                squares += scaled * scaled;
            }
        }
        squares = warpSum(squares);
        float* const parts = shared.squares + row * a.warps * 8;
        if (threadIdx.x % kWarpLanes == 0) {
            parts[threadIdx.x / kWarpLanes] = squares;
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            squares = 0;
            for (uint32_t warp = 0; warp < a.warps; ++warp) {
                squares += parts[warp];
            }
            if (largest > 0 && largest < kInfinityBits) {
                shared.states[row] = stateOf<kKind>(a, firstRow + row, squares, exponent, perDeviation);
            } else {
                const float side = largest == 0 ? 0.0f : __uint_as_float(0x7FC00000u);
                if (kKind == Kind::Codebook && firstRow + row < a.rows) {
                    a.request.sides[firstRow + row] = side;
                }
                shared.states[row] = {0.0f, side, 1.0f, 0, firstRow + row};  // the offset of a codebook: NaN saturates to 0
            }
        }
        __syncthreads();
    }
}

/// States of a staged tile. Called by all threads, ends with a barrier.
template <int kRows, Kind kKind>
__device__ inline void findStates(const Arguments& a, const Shared& shared, uint32_t firstRow, float perDeviation) {
    bool again = false;
    if (threadIdx.x < a.tileRows) {
        const float squares = squaresOf<kRows>(a, shared, threadIdx.x);
        again = firstRow + threadIdx.x < a.rows && !(squares > 0x1p-60f && squares < 0x1p60f);
        shared.states[threadIdx.x] = again ? RowState{0.0f, __uint_as_float(kInfinityBits), 1.0f, 0, firstRow + threadIdx.x}
                                           : stateOf<kKind>(a, firstRow + threadIdx.x, squares, 0, perDeviation);
    }
    if (__syncthreads_or(again ? 1 : 0) != 0) {
        lookAgain<kRows, kKind>(a, shared, firstRow, perDeviation);
    }
}

}  // namespace quantscope::cuda::tiles

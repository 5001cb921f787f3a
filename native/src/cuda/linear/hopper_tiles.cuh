// What both products of compute capability 9.0 have in common: their stages, and how a piece of a row of y is written.
#pragma once

#include "cuda/hopper_ring.cuh"
#include "cuda/linear/product.cuh"

namespace quantscope::cuda::hopper {

inline constexpr int kRows = 128;
inline constexpr int kStep = 128;      ///< bytes of a row in one stage
inline constexpr int kPiece = 32;      ///< bytes of a row in one product
inline constexpr int kPieces = kStep / kPiece;
inline constexpr int kThreads = 384;
inline constexpr int kWarps = 8;       ///< that multiply

/// Of all segments that there are.
template <int kSegments>
__device__ inline void prefetchMaps(const TensorMap (&x)[kSegments], const TensorMap (&w)[kSegments], const uint32_t (&bytes)[kSegments]) {
#pragma unroll
    for (int segment = 0; segment < kSegments; ++segment) {
        if (bytes[segment] > 0) {
            prefetchMap(x[segment]);
            prefetchMap(w[segment]);
        }
    }
}

/// Stages are full when one thread has announced all their bytes and these have come, empty when every warp of the cluster has read them.
template <int kCluster>
__device__ inline void prepareBarriers(Barrier* full, Barrier* empty, int stages) {
    if (threadIdx.x == 0) {
        for (int i = 0; i < stages; ++i) {
            initBarrier(full + i, 1);
            initBarrier(empty + i, kWarps * kCluster);
        }
        publishBarriers();
    }
    together<kCluster>();
}

/// This warp has read a stage, which every block of the cluster writes to.
template <int kCluster>
__device__ inline void release(Barrier* empty) {
    __syncwarp();
    if constexpr (kCluster == 1) {
        if (threadIdx.x % 32 == 0) {
            arrive(empty);
        }
    } else if (threadIdx.x % 32 < kCluster) {
        arriveIn(threadIdx.x % 32, empty);
    }
}

struct TilePlace {
    uint32_t row;     ///< of tiles
    uint32_t column;
};

/// Bytes of kCount scales of a group from `first` on.
template <int kCount>
__device__ inline uint32_t scaleBytes(uint32_t first, uint32_t stride) { return first < stride ? min(static_cast<uint32_t>(kCount), stride - first) * 4 : 0; }

/// The scales of groups, as the thread that fetches stages comes to them: from one group to the next, since a stage does not last as long as divisions take.
/// Stages consist of parts, groups of whole ones; for each part a stage has place for [kX] scales of x and [kW] of W, used where a group ends with it.
template <int kX, int kW>
struct GroupScales {
    const ProductArguments& p;
    uint32_t length;         ///< of a group, in parts
    uint32_t x;              ///< where those of the next group begin
    uint32_t w;
    uint32_t xBytes;
    uint32_t wBytes;
    uint32_t left = length;  ///< of the group that is next to end

    __device__ GroupScales(const ProductArguments& p, uint32_t length, uint32_t firstRow, uint32_t firstOutput)
        : p(p), length(length), x(firstRow), w(firstOutput), xBytes(scaleBytes<kX>(firstRow, p.xScaleStride)), wBytes(scaleBytes<kW>(firstOutput, p.wScaleStride)) {}

    /// Requests those of all groups that end within the next `parts`, a stage at most, and says how many bytes come.
    __device__ uint32_t request(uint8_t* to, uint32_t parts, Barrier* arrived) {
        uint32_t bytes = 0;
        for (; left <= parts; left += length) {
            float* const at = reinterpret_cast<float*>(to) + (left - 1) * (kX + kW);
            copyBulk(at, p.xScales + x, xBytes, arrived);
            if (wBytes > 0) {
                copyBulk(at + kX, p.wScales + w, wBytes, arrived);
            }
            x += p.xScaleStride;
            w += p.wScaleStride;
            bytes += xBytes + wBytes;
        }
        left -= parts;
        return bytes;
    }
};

// What the end of a tile takes from global memory, its scales and its bias, is asked for when the tile begins: behind the last product nothing would cover
// the time until it comes.

/// The value at a place, of `count` there are; 0 behind them, and where there are none.
__device__ inline float valueAt(const float* from, uint32_t at, uint32_t count) { return from != nullptr && at < count ? from[at] : 0.0f; }

/// Requests kCount of them from `first` on, with all threads of a warpgroup.
template <int kCount>
__device__ inline void requestValues(float* shared, const float* from, uint32_t first, uint32_t count) {
    static_assert(kCount <= 4 * 128);
    if (const uint32_t i = threadIdx.x % 128 * 4; i < kCount) {
        if (from != nullptr && first + i < count) {
            copyAsync16(shared + i, from + first + i, static_cast<int>(min(count - first - i, 4u) * 4));
        } else {
            store16(reinterpret_cast<uint4*>(shared + i), make_uint4(0, 0, 0, 0));
        }
    }
}
/// Until all that this warpgroup's threads requested and committed has come.
__device__ inline void awaitValues() {
    waitCopies<0>();
    meet(threadIdx.x / 128, 128);
}

__device__ inline uint32_t bitsOf(float value) { return __float_as_uint(value); }
__device__ inline uint32_t bitsOf(Bf16 value) { return value.bits; }
__device__ inline float asFloat(float value) { return value; }
__device__ inline float asFloat(int bits) { return __int_as_float(bits); }

/// 16 bytes of a row of y, as far as it has columns; not zero where a value is not finite.
template <class Y>
__device__ inline uint32_t writePiece(const ProductArguments& p, const Y* from, uint32_t row, uint32_t column) {
    constexpr uint32_t kCount = 16 / sizeof(Y);
    if (row >= p.rows || column >= p.outputs) {
        return 0;
    }
    Y* const to = static_cast<Y*>(p.y) + row * p.yStride + column;
    if (column + kCount <= p.outputs && p.yStride % kCount == 0 && (reinterpret_cast<uintptr_t>(p.y) & 15) == 0) {
        const uint4 words = load16(reinterpret_cast<const uint4*>(from));
        store16(reinterpret_cast<uint4*>(to), words);
        return nonFiniteIn<Y>(words.x) | nonFiniteIn<Y>(words.y) | nonFiniteIn<Y>(words.z) | nonFiniteIn<Y>(words.w);
    }
    uint32_t nonFinite = 0;
    for (uint32_t e = 0; e < kCount && column + e < p.outputs; ++e) {
        to[e] = from[e];
        nonFinite |= nonFiniteIn<Y>(bitsOf(from[e]));
    }
    return nonFinite;
}

}  // namespace quantscope::cuda::hopper

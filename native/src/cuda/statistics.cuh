// What weight diagnostics add up: a histogram in shared memory, power sums and excesses of a marginal, the error of a codebook; and how that of threads
// becomes that of a row.
#pragma once

#include "cuda/portable.cuh"

namespace quantscope::cuda {

inline constexpr int kBatch = 8;              ///< values that a thread counts at once
inline constexpr uint32_t kMostLevels = 128;  ///< of a codebook, positive ones
inline constexpr uint32_t kLevelCells = 512;
inline constexpr int kSums = 8;               ///< of a thread that are added up over its row

__host__ __device__ constexpr uint32_t roundUp(uint32_t value, uint32_t to) { return (value + to - 1) / to * to; }

/// Finds the level of a magnitude without a search: cells of one power of two's width say where to begin, and a cell of Lloyd-Max codebooks holds one
/// threshold at most, so that one comparison follows. Those of 5 bits and less are in a bank each.
struct LevelSearch {
    float level[kMostLevels];
    float threshold[kMostLevels];  ///< the last one is infinite
    uint8_t start[kLevelCells];    ///< level at the lower edge of a cell; the last cell has no upper edge
    uint32_t steps;                ///< thresholds in the fullest cell
    float perUnit;

    /// By all threads of a block; they need a barrier before they use it.
    __device__ void fill(uint32_t levels, const float* from, const float* thresholds) {
        const uint32_t thread = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.y * blockDim.x;
        if (thread == 0) {
            steps = 0;
            perUnit = levels > 1 ? 0.5f * static_cast<float>(levels) : 1.0f;
        }
        __syncthreads();
        for (uint32_t i = thread; i < levels; i += threads) {
            level[i] = from[i];
            threshold[i] = i + 1 < levels ? thresholds[i] : __uint_as_float(0x7F800000u);
        }
        for (uint32_t cell = thread; cell < kLevelCells; cell += threads) {
            uint32_t below = 0, within = 0;
            for (uint32_t i = 0; i + 1 < levels; ++i) {
                below += thresholds[i] * perUnit <= static_cast<float>(cell) ? 1 : 0;
                within += thresholds[i] * perUnit < static_cast<float>(cell + 1) || cell + 1 == kLevelCells ? 1 : 0;
            }
            start[cell] = static_cast<uint8_t>(below);
            atomicMax(&steps, within - below);
        }
    }

    /// Of |u|, for magnitudes below kLevelCells / perUnit; beyond them kClamped.
    template <bool kClamped>
    __device__ uint32_t cellOf(float u) const {
        const float cell = fabsf(u) * perUnit;
        return static_cast<uint32_t>(kClamped ? fminf(cell, static_cast<float>(kLevelCells - 1)) : cell);
    }
};

/// Cells of a histogram that a block counts in shared memory, before it adds them to the counts in global memory once. Cells beside them are rare: their
/// values are counted in global memory at once. 32 bits are enough, since rows * width is below 2^32.
struct Window {
    uint32_t* counts;    ///< [last + 1] in global memory
    uint32_t* own;       ///< [cells] in shared memory
    uint32_t first;      ///< cell that own begins with
    uint32_t cells;
    uint32_t last;
    float perUnit;
    float shift;
    float limit;
    float inner;         ///< magnitudes up to this one are in a cell of the window, below the limit and below the last cell of a codebook's search

    __device__ float positionOf(float u) const { return u * perUnit + shift; }
    __device__ void clear(uint32_t thread, uint32_t threads) {
        for (uint32_t i = thread; i < cells; i += threads) {
            own[i] = 0;
        }
    }
    /// Blocks begin at different places, so that they do not meet.
    __device__ void flush(uint32_t thread, uint32_t threads) const {
        const auto begin = static_cast<uint32_t>(uint64_t{cells} * blockIdx.x / gridDim.x) / kWarpLanes * kWarpLanes;
        for (uint32_t i = thread; i < cells; i += threads) {
            const uint32_t at = begin + i < cells ? begin + i : begin + i - cells;
            if (own[at] > 0) {
                atomicAdd(counts + first + at, own[at]);
            }
        }
    }
};

/// Sums of one thread over a part of a row. Those of a batch are added up first, which keeps more digits.
struct Tally {
    float power[4] = {};
    float below = 0;
    float above = 0;
    float errors = 0;
    float largest = 0;

    /// The first `count` of u; the others are zeros. `ratio` is that of the row, `search` null without a codebook.
    __device__ void add(const float (&u)[kBatch], uint32_t count, const Window& window, const LevelSearch* search, float ratio) {
        float square = u[0] * u[0];
        float one = u[0], two = square, three = square * u[0], four = square * square, most = fabsf(u[0]);
#pragma unroll
        for (int k = 1; k < kBatch; ++k) {
            square = u[k] * u[k];
            one += u[k];
            two += square;
            three = fmaf(square, u[k], three);
            four = fmaf(square, square, four);
            most = fmaxf(most, fabsf(u[k]));
        }
        power[0] += one;
        power[1] += two;
        power[2] += three;
        power[3] += four;
        largest = fmaxf(largest, most);
        if (count == kBatch && most <= window.inner) {
            uint32_t* const origin = window.own - window.first;
#pragma unroll
            for (int k = 0; k < kBatch; ++k) {
                atomicAdd(origin + static_cast<uint32_t>(window.positionOf(u[k])), 1u);
            }
            if (search != nullptr) {
                errors += squaredErrors<false>(u, kBatch, *search, ratio);
            }
        } else {
            addOneByOne(u, count, window);
            if (search != nullptr) {
                errors += squaredErrors<true>(u, count, *search, ratio);
            }
        }
    }

private:
    __device__ void addOneByOne(const float (&u)[kBatch], uint32_t count, const Window& window) {
        float each[kBatch];
        for (int k = 0; k < kBatch; ++k) {
            each[k] = u[k];
        }
#pragma unroll 1
        for (uint32_t k = 0; k < count; ++k) {
            below += fmaxf(-window.limit - each[k], 0.0f);
            above += fmaxf(each[k] - window.limit, 0.0f);
            const float position = fminf(fmaxf(window.positionOf(each[k]), 0.0f), static_cast<float>(window.last));
            const uint32_t cell = static_cast<uint32_t>(position);
            if (cell - window.first < window.cells) {
                atomicAdd(window.own + (cell - window.first), 1u);
            } else {
                atomicAdd(window.counts + cell, 1u);
            }
        }
    }

    /// Sum of (|u| - ratio * nearest level)^2.
    template <bool kBeyond>
    __device__ static float squaredErrors(const float (&u)[kBatch], uint32_t count, const LevelSearch& search, float ratio) {
        constexpr int kAtOnce = 4;
        float sum = 0;
#pragma unroll
        for (int part = 0; part < kBatch; part += kAtOnce) {
            uint32_t index[kAtOnce];
#pragma unroll
            for (int k = 0; k < kAtOnce; ++k) {
                index[k] = search.start[search.cellOf<kBeyond>(u[part + k])];
                index[k] += fabsf(u[part + k]) >= search.threshold[index[k]] ? 1 : 0;
            }
#pragma unroll 1
            for (uint32_t step = 1; step < search.steps; ++step) {
#pragma unroll
                for (int k = 0; k < kAtOnce; ++k) {
                    index[k] += fabsf(u[part + k]) >= search.threshold[index[k]] ? 1 : 0;
                }
            }
#pragma unroll
            for (int k = 0; k < kAtOnce; ++k) {
                const float error = fmaf(-ratio, search.level[index[k]], fabsf(u[part + k]));
                sum = fmaf(error, !kBeyond || static_cast<uint32_t>(part + k) < count ? error : 0.0f, sum);
            }
        }
        return sum;
    }
};

/// Sums over a warp: lane l gets that of value l * kCount / 32. A step sends half of what is left.
template <int kCount>
__device__ inline float warpSums(const float (&values)[kCount]) {
    float v[kCount];
    for (int i = 0; i < kCount; ++i) {
        v[i] = values[i];
    }
    int step = kWarpLanes / 2;
#pragma unroll
    for (int half = kCount / 2; half > 0; half /= 2, step /= 2) {
        const bool upper = (threadIdx.x & static_cast<uint32_t>(step)) != 0;
#pragma unroll
        for (int i = 0; i < half; ++i) {
            const float kept = upper ? v[i + half] : v[i];
            v[i] = kept + __shfl_xor_sync(kFullWarp, upper ? v[i] : v[i + half], step);
        }
    }
    for (; step > 0; step /= 2) {
        v[0] += __shfl_xor_sync(kFullWarp, v[0], step);
    }
    return v[0];
}

/// What threads of a row share.
struct RowScale {
    float scale;
    float ratio;
    float factor;  ///< of the rotation
    uint32_t measured;
};

/// Dynamic shared memory.
struct Shared {
    LevelSearch& search;
    RowScale* rows;           ///< [blockDim.y]
    float (*sums)[kSums + 1];  ///< of each warp, with the greatest magnitude
    uint32_t* cells;          ///< of the window; what a kernel needs for rows follows

    __host__ __device__ static uint32_t bytes(uint32_t threads, uint32_t rows) {
        const auto each = static_cast<uint32_t>(sizeof(float)) * (kSums + 1);
        return roundUp(static_cast<uint32_t>(sizeof(LevelSearch) + rows * sizeof(RowScale)) + threads / kWarpLanes * each, 16);
    }
};

__device__ inline Shared sharedMemory() {
    auto* const search = dynamicShared<LevelSearch>();
    auto* const rows = reinterpret_cast<RowScale*>(search + 1);
    auto* const cells = dynamicShared<unsigned char>() + Shared::bytes(blockDim.x * blockDim.y, blockDim.y);
    return {*search, rows, reinterpret_cast<float(*)[kSums + 1]>(rows + blockDim.y), reinterpret_cast<uint32_t*>(cells)};
}

/// Sums of all threads of a row, valid in its thread 0. Called by all threads of the block.
__device__ inline void sumOverRow(const Shared& shared, const float (&values)[kSums], float largest, double (&sums)[kSums], float& greatest) {
    const uint32_t warps = blockDim.x / kWarpLanes;
    float(*const mine)[kSums + 1] = shared.sums + threadIdx.y * warps;
    const uint32_t lane = threadIdx.x % kWarpLanes, warp = threadIdx.x / kWarpLanes;
    const float sum = warpSums(values);
    const float most = warpMax(largest);
    if (lane % (kWarpLanes / kSums) == 0) {
        mine[warp][lane / (kWarpLanes / kSums)] = sum;
    }
    if (lane == 0) {
        mine[warp][kSums] = most;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int i = 0; i < kSums; ++i) {
            sums[i] = 0;
            for (uint32_t w = 0; w < warps; ++w) {
                sums[i] += mine[w][i];
            }
        }
        greatest = 0;
        for (uint32_t w = 0; w < warps; ++w) {
            greatest = fmaxf(greatest, mine[w][kSums]);
        }
    }
}

}  // namespace quantscope::cuda

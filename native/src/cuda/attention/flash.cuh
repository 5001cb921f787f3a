// Attention in bfloat16 on tensor cores, without ever writing scores to memory (Dao, "FlashAttention-2", 2023).
//
// A block takes kRows queries of one head, each warp 16 or 32 of them, and goes over the keys kKeys at a time. A warp keeps sums of its queries in
// registers, so that softmax needs no more than shuffles within four lanes, and probabilities go from one product's results straight into the next one's
// fragments: both lie over the lanes in the same way. Keys and values have one buffer each that are filled by turns: values arrive while scores are made,
// the next keys while values are multiplied. Rows stand 16 bytes further apart than they are long, so that neither copies nor ldmatrix meet a bank twice.
#pragma once

#include "cuda/attention/arguments.cuh"
#include "cuda/attention/rows.cuh"
#include "cuda/pieces.cuh"

namespace quantscope::cuda {

namespace flash {

inline constexpr int kWarps = 4;
inline constexpr int kThreads = 32 * kWarps;
inline constexpr float kLog2E = 1.4426950408889634f;

/// Heads of up to kWidth values, a multiple of 16; what is beyond `width` is zero.
template <int kWidth>
struct Tiling {
    static constexpr int kTiles = kWidth > 128 ? 1 : 2;       ///< of 16 queries, in a warp: as many as fit its registers
    static constexpr int kRows = 16 * kTiles * kWarps;
    static constexpr int kKeys = kWidth > 128 ? 32 : 64;
    static constexpr int kPitch = 2 * kWidth + 16;            ///< bytes
    static constexpr int kKeysAt = kRows * kPitch;
    static constexpr int kValuesAt = kKeysAt + kKeys * kPitch;
    static constexpr int kAddendsAt = kValuesAt + kKeys * kPitch;
    static constexpr int kShared = kAddendsAt + kKeys * 4;
};

/// Requests kCount rows of a head from `first` on. What lies outside of rows and width becomes zeros: a NaN there would not stay there.
template <int kWidth, int kCount>
__device__ inline void requestRows(uint8_t* shared, const Bf16* from, uint64_t stride, uint32_t first, uint32_t rows, const AttentionArguments<Bf16>& p) {
    constexpr uint32_t kPieces = kWidth / 8;
    static_assert(kCount * kPieces % kThreads == 0);
#pragma unroll
    for (uint32_t i = 0; i < kCount * kPieces / kThreads; ++i) {
        const uint32_t row = (threadIdx.x + i * kThreads) / kPieces;
        const uint32_t column = (threadIdx.x + i * kThreads) % kPieces * 8;
        uint8_t* const to = shared + row * Tiling<kWidth>::kPitch + 2 * column;
        const bool inside = first + row < rows && column < p.width;
        const Bf16* const at = inside ? from + (first + row) * stride + column : from;
        requestPiece(to, at, inside ? min(8u, p.width - column) : 0u, p.inPieces);
    }
}

/// Whether something is added to scores of the keys from `first` on: the bias, or the negative infinity of keys that are none.
template <int kKeys>
__device__ inline bool hasAddends(const AttentionArguments<Bf16>& p, uint32_t first) {
    return p.bias != nullptr || p.keys - first < kKeys;
}

/// These addends, in units of q kᵀ.
template <int kKeys>
__device__ inline void writeAddends(float* addends, const AttentionArguments<Bf16>& p, uint32_t first) {
    if (threadIdx.x < kKeys && hasAddends<kKeys>(p, first)) {
        const uint32_t key = first + threadIdx.x;
        addends[threadIdx.x] = key >= p.keys ? -INFINITY : p.bias == nullptr ? 0.0f : toFloat(p.bias[key]) / p.scale;
    }
}

/// S = q kᵀ of a warp's queries and the keys in shared memory.
template <int kWidth>
__device__ inline void multiplyKeys(float (&scores)[Tiling<kWidth>::kTiles][Tiling<kWidth>::kKeys / 8][4], const uint8_t* q, const uint8_t* keys) {
    using T = Tiling<kWidth>;
    const uint32_t lane = threadIdx.x % 32;
    q += lane % 16 * T::kPitch + lane / 16 * 16;
    keys += (lane / 16 * 8 + lane % 8) * T::kPitch + lane / 8 % 2 * 16;
#pragma unroll
    for (int step = 0; step < kWidth / 16; ++step) {
        uint32_t a[T::kTiles][4];
#pragma unroll
        for (int m = 0; m < T::kTiles; ++m) {
            loadMatrices4(a[m], q + m * 16 * T::kPitch + step * 32);
        }
#pragma unroll
        for (int n = 0; n < T::kKeys / 8; n += 2) {
            uint32_t b[4];
            loadMatrices4(b, keys + n * 8 * T::kPitch + step * 32);
#pragma unroll
            for (int m = 0; m < T::kTiles; ++m) {
                mmaBf16(scores[m][n], a[m], {b[0], b[1]});
                mmaBf16(scores[m][n + 1], a[m], {b[2], b[3]});
            }
        }
    }
}

/// O += P v.
template <int kWidth>
__device__ inline void multiplyValues(float (&sums)[Tiling<kWidth>::kTiles][kWidth / 8][4], const uint32_t (&p)[Tiling<kWidth>::kTiles][Tiling<kWidth>::kKeys / 16][4],
                                      const uint8_t* values) {
    using T = Tiling<kWidth>;
    const uint32_t lane = threadIdx.x % 32;
    values += lane % 16 * T::kPitch + lane / 16 * 16;
#pragma unroll
    for (int step = 0; step < T::kKeys / 16; ++step) {
#pragma unroll
        for (int n = 0; n < kWidth / 8; n += 2) {
            uint32_t b[4];
            loadMatrices4Transposed(b, values + step * 16 * T::kPitch + n * 16);
#pragma unroll
            for (int m = 0; m < T::kTiles; ++m) {
                mmaBf16(sums[m][n], p[m][step], {b[0], b[1]});
                mmaBf16(sums[m][n + 1], p[m][step], {b[2], b[3]});
            }
        }
    }
}

/// A warp's queries as they are being summed up. Index h is the half: rows g and g + 8 of mma's results.
template <int kWidth>
struct State {
    using T = Tiling<kWidth>;
    float sums[T::kTiles][kWidth / 8][4];  ///< Σ p v
    float most[T::kTiles][2];              ///< greatest score so far, in units of q kᵀ
    float weights[T::kTiles][2];           ///< Σ p, this lane's part of it

    /// Scores to probabilities p in units of the greatest one so far, rounded to bfloat16; what was summed up in units of an earlier one is brought to those.
    __device__ void takeScores(const float (&scores)[T::kTiles][T::kKeys / 8][4], float scale, uint32_t (&p)[T::kTiles][T::kKeys / 16][4]) {
#pragma unroll
        for (int m = 0; m < T::kTiles; ++m) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                float greatest = most[m][h];
#pragma unroll
                for (int n = 0; n < T::kKeys / 8; ++n) {
                    greatest = fmaxf(greatest, fmaxf(scores[m][n][2 * h], scores[m][n][2 * h + 1]));
                }
                greatest = rowMax(greatest);
                // Negative infinities alone: any shift does, and infinity minus infinity must not be one.
                const float shift = greatest == -INFINITY ? 0.0f : greatest * scale;
                const float correction = most[m][h] == greatest ? 1.0f : exp2Approximate(fmaf(most[m][h], scale, -shift));  // which would be rounded
                most[m][h] = greatest;
                float added = 0.0f;
#pragma unroll
                for (int n = 0; n < T::kKeys / 8; ++n) {
                    const float low = exp2Approximate(fmaf(scores[m][n][2 * h], scale, -shift));
                    const float high = exp2Approximate(fmaf(scores[m][n][2 * h + 1], scale, -shift));
                    added += low + high;
                    p[m][n / 2][n % 2 * 2 + h] = bf16PairOf(low, high);
                }
                weights[m][h] = fmaf(weights[m][h], correction, added);
                if (__any_sync(kFullWarp, correction != 1.0f)) {  // rarely, once the greatest are found
#pragma unroll
                    for (int n = 0; n < kWidth / 8; ++n) {
                        sums[m][n][2 * h] *= correction;
                        sums[m][n][2 * h + 1] *= correction;
                    }
                }
            }
        }
    }

    __device__ void store(const AttentionArguments<Bf16>& p, uint32_t firstRow, uint64_t headAt) {
        const uint32_t lane = threadIdx.x % 32;
#pragma unroll
        for (int m = 0; m < T::kTiles; ++m) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                const float factor = 1.0f / rowSum(weights[m][h]);
                const uint32_t row = firstRow + m * 16 + h * 8 + lane / 4;
                if (row >= p.queries) {
                    continue;
                }
                Bf16* const to = p.out + row * p.outStride + headAt;
#pragma unroll
                for (int n = 0; n < kWidth / 8; ++n) {
                    const uint32_t column = n * 8 + lane % 4 * 2;
                    const float low = sums[m][n][2 * h] * factor;
                    const float high = sums[m][n][2 * h + 1] * factor;
                    if (p.inPairs && column < p.width) {
                        *reinterpret_cast<uint32_t*>(to + column) = bf16PairOf(low, high);
                    } else if (column < p.width) {
                        to[column] = fromFloat<Bf16>(low);
                        if (column + 1 < p.width) {
                            to[column + 1] = fromFloat<Bf16>(high);
                        }
                    }
                }
            }
        }
    }
};

template <int kWidth>
__global__ void __launch_bounds__(kThreads) attend(const __grid_constant__ AttentionArguments<Bf16> p) {
    using T = Tiling<kWidth>;
    uint8_t* const q = dynamicShared<uint8_t>();
    uint8_t* const keys = q + T::kKeysAt;
    uint8_t* const values = q + T::kValuesAt;
    float* const addends = reinterpret_cast<float*>(q + T::kAddendsAt);
    const uint32_t lane = threadIdx.x % 32;
    const uint32_t warpRow = threadIdx.x / 32 * 16 * T::kTiles;
    const uint32_t firstRow = blockIdx.x * T::kRows;
    const uint64_t headAt = uint64_t{blockIdx.y} * p.width;
    const auto requestKeys = [&](uint32_t first) {
        if (first < p.keys) {
            requestRows<kWidth, T::kKeys>(keys, p.k + headAt, p.kStride, first, p.keys, p);
            writeAddends<T::kKeys>(addends, p, first);
        }
        commitCopies();
    };
    requestRows<kWidth, T::kRows>(q, p.q + headAt, p.qStride, firstRow, p.queries, p);
    requestKeys(0);
    State<kWidth> state{};
#pragma unroll
    for (int m = 0; m < T::kTiles; ++m) {
        state.most[m][0] = state.most[m][1] = -INFINITY;
    }
    for (uint32_t first = 0; first < p.keys; first += T::kKeys) {
        waitCopies<0>();
        __syncthreads();  // the keys are there, and everybody has left the values
        requestRows<kWidth, T::kKeys>(values, p.v + headAt, p.vStride, first, p.keys, p);
        commitCopies();
        float scores[T::kTiles][T::kKeys / 8][4] = {};
        multiplyKeys<kWidth>(scores, q + warpRow * T::kPitch, keys);
        if (hasAddends<T::kKeys>(p, first)) {
#pragma unroll
            for (int n = 0; n < T::kKeys / 8; ++n) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const float addend = addends[n * 8 + lane % 4 * 2 + i % 2];
#pragma unroll
                    for (int m = 0; m < T::kTiles; ++m) {
                        scores[m][n][i] += addend;
                    }
                }
            }
        }
        uint32_t probabilities[T::kTiles][T::kKeys / 16][4];
        state.takeScores(scores, p.scale * kLog2E, probabilities);
        waitCopies<0>();
        __syncthreads();  // the values are there, and everybody has left the keys
        requestKeys(first + T::kKeys);
        multiplyValues<kWidth>(state.sums, probabilities, values);
    }
    state.store(p, firstRow + warpRow, headAt);
}

}  // namespace flash

}  // namespace quantscope::cuda

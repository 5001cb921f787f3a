// Attention in float32 throughout, without tensor cores: 64 queries of one head and 256 columns of their result to a block, 64 keys at a time. Heads that are
// wider (a VAE's one of 512) compute their scores once for each 256. A thread has 4 x 4 scores and, of its 4 queries, up to 16 columns of the result; softmax is rescaled as it goes (flash.cuh), its exponentials are those of the C library.
#pragma once

#include "cuda/attention/arguments.cuh"

namespace quantscope::cuda {

namespace float32Attention {

inline constexpr int kTile = 64;      ///< queries, keys
inline constexpr int kDepth = 16;     ///< of a product at once: inputs of scores, keys of values
inline constexpr int kEach = 4;
inline constexpr int kThreads = 256;
inline constexpr int kAcross = 256;    ///< columns of the result
inline constexpr uint32_t kColumns = kAcross / 16;  ///< of the result, in a thread
inline constexpr int kPitch = kTile + 2;

/// Of the 16 lanes that share four queries.
template <class Take>
__device__ inline float rowwise(float value, Take take) {
    for (int step = 8; step > 0; step /= 2) {
        value = take(value, __shfl_xor_sync(kFullWarp, value, step));
    }
    return value;
}

__global__ void __launch_bounds__(kThreads) attend(const __grid_constant__ AttentionArguments<float> p) {
    QUANTSCOPE_SHARED(float, x, [kDepth * kPitch]);           // queries, by input
    QUANTSCOPE_SHARED(float, w, [kDepth * kAcross]);          // keys, by input; then values, by key
    QUANTSCOPE_SHARED(float, probabilities, [kTile * kPitch]);  // by key
    const uint32_t firstRow = blockIdx.x * kTile;
    const uint64_t headAt = uint64_t{blockIdx.y} * p.width;
    const uint32_t firstColumn = blockIdx.z * kAcross;
    const uint32_t columns = p.width - firstColumn;  // from there on
    const uint32_t tx = threadIdx.x % 16;
    const uint32_t ty = threadIdx.x / 16;
    float sums[kEach][kColumns] = {};
    float most[kEach];
    float weights[kEach] = {};
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
        most[i] = -INFINITY;
    }
    for (uint32_t first = 0; first < p.keys; first += kTile) {
        float scores[kEach][kEach] = {};
        for (uint32_t begin = 0; begin < p.width; begin += kDepth) {
            __syncthreads();  // somebody may still read what is written now
            for (uint32_t i = threadIdx.x; i < kTile * kDepth; i += kThreads) {
                const uint32_t row = i / kDepth;
                const uint32_t at = begin + i % kDepth;
                x[i % kDepth * kPitch + row] = firstRow + row < p.queries && at < p.width ? p.q[(firstRow + row) * p.qStride + headAt + at] : 0.0f;
                w[i % kDepth * kPitch + row] = first + row < p.keys && at < p.width ? p.k[(first + row) * p.kStride + headAt + at] : 0.0f;
            }
            __syncthreads();
#pragma unroll
            for (int k = 0; k < kDepth; ++k) {
                float a[kEach], b[kEach];
#pragma unroll
                for (int i = 0; i < kEach; ++i) {
                    a[i] = x[k * kPitch + ty + 16 * i];
                    b[i] = w[k * kPitch + tx + 16 * i];
                }
#pragma unroll
                for (int i = 0; i < kEach; ++i) {
#pragma unroll
                    for (int j = 0; j < kEach; ++j) {
                        scores[i][j] = fmaf(a[i], b[j], scores[i][j]);
                    }
                }
            }
        }
#pragma unroll
        for (int i = 0; i < kEach; ++i) {
            float greatest = most[i];
#pragma unroll
            for (int j = 0; j < kEach; ++j) {
                const uint32_t key = first + tx + 16 * j;
                scores[i][j] = key < p.keys ? scores[i][j] * p.scale + (p.bias == nullptr ? 0.0f : p.bias[key]) : -INFINITY;
                greatest = fmaxf(greatest, scores[i][j]);
            }
            greatest = rowwise(greatest, [](float a, float b) { return fmaxf(a, b); });
            // Negative infinities alone: any shift does, and infinity minus infinity must not be one.
            const float shift = greatest == -INFINITY ? 0.0f : greatest;
            const float correction = expf(most[i] - shift);
            most[i] = greatest;
            float added = 0.0f;
#pragma unroll
            for (int j = 0; j < kEach; ++j) {
                const float probability = expf(scores[i][j] - shift);
                probabilities[(tx + 16 * j) * kPitch + ty + 16 * i] = probability;
                added += probability;
            }
            weights[i] = fmaf(weights[i], correction, added);
#pragma unroll
            for (uint32_t c = 0; c < kColumns; ++c) {
                sums[i][c] *= correction;
            }
        }
        for (uint32_t begin = 0; begin < kTile && first + begin < p.keys; begin += kDepth) {
            __syncthreads();
            for (uint32_t i = threadIdx.x; i < kDepth * kAcross; i += kThreads) {
                const uint32_t key = first + begin + i / kAcross;
                const uint32_t column = i % kAcross;
                w[i] = key < p.keys && column < columns ? p.v[key * p.vStride + headAt + firstColumn + column] : 0.0f;
            }
            __syncthreads();
            for (uint32_t k = 0; k < kDepth; ++k) {
                float a[kEach];
#pragma unroll
                for (int i = 0; i < kEach; ++i) {
                    a[i] = probabilities[(begin + k) * kPitch + ty + 16 * i];
                }
#pragma unroll
                for (uint32_t c = 0; c < kColumns; ++c) {
                    if (16 * c < columns) {
                        const float value = w[k * kAcross + tx + 16 * c];
#pragma unroll
                        for (int i = 0; i < kEach; ++i) {
                            sums[i][c] = fmaf(a[i], value, sums[i][c]);
                        }
                    }
                }
            }
        }
    }
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
        const float factor = 1.0f / rowwise(weights[i], [](float a, float b) { return a + b; });
        const uint32_t row = firstRow + ty + 16 * i;
#pragma unroll
        for (uint32_t c = 0; c < kColumns; ++c) {
            const uint32_t column = tx + 16 * c;
            if (row < p.queries && column < columns) {
                p.out[row * p.outStride + headAt + firstColumn + column] = sums[i][c] * factor;
            }
        }
    }
}

}  // namespace float32Attention

}  // namespace quantscope::cuda

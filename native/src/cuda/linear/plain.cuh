// Products without tensor cores, for results that are to be exact to the last bit or in float64.
#pragma once

#include "cuda/linear/finite.cuh"
#include "cuda/portable.cuh"

namespace quantscope::cuda {

/// y[i][j] = factor * Σ_k x[i][k] w[j][k] + keep * y[i][j] (+ bias[j]). Strides in elements.
/// The sum starts from 0 and takes k in ascending order, one fused multiply-add each, whatever the size; x and w are converted exactly.
template <class T, class X, class W, class Y>
struct PlainProduct {
    const X* x;
    uint64_t xStride;
    const W* w;
    uint64_t wStride;   ///< between rows of w, [outputs, width]; with wByColumns of [width, outputs]
    bool wByColumns;
    uint32_t rows;
    uint32_t outputs;
    uint32_t width;
    T factor;
    T keep;
    const T* bias;      ///< [outputs] or null
    Y* y;
    uint64_t yStride;
    bool lowerOnly = false;  ///< y is square and tiles above its diagonal are left alone
    uint32_t* nonFinite = nullptr;  ///< as in LinearRequest
};

namespace plain {

inline constexpr int kTile = 64;   ///< rows and columns of a block
inline constexpr int kDepth = 16;
inline constexpr int kEach = 4;    ///< rows and columns of a thread
inline constexpr int kThreads = 256;

template <class T, class X>
__device__ inline T wide(X value) {
    if constexpr (sizeof(X) == sizeof(T)) {
        return value;
    } else if constexpr (sizeof(X) == 4) {
        return static_cast<T>(value);
    } else {
        return static_cast<T>(toFloat(value));
    }
}

template <class T, class X, class W, class Y>
__global__ void __launch_bounds__(kThreads) multiply(const __grid_constant__ PlainProduct<T, X, W, Y> p) {
    constexpr int kPitch = kTile + 2;
    QUANTSCOPE_SHARED(T, x, [kDepth * kPitch]);
    QUANTSCOPE_SHARED(T, w, [kDepth * kPitch]);
    const uint32_t firstRow = blockIdx.x * kTile;
    const uint32_t firstColumn = blockIdx.y * kTile;
    if (p.lowerOnly && firstColumn > firstRow) {
        return;
    }
    const uint32_t tx = threadIdx.x % 16;
    const uint32_t ty = threadIdx.x / 16;
    T sums[kEach][kEach] = {};
    for (uint32_t begin = 0; begin < p.width; begin += kDepth) {
        for (uint32_t i = threadIdx.x; i < kTile * kDepth; i += kThreads) {
            const uint32_t row = i / kDepth;
            const uint32_t k = i % kDepth;
            const bool inside = firstRow + row < p.rows && begin + k < p.width;
            x[k * kPitch + row] = inside ? wide<T>(p.x[(firstRow + row) * p.xStride + begin + k]) : T(0);
        }
        for (uint32_t i = threadIdx.x; i < kTile * kDepth; i += kThreads) {
            const uint32_t column = p.wByColumns ? i % kTile : i / kDepth;
            const uint32_t k = p.wByColumns ? i / kTile : i % kDepth;
            const bool inside = firstColumn + column < p.outputs && begin + k < p.width;
            const uint64_t at = p.wByColumns ? (begin + k) * p.wStride + firstColumn + column : (firstColumn + column) * p.wStride + begin + k;
            w[k * kPitch + column] = inside ? wide<T>(p.w[at]) : T(0);
        }
        __syncthreads();
        const uint32_t depth = min(static_cast<uint32_t>(kDepth), p.width - begin);
        for (uint32_t k = 0; k < depth; ++k) {
            T a[kEach], b[kEach];
#pragma unroll
            for (int i = 0; i < kEach; ++i) {
                a[i] = x[k * kPitch + ty + 16 * i];
                b[i] = w[k * kPitch + tx + 16 * i];
            }
#pragma unroll
            for (int i = 0; i < kEach; ++i) {
#pragma unroll
                for (int j = 0; j < kEach; ++j) {
                    sums[i][j] = fma(a[i], b[j], sums[i][j]);
                }
            }
        }
        __syncthreads();
    }
    bool nonFinite = false;
    for (int i = 0; i < kEach; ++i) {
        const uint32_t row = firstRow + ty + 16 * i;
        for (int j = 0; j < kEach; ++j) {
            const uint32_t column = firstColumn + tx + 16 * j;
            if (row < p.rows && column < p.outputs) {
                Y& y = p.y[row * p.yStride + column];
                T value = p.factor * sums[i][j];
                if (p.keep != T(0)) {
                    value += p.keep * wide<T>(y);
                }
                if (p.bias != nullptr) {
                    value += p.bias[column];
                }
                nonFinite = nonFinite || isNonFinite(static_cast<float>(value), sizeof(Y) == 2);
                if constexpr (sizeof(Y) == 2) {
                    y = fromFloat<Y>(static_cast<float>(value));
                } else {
                    y = static_cast<Y>(value);
                }
            }
        }
    }
    report(nonFinite, p.nonFinite);
}

}  // namespace plain

template <class T, class X, class W, class Y>
cudaError_t launchPlain(const PlainProduct<T, X, W, Y>& p, cudaStream_t stream) {
    if (p.rows == 0 || p.outputs == 0) {
        return cudaSuccess;
    }
    return launch(plain::multiply<T, X, W, Y>, dim3(divideUp(p.rows, plain::kTile), divideUp(p.outputs, plain::kTile)), plain::kThreads, 0, stream, p);
}

}  // namespace quantscope::cuda

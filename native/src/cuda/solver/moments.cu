// Second moments: bfloat16 rows on tensor cores (moments_bf16.cuh), float32 rows in float32.
#include "cuda/solver/moments.h"

#include "cuda/context.cuh"
#include "cuda/linear/finite.cuh"
#include "cuda/solver/moments_bf16.cuh"

namespace quantscope::cuda {

namespace {

using moments::kRowsAtOnce;
using moments::kThreads;

constexpr int kTile = 64;
constexpr int kDepth = 16;

/// usable[row]: whether all values are finite. A warp for each row, in pieces of 16 bytes where rows are aligned to them.
template <class T>
__global__ void findUsable(const T* x, uint64_t rows, uint64_t width, uint64_t stride, bool aligned, uint8_t* usable, unsigned long long* counted) {
    constexpr uint64_t kPiece = 16 / sizeof(T);
    const uint64_t row = (static_cast<uint64_t>(blockIdx.x) * kThreads + threadIdx.x) / 32;
    if (row >= rows) {
        return;
    }
    const T* const values = x + row * stride;
    const uint64_t lane = threadIdx.x % 32;
    const uint64_t pieces = aligned ? width / kPiece : 0;
    uint32_t nonFinite = 0;
    for (uint64_t i = lane; i < pieces; i += 32) {
        const uint4 words = load16(reinterpret_cast<const uint4*>(values) + i);
        nonFinite |= nonFiniteIn<T>(words.x) | nonFiniteIn<T>(words.y) | nonFiniteIn<T>(words.z) | nonFiniteIn<T>(words.w);
    }
    for (uint64_t i = pieces * kPiece + lane; i < width; i += 32) {
        nonFinite |= nonFiniteIn<float>(__float_as_uint(toFloat(values[i])));
    }
    const int finite = __all_sync(kFullWarp, nonFinite == 0);
    if (lane == 0) {
        usable[row] = static_cast<uint8_t>(finite);
        if (finite != 0) {
            atomicAdd(counted, 1ull);
        }
    }
}

/// sums[i][j] += Σ x[row][i] x[row][j] of float32 rows, tiles with j beyond i's left out. Products of the rows add up in float32, in order.
__global__ void __launch_bounds__(kThreads) addTiles(const float* x, uint32_t rows, uint32_t width, uint64_t stride, const uint8_t* usable, double* sums) {
    if (blockIdx.y > blockIdx.x) {
        return;
    }
    QUANTSCOPE_SHARED(float, left, [kDepth * kTile]);
    QUANTSCOPE_SHARED(float, right, [kDepth * kTile]);
    const uint32_t firstRow = blockIdx.x * kTile;
    const uint32_t firstColumn = blockIdx.y * kTile;
    const uint32_t tx = threadIdx.x % 16;
    const uint32_t ty = threadIdx.x / 16;
    float products[4][4] = {};
    for (uint32_t begin = 0; begin < rows; begin += kDepth) {
        for (uint32_t i = threadIdx.x; i < kDepth * kTile; i += kThreads) {
            const uint32_t row = begin + i / kTile;
            const bool inside = row < rows && usable[row] != 0;
            const uint32_t a = firstRow + i % kTile;
            const uint32_t b = firstColumn + i % kTile;
            left[i] = inside && a < width ? x[row * stride + a] : 0.0f;
            right[i] = inside && b < width ? x[row * stride + b] : 0.0f;
        }
        __syncthreads();
        for (int k = 0; k < kDepth; ++k) {
            float a[4], b[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                a[i] = left[k * kTile + ty + 16 * i];
                b[i] = right[k * kTile + tx + 16 * i];
            }
#pragma unroll
            for (int i = 0; i < 4; ++i) {
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    products[i][j] = fmaf(a[i], b[j], products[i][j]);
                }
            }
        }
        __syncthreads();
    }
    for (uint32_t i = 0; i < 4; ++i) {
        for (uint32_t j = 0; j < 4; ++j) {
            const uint32_t row = firstRow + ty + 16 * i;
            const uint32_t column = firstColumn + tx + 16 * j;
            if (row < width && column <= row) {
                sums[static_cast<uint64_t>(row) * width + column] += static_cast<double>(products[i][j]);
            }
        }
    }
}

__global__ void takeMean(const double* sums, uint64_t width, const unsigned long long* counted, uint64_t first, uint64_t rows, float* mean) {
    const uint64_t at = static_cast<uint64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (at >= rows * width) {
        return;
    }
    const uint64_t i = first + at / width;
    const uint64_t j = at % width;
    const double each = *counted == 0 ? 0.0 : 1 / static_cast<double>(*counted);
    mean[at] = static_cast<float>(sums[i > j ? i * width + j : j * width + i] * each);
}

bool isAligned(const void* at, uint64_t strideBytes) { return reinterpret_cast<uintptr_t>(at) % 16 == 0 && strideBytes % 16 == 0; }

template <class T>
cudaError_t findUsableRows(cudaStream_t stream, const MomentsRequest& r) {
    return launch(findUsable<T>, divideUp(r.rows * 32, kThreads), kThreads, 0, stream, static_cast<const T*>(r.x), r.rows, r.width, r.stride,
                  isAligned(r.x, r.stride * sizeof(T)), r.usable, reinterpret_cast<unsigned long long*>(r.counted));
}

cudaError_t addFloats(cudaStream_t stream, const MomentsRequest& r) {
    cudaError_t error = findUsableRows<float>(stream, r);
    const unsigned tiles = divideUp(r.width, kTile);
    for (uint64_t begin = 0; error == cudaSuccess && begin < r.rows; begin += kRowsAtOnce) {
        const auto rows = static_cast<uint32_t>(r.rows - begin < kRowsAtOnce ? r.rows - begin : kRowsAtOnce);
        error = launch(addTiles, dim3(tiles, tiles), kThreads, 0, stream, static_cast<const float*>(r.x) + begin * r.stride, rows,
                       static_cast<uint32_t>(r.width), r.stride, r.usable + begin, r.sums);
    }
    return error;
}

cudaError_t addBf16(cudaStream_t stream, const MomentsRequest& r) {
    const cudaError_t error = findUsableRows<Bf16>(stream, r);
    if (error != cudaSuccess) {
        return error;
    }
    const unsigned tiles = divideUp(r.width, moments::kTile);
    const bool inPieces = isAligned(r.x, r.stride * sizeof(Bf16)) && r.width % 8 == 0;
    const moments::Arguments arguments{static_cast<const Bf16*>(r.x), r.stride, static_cast<uint32_t>(r.rows), static_cast<uint32_t>(r.width), r.usable, r.sums,
                                       isAligned(r.sums, r.width * sizeof(double))};
    return launch(inPieces ? moments::addTriangle<true> : moments::addTriangle<false>, tiles * (tiles + 1) / 2, kThreads, moments::kShared, stream, arguments);
}

}  // namespace

Status addMoments(Context* context, const MomentsRequest* request) {
    const MomentsRequest& r = *request;
    if (r.rows == 0 || r.width == 0) {
        return Status::Ok;
    }
    if (r.rows >= uint64_t{1} << 31 || r.width > uint64_t{1} << 20) {
        return fail(Status::Argument, "no second moments of " + std::to_string(r.rows) + " rows of " + std::to_string(r.width) + " values");
    }
    return check(r.element == Element::F32 ? addFloats(context->stream, r) : addBf16(context->stream, r), "second moments");
}

Status meanMoments(Context* context, const double* sums, uint64_t width, const uint64_t* counted, uint64_t first, uint64_t rows, float* mean) {
    if (width == 0 || rows == 0) {
        return Status::Ok;
    }
    return check(launch(takeMean, divideUp(rows * width, kThreads), kThreads, 0, context->stream, sums, width,
                        reinterpret_cast<const unsigned long long*>(counted), first, rows, mean),
                 "mean of second moments");
}

}  // namespace quantscope::cuda

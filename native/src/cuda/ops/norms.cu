// Normalisations. Sums of a thread are in float32, those of threads in float64, in an order that depends on the sizes alone.
#include <algorithm>

#include "cuda/ops/ops.cuh"

namespace quantscope::cuda::ops {

namespace {

constexpr uint32_t kMostThreads = 512;
constexpr int kPieces = 4;  ///< that a thread keeps in registers

/// Adds `value` of all threads with the same threadIdx.y up, in all of them. blockDim.x is a power of two. `scratch` holds a number for each warp of the
/// block, where rows are longer than a warp.
__device__ inline double sumOverRow(double value, double* scratch) {
    for (uint32_t step = min(blockDim.x, static_cast<uint32_t>(kWarpLanes)) / 2; step > 0; step /= 2) {
        value += __shfl_xor_sync(kFullWarp, value, static_cast<int>(step));
    }
    if (blockDim.x <= kWarpLanes) {
        return value;
    }
    const uint32_t warps = blockDim.x / kWarpLanes;
    double* const mine = scratch + threadIdx.y * warps;
    if (threadIdx.x % kWarpLanes == 0) {
        mine[threadIdx.x / kWarpLanes] = value;
    }
    __syncthreads();
    double result = 0;
    for (uint32_t w = 0; w < warps; ++w) {
        result += mine[w];
    }
    __syncthreads();
    return result;
}

/// Sum of term(x[i]) of one thread's share, in pieces of kCount; `count` is a multiple of it.
template <int kCount, class T, class Term>
__device__ inline double sumOfShare(const T* x, uint64_t count, uint32_t thread, uint32_t threads, Term term) {
    double total = 0;
    float sum = 0;
    uint32_t added = 0;
    for (uint64_t i = uint64_t{thread} * kCount; i < count; i += uint64_t{threads} * kCount) {
        const Piece<T, kCount> piece = loadPiece<kCount>(x + i);
        for (int k = 0; k < kCount; ++k) {
            sum += term(toFloat(piece.at[k]));
        }
        if (++added == 64) {  // long sums in float32 would lose digits
            total += sum;
            sum = 0;
            added = 0;
        }
    }
    return total + sum;
}

/// 1 / sqrt(squares / width + eps)
__device__ inline float inverseOf(const RowNormRequest& r, double squares) {
    return 1.0f / sqrtf(static_cast<float>(squares) / static_cast<float>(r.width) + static_cast<float>(r.eps));
}

/// Stores elements i.. of a row, normalised, with weight and bias, and modulated.
template <int kCount, class T>
__device__ inline void storeNormalised(const RowNormRequest& r, uint64_t row, uint64_t i, Piece<T, kCount> piece, float mean, float inverse) {
    constexpr int kAtOnce = kCount < 4 ? kCount : 4;
    Piece<T, kCount> scale{}, shift{};
    if (r.scale != nullptr) {
        scale = loadPiece<kCount>(static_cast<const T*>(r.scale) + i);
        shift = loadPiece<kCount>(static_cast<const T*>(r.shift) + i);
    }
#pragma unroll
    for (int k = 0; k < kCount; k += kAtOnce) {
        float value[kAtOnce];
        for (int e = 0; e < kAtOnce; ++e) {
            value[e] = (toFloat(piece.at[k + e]) - mean) * inverse;
        }
        if (r.weight != nullptr) {
            const auto weight = loadPiece<kAtOnce>(r.weight + i + k);
            for (int e = 0; e < kAtOnce; ++e) {
                value[e] *= weight.at[e];
            }
        }
        if (r.bias != nullptr) {
            const auto bias = loadPiece<kAtOnce>(r.bias + i + k);
            for (int e = 0; e < kAtOnce; ++e) {
                value[e] += bias.at[e];
            }
        }
        if (r.scale != nullptr) {
            for (int e = 0; e < kAtOnce; ++e) {
                value[e] = value[e] * (1.0f + toFloat(scale.at[k + e])) + toFloat(shift.at[k + e]);
            }
        }
        for (int e = 0; e < kAtOnce; ++e) {
            piece.at[k + e] = fromFloat<T>(value[e]);
        }
    }
    storePiece(static_cast<T*>(r.out) + row * r.width + i, piece);
}

/// A row for each threadIdx.y; x goes along it, and every thread keeps its share of the row.
template <class T, int kCount>
__global__ void __launch_bounds__(kMostThreads) normaliseRows(const __grid_constant__ RowNormRequest r) {
    QUANTSCOPE_SHARED(double, scratch, [kMostThreads / kWarpLanes]);
    const uint64_t row = uint64_t{blockIdx.x} * blockDim.y + threadIdx.y;
    const bool here = row < r.rows;
    const T* const x = static_cast<const T*>(r.x) + (here ? row : 0) * r.width;
    const auto at = [&](int p) { return (threadIdx.x + static_cast<uint32_t>(p) * blockDim.x) * uint32_t{kCount}; };
    Piece<T, kCount> pieces[kPieces];
    for (int p = 0; p < kPieces; ++p) {
        if (at(p) < r.width) {
            pieces[p] = loadPiece<kCount>(x + at(p));
        }
    }
    const auto sumOf = [&](auto term) {
        float sum = 0;
        for (int p = 0; p < kPieces; ++p) {
            for (int k = 0; at(p) < r.width && k < kCount; ++k) {
                sum += term(toFloat(pieces[p].at[k]));
            }
        }
        return sumOverRow(sum, scratch);
    };
    const float mean = r.centred == 0 ? 0.0f : static_cast<float>(sumOf([](float v) { return v; }) / static_cast<double>(r.width));
    const float inverse = inverseOf(r, sumOf([mean](float v) { return (v - mean) * (v - mean); }));
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
        if (here && at(p) < r.width) {
            storeNormalised(r, row, at(p), pieces[p], mean, inverse);
        }
    }
}

/// The same for rows of any length, which are read again for every sum.
template <class T, int kCount>
__global__ void normaliseLongRows(const __grid_constant__ RowNormRequest r) {
    QUANTSCOPE_SHARED(double, scratch, [kThreads / kWarpLanes]);
    const uint64_t row = uint64_t{blockIdx.x} * blockDim.y + threadIdx.y;
    const bool here = row < r.rows;
    const T* const x = static_cast<const T*>(r.x) + (here ? row : 0) * r.width;
    float mean = 0.0f;
    if (r.centred != 0) {
        const double sum = sumOfShare<kCount>(x, r.width, threadIdx.x, blockDim.x, [](float v) { return v; });
        mean = static_cast<float>(sumOverRow(sum, scratch) / static_cast<double>(r.width));
    }
    const double squares = sumOverRow(sumOfShare<kCount>(x, r.width, threadIdx.x, blockDim.x, [mean](float v) { return (v - mean) * (v - mean); }), scratch);
    const float inverse = inverseOf(r, squares);
    for (uint64_t i = uint64_t{threadIdx.x} * kCount; here && i < r.width; i += uint64_t{blockDim.x} * kCount) {
        storeNormalised(r, row, i, loadPiece<kCount>(x + i), mean, inverse);
    }
}

/// Values of a part of a group of `count`, of which there are kNormParts at most; the last one may be short.
__host__ __device__ inline uint64_t partOf(uint64_t count) {
    constexpr uint64_t kLeast = 4096, kMultiple = 64;
    const uint64_t even = (count + kNormParts - 1) / kNormParts;
    return even < kLeast ? kLeast : (even + kMultiple - 1) / kMultiple * kMultiple;
}

/// Sum and squared deviations of part blockIdx.x of group blockIdx.y, in one reading: a thread takes kPieces pieces at a time, whose mean m is near enough to
/// them that float32 suffices. With d = Σ(v - m) and q = Σ(v - m)² of n values, sums are n m + d, and sums of squares q + m (2 d + n m).
template <class T, int kCount>
__global__ void measureParts(const __grid_constant__ GroupNormRequest r) {
    QUANTSCOPE_SHARED(double, scratch, [kThreads / kWarpLanes]);
    const uint64_t count = r.channels / r.groups * r.size;
    const uint64_t part = partOf(count);
    const uint64_t first = blockIdx.x * part;
    const uint64_t own = min(part, count - first);
    const T* const x = static_cast<const T*>(r.x) + blockIdx.y * count + first;
    double sum = 0, squares = 0;
    for (uint64_t i = uint64_t{threadIdx.x} * kCount; i < own; i += uint64_t{kThreads} * kCount * kPieces) {
        Piece<T, kCount> pieces[kPieces];
        float rough = 0;
        int values = 0;
        for (int p = 0; p < kPieces; ++p) {
            if (i + uint64_t{kThreads} * kCount * p < own) {
                pieces[p] = loadPiece<kCount>(x + i + uint64_t{kThreads} * kCount * p);
                values += kCount;
                for (int k = 0; k < kCount; ++k) {
                    rough += toFloat(pieces[p].at[k]);
                }
            }
        }
        const float mean = rough / static_cast<float>(values);
        float beside = 0, deviations = 0;
        for (int p = 0; p < kPieces; ++p) {
            for (int k = 0; p * kCount < values && k < kCount; ++k) {
                const float deviation = toFloat(pieces[p].at[k]) - mean;
                beside += deviation;
                deviations = fmaf(deviation, deviation, deviations);
            }
        }
        const double total = static_cast<double>(values) * mean + beside;
        sum += total;
        squares += deviations + mean * (total + beside);
    }
    sum = sumOverRow(sum, scratch);
    squares = sumOverRow(squares, scratch);
    if (threadIdx.x == 0) {
        double* const to = r.moments + 2 * (blockIdx.y * kNormParts + blockIdx.x);
        to[0] = sum;
        to[1] = squares - sum * sum / static_cast<double>(own);
    }
}

/// A warp for each group, whose moments are put together from those of the parts (Chan, Golub and LeVeque 1979): mean and inverse deviation take the place
/// of the first part's.
__global__ void joinParts(const __grid_constant__ GroupNormRequest r) {
    const uint64_t count = r.channels / r.groups * r.size;
    const uint64_t part = partOf(count);
    double* const from = r.moments + 2 * blockIdx.x * kNormParts;
    double sum = 0;
    for (uint64_t i = threadIdx.x; i * part < count; i += kWarpLanes) {
        sum += from[2 * i];
    }
    const double mean = warpSum(sum) / static_cast<double>(count);
    double squares = 0;
    for (uint64_t i = threadIdx.x; i * part < count; i += kWarpLanes) {
        const auto own = static_cast<double>(min(part, count - i * part));
        const double beside = from[2 * i] / own - mean;
        squares += from[2 * i + 1] + own * beside * beside;
    }
    squares = warpSum(squares);
    if (threadIdx.x == 0) {
        from[0] = mean;
        from[1] = 1.0 / sqrt(squares / static_cast<double>(count) + r.eps);
    }
}

/// blockIdx.y is a channel.
template <class T, int kCount>
__global__ void normaliseChannels(const __grid_constant__ GroupNormRequest r) {
    const uint64_t channel = blockIdx.y;
    const double* const moments = r.moments + 2 * kNormParts * (channel / (r.channels / r.groups));
    const auto mean = static_cast<float>(moments[0]), inverse = static_cast<float>(moments[1]);
    const float weight = r.weight[channel], bias = r.bias[channel];
    const T* const x = static_cast<const T*>(r.x) + channel * r.size;
    T* const out = static_cast<T*>(r.out) + channel * r.size;
    for (uint64_t i = (uint64_t{blockIdx.x} * kThreads + threadIdx.x) * kCount; i < r.size; i += uint64_t{gridDim.x} * kThreads * kCount) {
        Piece<T, kCount> piece = loadPiece<kCount>(x + i);
        for (int k = 0; k < kCount; ++k) {
            piece.at[k] = fromFloat<T>((toFloat(piece.at[k]) - mean) * inverse * weight + bias);
        }
        storePiece(out + i, piece);
    }
}

/// A thread for kCount positions.
template <class T, int kCount>
__global__ void normaliseAcrossChannels(const __grid_constant__ ChannelNormRequest r) {
    const uint64_t position = (uint64_t{blockIdx.x} * kThreads + threadIdx.x) * kCount;
    if (position >= r.size) {
        return;
    }
    const T* const x = static_cast<const T*>(r.x) + position;
    double squares[kCount] = {};
#pragma unroll 4
    for (uint64_t c = 0; c < r.channels; ++c) {
        const Piece<T, kCount> piece = loadPiece<kCount>(x + c * r.size);
        for (int k = 0; k < kCount; ++k) {
            const double value = toFloat(piece.at[k]);
            squares[k] += value * value;
        }
    }
    float inverse[kCount];
    for (int k = 0; k < kCount; ++k) {
        const double norm = sqrt(squares[k]);
        inverse[k] = static_cast<float>(1.0 / (norm < 1e-12 ? 1e-12 : norm));
    }
#pragma unroll 4
    for (uint64_t c = 0; c < r.channels; ++c) {
        Piece<T, kCount> piece = loadPiece<kCount>(x + c * r.size);
        for (int k = 0; k < kCount; ++k) {
            piece.at[k] = fromFloat<T>(toFloat(piece.at[k]) * inverse[k] * r.weight[c]);
        }
        storePiece(static_cast<T*>(r.out) + c * r.size + position, piece);
    }
}

template <class T>
cudaError_t startRows(const RowNormRequest& r, cudaStream_t stream) {
    const bool wide = r.width % kWide<T> == 0 && isAligned(r.x) && isAligned(r.out) && isAligned(r.weight) && isAligned(r.bias) && isAligned(r.scale) && isAligned(r.shift);
    const uint64_t pieces = wide ? r.width / kWide<T> : r.width;
    const bool kept = pieces <= kMostThreads * kPieces;
    uint32_t across = 8;  // 128 bytes
    while (across < (kept ? kMostThreads : kThreads) && across * kPieces < pieces) {
        across *= 2;
    }
    const dim3 block(across, across < kThreads ? kThreads / across : 1);
    const unsigned blocks = divideUp(r.rows, block.y);
    if (!kept) {
        return wide ? launch(normaliseLongRows<T, kWide<T>>, blocks, block, 0, stream, r) : launch(normaliseLongRows<T, 1>, blocks, block, 0, stream, r);
    }
    return wide ? launch(normaliseRows<T, kWide<T>>, blocks, block, 0, stream, r) : launch(normaliseRows<T, 1>, blocks, block, 0, stream, r);
}

template <class T, int kCount>
cudaError_t startGroups(const GroupNormRequest& r, cudaStream_t stream) {
    const uint64_t count = r.channels / r.groups * r.size;
    const auto groups = static_cast<unsigned>(r.groups);
    if (const cudaError_t error = launch(measureParts<T, kCount>, dim3(divideUp(count, partOf(count)), groups), kThreads, 0, stream, r); error != cudaSuccess) {
        return error;
    }
    if (const cudaError_t error = launch(joinParts, groups, kWarpLanes, 0, stream, r); error != cudaSuccess) {
        return error;
    }
    const unsigned across = divideUp(std::min<uint64_t>(r.size, uint64_t{1024} * kThreads * kCount), kThreads * kCount);
    return launch(normaliseChannels<T, kCount>, dim3(across, static_cast<unsigned>(r.channels)), kThreads, 0, stream, r);
}

/// Whether channels can be read in pieces of 16 bytes.
template <class T, class Request>
bool inPieces(const Request& r) {
    return r.size % kWide<T> == 0 && isAligned(r.x) && isAligned(r.out);
}

template <class T>
cudaError_t startGroups(const GroupNormRequest& r, cudaStream_t stream) {
    return inPieces<T>(r) ? startGroups<T, kWide<T>>(r, stream) : startGroups<T, 1>(r, stream);
}

template <class T>
cudaError_t startChannels(const ChannelNormRequest& r, cudaStream_t stream) {
    return inPieces<T>(r) ? launch(normaliseAcrossChannels<T, kWide<T>>, divideUp(r.size, kThreads * kWide<T>), kThreads, 0, stream, r)
                          : launch(normaliseAcrossChannels<T, 1>, divideUp(r.size, kThreads), kThreads, 0, stream, r);
}

}  // namespace

Status rowNorm(Context* context, const RowNormRequest* request) {
    const RowNormRequest& r = *request;
    if (r.rows == 0 || r.width == 0) {
        return Status::Ok;
    }
    if (r.rows >= uint64_t{1} << 31) {
        return fail(Status::Argument, "a norm of 2^31 rows or more");
    }
    return check(r.element == Element::F32 ? startRows<float>(r, context->stream) : startRows<Bf16>(r, context->stream), "norm of rows");
}

Status groupNorm(Context* context, const GroupNormRequest* request) {
    const GroupNormRequest& r = *request;
    if (r.channels == 0 || r.size == 0) {
        return Status::Ok;
    }
    if (r.groups == 0 || r.channels % r.groups != 0 || r.channels > 65535) {
        return fail(Status::Argument, "a norm of " + std::to_string(r.groups) + " groups of " + std::to_string(r.channels) + " channels");
    }
    return check(r.element == Element::F32 ? startGroups<float>(r, context->stream) : startGroups<Bf16>(r, context->stream), "norm of groups");
}

Status channelNorm(Context* context, const ChannelNormRequest* request) {
    const ChannelNormRequest& r = *request;
    if (r.channels == 0 || r.size == 0) {
        return Status::Ok;
    }
    return check(r.element == Element::F32 ? startChannels<float>(r, context->stream) : startChannels<Bf16>(r, context->stream), "norm of channels");
}

}  // namespace quantscope::cuda::ops

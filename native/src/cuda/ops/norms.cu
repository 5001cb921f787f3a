// Normalisations. Sums of a thread are in float32, those of threads in float64, in an order that depends on the sizes alone.
#include <algorithm>

#include "cuda/ops/ops.cuh"

namespace quantscope::cuda::ops {

namespace {

/// Adds `value` of all threads with the same threadIdx.y up, in all of them. `scratch` holds a number for each warp of the block.
__device__ inline double sumOverRow(double value, double* scratch) {
    const uint32_t warps = blockDim.x / kWarpLanes;
    double* const mine = scratch + threadIdx.y * warps;
    const double sum = warpSum(value);
    if (threadIdx.x % kWarpLanes == 0) {
        mine[threadIdx.x / kWarpLanes] = sum;
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

/// A row for each threadIdx.y; x goes along it.
template <class T, int kCount>
__global__ void normaliseRows(const __grid_constant__ RowNormRequest r) {
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
    const auto inverse = static_cast<float>(1.0 / sqrt(squares / static_cast<double>(r.width) + r.eps));
    for (uint64_t i = uint64_t{threadIdx.x} * kCount; here && i < r.width; i += uint64_t{blockDim.x} * kCount) {
        Piece<T, kCount> piece = loadPiece<kCount>(x + i);
        for (int k = 0; k < kCount; ++k) {
            const float value = (toFloat(piece.at[k]) - mean) * inverse * (r.weight == nullptr ? 1.0f : r.weight[i + k]);
            piece.at[k] = fromFloat<T>(r.bias == nullptr ? value : value + r.bias[i + k]);
        }
        storePiece(static_cast<T*>(r.out) + row * r.width + i, piece);
    }
}

/// Values of a part of a group of `count`, of which there are kNormParts at most; the last one may be short.
__host__ __device__ inline uint64_t partOf(uint64_t count) {
    constexpr uint64_t kLeast = 4096;
    const uint64_t even = (count + kNormParts - 1) / kNormParts;
    return even < kLeast ? kLeast : even;
}

/// Sum and squared deviations of part blockIdx.x of group blockIdx.y.
template <class T>
__global__ void measureParts(const __grid_constant__ GroupNormRequest r) {
    QUANTSCOPE_SHARED(double, scratch, [kThreads / kWarpLanes]);
    const uint64_t count = r.channels / r.groups * r.size;
    const uint64_t part = partOf(count);
    const uint64_t first = blockIdx.x * part;
    const uint64_t own = min(part, count - first);
    const T* const x = static_cast<const T*>(r.x) + blockIdx.y * count + first;
    const double sum = sumOverRow(sumOfShare<1>(x, own, threadIdx.x, kThreads, [](float v) { return v; }), scratch);
    const auto mean = static_cast<float>(sum / static_cast<double>(own));
    const double squares = sumOverRow(sumOfShare<1>(x, own, threadIdx.x, kThreads, [mean](float v) { return (v - mean) * (v - mean); }), scratch);
    if (threadIdx.x == 0) {
        double* const to = r.moments + 2 * (blockIdx.y * kNormParts + blockIdx.x);
        to[0] = sum;
        // About the true mean: the rounded one is a little beside it.
        const double beside = sum / static_cast<double>(own) - mean;
        to[1] = squares - static_cast<double>(own) * beside * beside;
    }
}

/// blockIdx.y is a channel. The moments of its group are put together from those of the parts (Chan, Golub and LeVeque 1979).
template <class T>
__global__ void normaliseChannels(const __grid_constant__ GroupNormRequest r) {
    QUANTSCOPE_SHARED(float, moments, [2]);
    const uint64_t channel = blockIdx.y;
    if (threadIdx.x == 0) {
        const uint64_t perGroup = r.channels / r.groups;
        const uint64_t count = perGroup * r.size;
        const uint64_t part = partOf(count);
        const double* const from = r.moments + 2 * (channel / perGroup * kNormParts);
        double sum = 0;
        for (uint64_t i = 0; i * part < count; ++i) {
            sum += from[2 * i];
        }
        const double mean = sum / static_cast<double>(count);
        double squares = 0;
        for (uint64_t i = 0; i * part < count; ++i) {
            const auto own = static_cast<double>(min(part, count - i * part));
            const double beside = from[2 * i] / own - mean;
            squares += from[2 * i + 1] + own * beside * beside;
        }
        moments[0] = static_cast<float>(mean);
        moments[1] = static_cast<float>(1.0 / sqrt(squares / static_cast<double>(count) + r.eps));
    }
    __syncthreads();
    for (uint64_t i = uint64_t{blockIdx.x} * kThreads + threadIdx.x; i < r.size; i += uint64_t{gridDim.x} * kThreads) {
        const uint64_t at = channel * r.size + i;
        static_cast<T*>(r.out)[at] = fromFloat<T>((toFloat(static_cast<const T*>(r.x)[at]) - moments[0]) * moments[1] * r.weight[channel] + r.bias[channel]);
    }
}

/// A thread for each position.
template <class T>
__global__ void normaliseAcrossChannels(const __grid_constant__ ChannelNormRequest r) {
    const uint64_t position = uint64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (position >= r.size) {
        return;
    }
    const T* const x = static_cast<const T*>(r.x) + position;
    double squares = 0;
    for (uint64_t c = 0; c < r.channels; ++c) {
        const double value = toFloat(x[c * r.size]);
        squares += value * value;
    }
    const double norm = sqrt(squares);
    const auto inverse = static_cast<float>(1.0 / (norm < 1e-12 ? 1e-12 : norm));
    for (uint64_t c = 0; c < r.channels; ++c) {
        static_cast<T*>(r.out)[c * r.size + position] = fromFloat<T>(toFloat(x[c * r.size]) * inverse * r.weight[c]);
    }
}

template <class T>
cudaError_t startRows(const RowNormRequest& r, cudaStream_t stream) {
    const bool wide = r.width % kWide<T> == 0 && isAligned(r.x) && isAligned(r.out);
    // As many threads to a row as have about four pieces each.
    uint32_t across = kWarpLanes;
    while (across < kThreads && across * 4 * kWide<T> < r.width) {
        across *= 2;
    }
    const dim3 block(across, kThreads / across);
    const unsigned blocks = divideUp(r.rows, block.y);
    return wide ? launch(normaliseRows<T, kWide<T>>, blocks, block, 0, stream, r) : launch(normaliseRows<T, 1>, blocks, block, 0, stream, r);
}

template <class T>
cudaError_t startGroups(const GroupNormRequest& r, cudaStream_t stream) {
    const uint64_t count = r.channels / r.groups * r.size;
    const cudaError_t measured = launch(measureParts<T>, dim3(divideUp(count, partOf(count)), static_cast<unsigned>(r.groups)), kThreads, 0, stream, r);
    const unsigned across = divideUp(std::min<uint64_t>(r.size, uint64_t{1024} * kThreads), kThreads);
    return measured != cudaSuccess ? measured : launch(normaliseChannels<T>, dim3(across, static_cast<unsigned>(r.channels)), kThreads, 0, stream, r);
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
    const unsigned blocks = divideUp(r.size, kThreads);
    return check(r.element == Element::F32 ? launch(normaliseAcrossChannels<float>, blocks, kThreads, 0, context->stream, r)
                                           : launch(normaliseAcrossChannels<Bf16>, blocks, kThreads, 0, context->stream, r), "norm of channels");
}

}  // namespace quantscope::cuda::ops

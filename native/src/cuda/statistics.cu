// Weight diagnostics: both marginals of every row and the codebook's error, in one reading of x. A block takes one row at a time for each threadIdx.y.
//
// Histograms have some 24,000 cells, too many for shared memory beside the rows: counts go to global memory by atomic additions, which integers bear in
// any order. Everything else is added up within a row, in an order that does not depend on the device, and stays apart by row until the host adds it up.
#include <algorithm>
#include <string>

#include "cuda/context.cuh"
#include "cuda/rotation.cuh"

namespace quantscope::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kSums = 11;  ///< of one thread that go through shared memory at the end

struct StatisticsArguments {
    StatisticsRequest request;
    uint32_t levels;       ///< log2 of the block
    uint32_t vectorsIn;
    uint32_t stagedBytes;  ///< of a row; 0 reads x twice instead
    uint32_t yFloats;
};

/// Sums of one thread over a marginal.
struct Moments {
    float power[4] = {};
    float excess[2] = {};
    float largest = 0;

    __device__ void add(float u, const StatisticsRequest& request, uint32_t* counts) {
        const float square = u * u;
        power[0] += u;
        power[1] += square;
        power[2] = fmaf(square, u, power[2]);
        power[3] = fmaf(square, square, power[3]);
        largest = fmaxf(largest, fabsf(u));
        excess[0] += fmaxf(-request.limit - u, 0.0f);
        excess[1] += fmaxf(u - request.limit, 0.0f);
        const float position = fminf(fmaxf(u * request.perUnit + request.shift, 0.0f), static_cast<float>(request.last));
        atomicAdd(counts + static_cast<uint32_t>(position), 1u);
    }
};

/// (|u| - ratio * nearest level)^2.
__device__ inline float squaredError(float u, float ratio, const StatisticsRequest& request) {
    const float magnitude = fabsf(u);
    uint32_t index = 0;
    for (uint32_t step = request.levels / 2; step > 0; step /= 2) {
        index += magnitude >= __ldg(request.thresholds + index + step - 1) ? step : 0;
    }
    const float error = magnitude - ratio * __ldg(request.level + index);
    return error * error;
}

/// Adds `values` of all threads of a row up; the result is valid in thread 0 of the row. `scratch` holds kSums (blockDim.x / 32) doubles for each row.
template <int kCount>
__device__ inline void sumOverRow(double (&values)[kCount], double* scratch) {
    const uint32_t warps = blockDim.x / kWarpLanes;
    double* const mine = scratch + kCount * warps * threadIdx.y;
    for (int i = 0; i < kCount; ++i) {
        const double sum = warpSum(values[i]);
        if (threadIdx.x % kWarpLanes == 0) {
            mine[i * warps + threadIdx.x / kWarpLanes] = sum;
        }
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int i = 0; i < kCount; ++i) {
            values[i] = 0;
            for (uint32_t w = 0; w < warps; ++w) {
                values[i] += mine[i * warps + w];
            }
        }
    }
    __syncthreads();
}

__device__ inline float maxOverRow(float value, float* scratch) {
    const uint32_t warps = blockDim.x / kWarpLanes;
    float* const mine = scratch + warps * threadIdx.y;
    const float greatest = warpMax(value);
    if (threadIdx.x % kWarpLanes == 0) {
        mine[threadIdx.x / kWarpLanes] = greatest;
    }
    __syncthreads();
    float result = 0;
    for (uint32_t w = 0; w < warps; ++w) {
        result = fmaxf(result, mine[w]);
    }
    __syncthreads();
    return result;
}

template <class T>
__global__ void __launch_bounds__(kThreads, 2) measureRows(const StatisticsArguments a) {
    const StatisticsRequest& request = a.request;
    unsigned char* const shared = dynamicShared<unsigned char>();
    const uint32_t each = a.stagedBytes + a.yFloats * static_cast<uint32_t>(sizeof(float));
    unsigned char* const own = shared + threadIdx.y * each;
    auto* const scratch = reinterpret_cast<double*>(shared + blockDim.y * each);
    const uint64_t row = uint64_t{blockIdx.x} * blockDim.y + threadIdx.y;
    const bool here = row < request.rows;

    Rows<T, 1> rows;
    auto* const staged = a.stagedBytes > 0 ? reinterpret_cast<Column<T, 1>*>(own) : nullptr;
    rows.staged = staged;
    rows.sources = request.sources;
    rows.width = static_cast<uint32_t>(request.width);
    rows.levels = a.levels;
    rows.x[0] = here ? static_cast<const T*>(request.x) + row * request.xStride : nullptr;
    rows.y[0] = reinterpret_cast<float*>(own + a.stagedBytes);
    RowSums sums[1];
    loadRows(rows, staged, a.vectorsIn != 0, reinterpret_cast<float*>(scratch), sums);
    const bool finite = sums[0].largest < kInfinityBits;
    const bool measured = here && finite && sums[0].largest > 0 && sums[0].squares > 0;
    const double width = static_cast<double>(request.width);
    const double norm = measured ? sqrt(static_cast<double>(sums[0].squares)) : 1.0;
    const float scale = static_cast<float>(sqrt(width) / norm);
    const double trueNorm = ldexp(norm, sums[0].exponent);
    const float ratio = static_cast<float>(roundToStored(request.stored, trueNorm) / trueNorm);
    const float down = ldexpf(1.0f, -sums[0].exponent);
    const float unit = static_cast<float>(1.0 / sqrt(static_cast<double>(request.block)));
    rows.factor[0] = ldexpf(unit, -sums[0].exponent);

    Moments before;
    float errors = 0;
    double nonFinite = 0;
    const auto value = [&](uint32_t i) { return toFloat(staged != nullptr ? staged[i].row[0] : rows.x[0][i]); };
    for (uint32_t i = threadIdx.x; here && i < rows.width; i += blockDim.x) {
        if (measured) {
            const float u = value(i) * down * scale;
            before.add(u, request, request.before);
            errors += request.levels > 0 && request.errorAfter == 0 ? squaredError(u, ratio, request) : 0.0f;
        } else {
            nonFinite += (__float_as_uint(value(i)) & 0x7FFFFFFFu) >= kInfinityBits ? 1.0 : 0.0;
        }
    }

    highPasses(rows);
    Moments after;
    const uint32_t chunks = (rows.width + kChunk - 1) / kChunk;
    for (uint32_t chunk = threadIdx.x; measured && chunk < chunks; chunk += blockDim.x) {
        float v[kChunk];
        lastPass(rows.y[0], rows.width, rows.levels, chunk, v);
        storeChunk(rows.y[0], chunk, v);
        const uint32_t left = rows.width - chunk * kChunk;
        for (uint32_t k = 0; k < (left < kChunk ? left : kChunk); ++k) {
            const float u = rows.y[0][chunk * kChunkPitch + k] * scale;
            after.add(u, request, request.after);
            errors += request.levels > 0 && request.errorAfter != 0 ? squaredError(u, ratio, request) : 0.0f;
        }
    }

    const float largest[2] = {maxOverRow(before.largest, reinterpret_cast<float*>(scratch)), maxOverRow(after.largest, reinterpret_cast<float*>(scratch))};
    double first[kSums] = {before.power[0], before.power[1], before.power[2], before.power[3], after.power[0], after.power[1],
                           after.power[2],  after.power[3],  errors,          nonFinite,       before.excess[0]};
    double rest[3] = {before.excess[1], after.excess[0], after.excess[1]};
    sumOverRow(first, scratch);
    sumOverRow(rest, scratch);
    if (here && threadIdx.x == 0) {
        RowStatistics result{};
        result.nonFinite = static_cast<uint32_t>(first[9]);
        if (measured) {
            result.squares = sums[0].squares;
            result.errors = first[8];
            for (int i = 0; i < 4; ++i) {
                result.before[i] = first[i];
                result.after[i] = first[4 + i];
            }
            result.excess[0] = first[10];
            for (int i = 0; i < 3; ++i) {
                result.excess[1 + i] = rest[i];
            }
            result.largest[0] = largest[0];
            result.largest[1] = largest[1];
            result.peak = __uint_as_float(sums[0].largest) * down;
            result.exponent = sums[0].exponent;
        }
        request.statistics[row] = result;
    }
}

constexpr uint32_t roundUp(uint32_t value, uint32_t to) { return (value + to - 1) / to * to; }

template <class T>
Status start(Context* context, StatisticsArguments a) {
    const uint32_t width = static_cast<uint32_t>(a.request.width);
    a.yFloats = paddedWidth(width);
    const uint32_t threads = std::min<uint32_t>(kThreads, roundUp((width + kChunk - 1) / kChunk, kWarpLanes));
    const uint32_t scratch = kSums * (threads / kWarpLanes) * static_cast<uint32_t>(sizeof(double));
    const uint32_t most = static_cast<uint32_t>(context->description.sharedBytes);
    for (const bool staged : {true, false}) {
        a.stagedBytes = staged ? roundUp(width * static_cast<uint32_t>(sizeof(T)), 16) : 0;
        const uint32_t each = a.stagedBytes + a.yFloats * 4 + scratch;
        if (each > most) {
            continue;
        }
        const uint32_t rows = std::max<uint32_t>(1, std::min(kThreads / threads, sharedOfTwo(*context) / each));
        const uint64_t blocks = (a.request.rows + rows - 1) / rows;
        if (blocks > 0x7FFFFFFF) {
            return fail(Status::Argument, "statistics: too many rows at once");
        }
        return check(launch(measureRows<T>, dim3(static_cast<unsigned>(blocks)), dim3(threads, rows), rows * each, context->stream, a), "statistics");
    }
    return fail(Status::Argument, "statistics: rows of " + std::to_string(width) + " values do not fit the shared memory of this device");
}

Status measure(Context* context, const StatisticsRequest* request) {
    const StatisticsRequest& r = *request;
    if (r.rows == 0) {
        return Status::Ok;
    }
    if (r.width < 1 || r.width > UINT32_MAX / r.rows) {
        return fail(Status::Argument, "statistics: " + std::to_string(r.rows) + " rows of " + std::to_string(r.width) + " values at once");
    }
    if (r.block < 1 || r.block > 4096 || (r.block & (r.block - 1)) != 0 || r.width % r.block != 0) {
        return fail(Status::Argument, "statistics: Hadamard blocks of " + std::to_string(r.block) + " in rows of " + std::to_string(r.width));
    }
    if ((r.levels & (r.levels - 1)) != 0 || r.levels > 128) {
        return fail(Status::Argument, "statistics: a codebook of " + std::to_string(r.levels) + " positive levels");
    }
    StatisticsArguments a{};
    a.request = r;
    while ((1u << a.levels) < r.block) {
        ++a.levels;
    }
    const uint64_t rowBytes = r.xStride * (r.element == Element::F32 ? 4 : 2);
    a.vectorsIn = reinterpret_cast<uintptr_t>(r.x) % 16 == 0 && rowBytes % 16 == 0 ? 1 : 0;
    return r.element == Element::F32 ? start<float>(context, a) : start<Bf16>(context, a);
}

}  // namespace

const StatisticsCalls& statisticsCalls() {
    static const StatisticsCalls calls{onDevice<measure>};
    return calls;
}

}  // namespace quantscope::cuda

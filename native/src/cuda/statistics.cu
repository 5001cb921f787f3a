// Weight diagnostics: both marginals of every row and the codebook's error. One kernel measures rows as they are, the next one rotates them, so that each
// has one histogram in shared memory, of some 24,000 cells. Blocks stay: each one takes its share of the rows, and adds its histogram to the counts in the
// end. Integers bear that in any order; everything else is added up within a row, in an order that does not depend on the device, and stays apart by row
// until the host adds it up. Rows of a block go in step, one for each threadIdx.y.
#include <algorithm>
#include <cmath>
#include <string>

#include "cuda/columns.h"
#include "cuda/context.cuh"
#include "cuda/rotation.cuh"
#include "cuda/statistics.cuh"

namespace quantscope::cuda {

namespace {

constexpr int kPlainThreads = 512;    ///< of which two blocks fit a multiprocessor
constexpr int kRotatedThreads = 640;
constexpr int kPlainScratch = 2 * kPlainThreads / kWarpLanes;  ///< floats of loadRows()

struct StatisticsArguments {
    StatisticsRequest request;
    double root;           ///< of the width
    uint32_t levels;       ///< log2 of the block
    uint32_t vectorsIn;
    uint32_t stagedBytes;  ///< of a row; 0 reads x while it is permuted
    uint32_t yFloats;
    float unit;            ///< 1 / sqrt(block)
    uint32_t firstCell;    ///< of the window
    uint32_t windowCells;
    float inner;
};

static_assert(sizeof(LevelSearch) + sizeof(RowScale) + kRotatedThreads / kWarpLanes * 4 * (kSums + 1) <= kBesideRow);

__device__ inline Window windowOf(const StatisticsArguments& a, uint32_t* counts, uint32_t* own) {
    const StatisticsRequest& r = a.request;
    return {counts, own, a.firstCell, a.windowCells, r.last, r.perUnit, r.shift, r.limit, a.inner};
}

/// The rows of this block.
struct Share {
    uint32_t begin;
    uint32_t end;
    __device__ explicit Share(uint64_t rows)
        : begin(static_cast<uint32_t>(rows * blockIdx.x / gridDim.x)), end(static_cast<uint32_t>(rows * (blockIdx.x + 1) / gridDim.x)) {}
};

/// What a codebook makes of norms of x 2^-exponent: the rounded one over itself.
__device__ inline float ratioOf(const StatisticsRequest& request, double norm, int exponent) {
    const double trueNorm = ldexp(norm, exponent);
    return static_cast<float>(roundToStored(request.stored, trueNorm) / trueNorm);
}

/// Values kBatch * batch.. of a row, zeros behind its end.
template <class T>
__device__ inline void loadBatch(const T* x, uint32_t width, uint32_t batch, bool vectors, float (&values)[kBatch]) {
    constexpr int kVector = 16 / sizeof(T);
    struct alignas(16) Vector {
        T value[kVector];
    };
    const uint32_t first = batch * kBatch;
    if (vectors && first + kBatch <= width) {
#pragma unroll
        for (int part = 0; part < kBatch / kVector; ++part) {
            const Vector in = loadOnce16(reinterpret_cast<const Vector*>(x + first) + part);
#pragma unroll
            for (int e = 0; e < kVector; ++e) {
                values[part * kVector + e] = toFloat(in.value[e]);
            }
        }
    } else {
#pragma unroll
        for (int k = 0; k < kBatch; ++k) {
            values[k] = first + k < width ? toFloat(x[first + k]) : 0.0f;
        }
    }
}

/// Statistics of rows but for those behind the rotation.
template <class T>
__global__ void __launch_bounds__(kPlainThreads, 2) measurePlain(const __grid_constant__ StatisticsArguments a) {
    const StatisticsRequest& request = a.request;
    const Shared shared = sharedMemory();
    auto* const scratch = reinterpret_cast<float*>(shared.cells + roundUp(a.windowCells, 4));
    const uint32_t thread = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.y * blockDim.x;
    const auto width = static_cast<uint32_t>(request.width);
    const bool codebook = request.levels > 0 && request.errorAfter == 0;
    Window window = windowOf(a, request.before, shared.cells);
    window.clear(thread, threads);
    if (codebook) {
        shared.search.fill(request.levels, request.level, request.thresholds);
    }
    __syncthreads();
    const Share share(request.rows);
    for (uint32_t first = share.begin; first < share.end; first += blockDim.y) {
        const uint32_t row = first + threadIdx.y;
        const bool here = row < share.end;
        Rows<T, 1> rows{};
        rows.width = width;
        rows.x[0] = here ? static_cast<const T*>(request.x) + row * request.xStride : nullptr;
        RowSums sums[1];
        loadRows(rows, static_cast<Column<T, 1>*>(nullptr), a.vectorsIn != 0, scratch, sums);
        const bool finite = sums[0].largest < kInfinityBits;
        const bool measured = here && finite && sums[0].largest > 0 && sums[0].squares > 0;
        const double norm = measured ? sqrt(static_cast<double>(sums[0].squares)) : 1.0;
        const auto scale = static_cast<float>(a.root / norm);
        const float ratio = codebook ? ratioOf(request, norm, sums[0].exponent) : 1.0f;
        const float down = ldexpf(1.0f, -sums[0].exponent);
        if (here && threadIdx.x == 0) {
            RowStatistics result{};
            if (measured) {
                result.squares = sums[0].squares;
                result.peak = __uint_as_float(sums[0].largest) * down;
                result.exponent = sums[0].exponent;
            }
            request.statistics[row] = result;
        }

        Tally tally;
        float nonFinite = 0;
#pragma unroll 1
        for (uint32_t batch = threadIdx.x; measured && batch < divideUp(width, kBatch); batch += blockDim.x) {
            float u[kBatch];
            loadBatch(rows.x[0], width, batch, a.vectorsIn != 0, u);
#pragma unroll
            for (int k = 0; k < kBatch; ++k) {
                u[k] = u[k] * down * scale;
            }
            tally.add(u, min(width - batch * kBatch, static_cast<uint32_t>(kBatch)), window, codebook ? &shared.search : nullptr, ratio);
        }
#pragma unroll 1
        for (uint32_t i = threadIdx.x; here && !finite && i < width; i += blockDim.x) {
            nonFinite += (__float_as_uint(toFloat(rows.x[0][i])) & 0x7FFFFFFFu) >= kInfinityBits ? 1.0f : 0.0f;
        }

        const float own[kSums] = {tally.power[0], tally.power[1], tally.power[2], tally.power[3], tally.below, tally.above, tally.errors, nonFinite};
        double all[kSums];
        float greatest;
        sumOverRow(shared, own, tally.largest, all, greatest);
        if (here && threadIdx.x == 0) {
            RowStatistics& result = request.statistics[row];
            for (int i = 0; i < 4; ++i) {
                result.before[i] = all[i];
            }
            result.excess[0] = all[4];
            result.excess[1] = all[5];
            result.errors = all[6];
            result.nonFinite = static_cast<uint32_t>(all[7]);
            result.largest[0] = greatest;
        }
    }
    window.flush(thread, threads);
}

/// Requests a row for shared memory; what other threads asked for is there after a barrier that follows waitCopies().
template <class T>
__device__ inline void requestRow(const T* x, Column<T, 1>* staged, uint32_t width, bool vectors) {
    constexpr uint32_t kVector = 16 / sizeof(T);
    const uint32_t whole = vectors ? width / kVector * kVector : 0;
    for (uint32_t i = threadIdx.x * kVector; i < whole; i += blockDim.x * kVector) {
        copyAsync16(staged + i, x + i);
    }
    for (uint32_t i = whole + threadIdx.x; i < width; i += blockDim.x) {
        staged[i].row[0] = x[i];
    }
}

/// Adds to what measurePlain() found what is behind the rotation.
template <class T>
__global__ void __launch_bounds__(kRotatedThreads) measureRotated(const __grid_constant__ StatisticsArguments a) {
    const StatisticsRequest& request = a.request;
    const Shared shared = sharedMemory();
    const uint32_t thread = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.y * blockDim.x;
    const bool codebook = request.levels > 0 && request.errorAfter != 0;
    Window window = windowOf(a, request.after, shared.cells);
    window.clear(thread, threads);
    if (codebook) {
        shared.search.fill(request.levels, request.level, request.thresholds);
    }
    unsigned char* const own = reinterpret_cast<unsigned char*>(window.own + roundUp(a.windowCells, 4)) +
                               threadIdx.y * (a.stagedBytes + a.yFloats * static_cast<uint32_t>(sizeof(float)));
    auto* const staged = a.stagedBytes > 0 ? reinterpret_cast<Column<T, 1>*>(own) : nullptr;
    Rows<T, 1> rows;
    rows.staged = staged;
    rows.sources = request.sources;
    rows.width = static_cast<uint32_t>(request.width);
    rows.levels = a.levels;
    rows.y[0] = reinterpret_cast<float*>(own + a.stagedBytes);

    const Share share(request.rows);
    RowScale& next = shared.rows[threadIdx.y];
    // Thread 0 of a row asks for the next one's sums long before it needs them.
    double squares = 0;
    int exponent = 0;
    const auto look = [&](uint32_t row) {
        const bool here = row < share.end && threadIdx.x == 0;
        squares = here ? request.statistics[row].squares : 0;
        exponent = here ? request.statistics[row].exponent : 0;
    };
    const auto prepare = [&](uint32_t row) {
        rows.x[0] = row < share.end ? static_cast<const T*>(request.x) + row * request.xStride : nullptr;
        if (rows.x[0] != nullptr && staged != nullptr) {
            requestRow(rows.x[0], staged, rows.width, a.vectorsIn != 0);
        }
        commitCopies();
        if (threadIdx.x == 0) {
            next.measured = squares > 0 ? 1 : 0;
            const double norm = squares > 0 ? sqrt(squares) : 1.0;
            next.scale = static_cast<float>(a.root / norm);
            next.ratio = codebook ? ratioOf(request, norm, exponent) : 1.0f;
            next.factor = ldexpf(a.unit, -exponent);
        }
    };
    look(share.begin + threadIdx.y);
    prepare(share.begin + threadIdx.y);
    for (uint32_t first = share.begin; first < share.end; first += blockDim.y) {
        const uint32_t row = first + threadIdx.y;
        look(row + blockDim.y);
        waitCopies<0>();
        __syncthreads();
        const bool measured = next.measured != 0;
        const float scale = next.scale;
        const float ratio = next.ratio;
        rows.factor[0] = next.factor;
        highPasses(rows);
        prepare(row + blockDim.y);

        Tally tally;
        const uint32_t chunks = divideUp(rows.width, kChunk);
        for (uint32_t chunk = threadIdx.x; measured && chunk < chunks; chunk += blockDim.x) {
            float v[kChunk];
            lastPass(rows.y[0], rows.width, rows.levels, chunk, v);
            const uint32_t left = rows.width - chunk * kChunk;
#pragma unroll
            for (uint32_t part = 0; part < kChunk; part += kBatch) {
                float u[kBatch];
#pragma unroll
                for (uint32_t k = 0; k < kBatch; ++k) {
                    u[k] = v[part + k] * scale;
                }
                const uint32_t count = left < part ? 0 : min(left - part, static_cast<uint32_t>(kBatch));
                tally.add(u, count, window, codebook ? &shared.search : nullptr, ratio);
            }
        }

        const float sums[kSums] = {tally.power[0], tally.power[1], tally.power[2], tally.power[3], tally.below, tally.above, tally.errors, 0.0f};
        double all[kSums];
        float greatest;
        sumOverRow(shared, sums, tally.largest, all, greatest);
        if (measured && threadIdx.x == 0) {
            RowStatistics& result = request.statistics[row];
            for (int i = 0; i < 4; ++i) {
                result.after[i] = all[i];
            }
            result.excess[2] = all[4];
            result.excess[3] = all[5];
            result.largest[1] = greatest;
            if (codebook) {
                result.errors = all[6];
            }
        }
    }
    window.flush(thread, threads);
}

uint32_t allCells(const StatisticsArguments& a) { return roundUp((a.request.last + 1) * 4, 16); }

/// The middle of the histogram, as much of it as fits into `bytes`. Returns the bytes that it takes.
uint32_t chooseWindow(StatisticsArguments& a, uint32_t bytes) {
    a.windowCells = std::min(a.request.last + 1, bytes / 16 * 4);
    a.firstCell = (a.request.last + 1 - a.windowCells) / 2;
    // A cell to spare on both sides: positions are rounded.
    const double cells = std::min<double>(a.request.shift - a.firstCell, a.firstCell + a.windowCells - a.request.shift) - 1;
    const double search = (kLevelCells - 1) / std::max(0.5 * a.request.levels, 1.0);
    a.inner = static_cast<float>(std::min({cells / a.request.perUnit, double{a.request.limit}, search}));
    return roundUp(a.windowCells * 4, 16);
}

template <class T>
Status startPlain(Context* context, StatisticsArguments a) {
    uint32_t across = kWarpLanes;
    while (across < kPlainThreads && across * 12 * kBatch < a.request.width) {
        across *= 2;
    }
    const uint32_t rows = kPlainThreads / across;
    const uint32_t taken = Shared::bytes(kPlainThreads, rows) + kPlainScratch * static_cast<uint32_t>(sizeof(float));
    const uint32_t most = static_cast<uint32_t>(context->description.sharedBytes) - taken;
    const uint32_t half = sharedOfTwo(*context) - taken;
    const bool two = half >= allCells(a) / 4 * 3;  // else one block has more of the histogram
    const uint32_t window = chooseWindow(a, two ? half : most);
    const uint64_t stay = static_cast<uint64_t>(context->description.multiprocessors) * (two ? 2 : 1);
    const auto blocks = static_cast<unsigned>(std::min<uint64_t>(stay, divideUp(a.request.rows, rows)));
    return check(launch(measurePlain<T>, dim3(blocks), dim3(across, rows), taken + window, context->stream, a), "statistics");
}

template <class T>
Status startRotated(Context* context, StatisticsArguments a) {
    const auto width = static_cast<uint32_t>(a.request.width);
    const uint32_t chunks = divideUp(width, kChunk);
    const uint32_t across = roundUp(divideUp(chunks, divideUp(chunks, kRotatedThreads)), kWarpLanes);
    a.yFloats = paddedWidth(width);
    for (const bool staged : {true, false}) {
        a.stagedBytes = staged ? roundUp(width * static_cast<uint32_t>(sizeof(T)), 16) : 0;
        const uint32_t each = a.stagedBytes + a.yFloats * 4;
        const auto roomFor = [&](uint32_t rows) { return static_cast<uint32_t>(context->description.sharedBytes) - Shared::bytes(rows * across, rows); };
        if (each > roomFor(1)) {
            continue;
        }
        // As many rows as fit beside the whole histogram, or into half of the memory where those are more.
        uint32_t rows = 1;
        while ((rows + 1) * across <= kRotatedThreads && rows < a.request.rows &&
               ((rows + 1) * each + allCells(a) <= roomFor(rows + 1) || (rows + 1) * each <= roomFor(rows + 1) / 2)) {
            ++rows;
        }
        const uint32_t window = chooseWindow(a, roomFor(rows) - rows * each);
        const uint32_t bytes = Shared::bytes(rows * across, rows) + window + rows * each;
        const auto blocks = static_cast<unsigned>(std::min<uint64_t>(context->description.multiprocessors, divideUp(a.request.rows, rows)));
        return check(launch(measureRotated<T>, dim3(blocks), dim3(across, rows), bytes, context->stream, a), "statistics");
    }
    return fail(Status::Argument, "statistics: rows of " + std::to_string(width) + " values do not fit the shared memory of this device");
}

template <class T>
Status start(Context* context, const StatisticsArguments& a) {
    const Status plain = startPlain<T>(context, a);
    return plain == Status::Ok ? startRotated<T>(context, a) : plain;
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
    if ((r.levels & (r.levels - 1)) != 0 || r.levels > kMostLevels) {
        return fail(Status::Argument, "statistics: a codebook of " + std::to_string(r.levels) + " positive levels");
    }
    StatisticsArguments a{};
    a.request = r;
    a.root = std::sqrt(static_cast<double>(r.width));
    a.unit = static_cast<float>(1.0 / std::sqrt(static_cast<double>(r.block)));
    while ((1u << a.levels) < r.block) {
        ++a.levels;
    }
    const uint64_t rowBytes = r.xStride * (r.element == Element::F32 ? 4 : 2);
    a.vectorsIn = reinterpret_cast<uintptr_t>(r.x) % 16 == 0 && rowBytes % 16 == 0 ? 1 : 0;
    return r.element == Element::F32 ? start<float>(context, a) : start<Bf16>(context, a);
}

}  // namespace

const StatisticsCalls& statisticsCalls() {
    static const StatisticsCalls calls{onDevice<measure>, onDevice<measureColumns>};
    return calls;
}

}  // namespace quantscope::cuda

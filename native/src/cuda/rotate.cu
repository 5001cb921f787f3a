// Rotation, norm, codes and packing of rows in one kernel: x is read once, codes and scales are written once. The common requests are done on tensor cores
// instead (rotate/tensor.h).
#include <algorithm>
#include <string>

#include "cuda/context.cuh"
#include "cuda/packing.cuh"
#include "cuda/rotate/tensor.h"
#include "cuda/rotation.cuh"

namespace quantscope::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kSmallLevels = 8;  ///< positive levels of codebooks whose thresholds stay in registers

struct RotateArguments {
    RotateRequest request;
    uint32_t levels;      ///< log2 of the block
    uint32_t vectorsIn;   ///< rows of x, y and codes start at multiples of 16 bytes
    uint32_t vectorsY;
    uint32_t vectorsOut;
    uint32_t stagedBytes; ///< of a bundle; 0 reads x twice instead
    uint32_t yFloats;     ///< of a row of a bundle
    uint32_t rowBytes;    ///< of packed codes
};

/// Positive levels at or below a magnitude: the index of the nearest one.
struct Thresholds {
    float small[kSmallLevels - 1];
    const float* many;
    uint32_t levels;

    __device__ Thresholds(const RotateRequest& request) : many(request.thresholds), levels(1u << (request.bits - 1)) {
#pragma unroll
        for (uint32_t i = 0; i < kSmallLevels - 1; ++i) {
            small[i] = request.code == Code::Codebook && i + 1 < levels && levels <= kSmallLevels ? many[i] : __uint_as_float(kInfinityBits);
        }
    }
    __device__ uint32_t nearest(float magnitude) const {
        if (levels <= kSmallLevels) {
            const bool upper = magnitude >= small[3];
            const bool middle = magnitude >= (upper ? small[5] : small[1]);
            const float last = upper ? (middle ? small[6] : small[4]) : (middle ? small[2] : small[0]);
            return (upper ? 4 : 0) + (middle ? 2 : 0) + (magnitude >= last ? 1 : 0);
        }
        uint32_t index = 0;
        for (uint32_t step = levels / 2; step > 0; step /= 2) {
            index += magnitude >= __ldg(many + index + step - 1) ? step : 0;
        }
        return index;
    }
};

__device__ inline void writeCodes(const RotateArguments& a, const Packed& codes, uint64_t row, uint32_t chunk) {
    const uint32_t each = 4u * static_cast<uint32_t>(a.request.bits);
    codes.write(a.request.codes + row * a.rowBytes + chunk * each, a.request.bits, static_cast<uint32_t>(a.request.width) - chunk * kChunk, a.vectorsOut != 0);
}

/// v times `back`, in the element type of y.
__device__ inline void writeValues(const RotateArguments& a, const float (&v)[kChunk], float back, uint64_t row, uint32_t chunk) {
    const uint64_t at = row * a.request.yStride + uint64_t{chunk} * kChunk;
    const uint32_t width = static_cast<uint32_t>(a.request.width);
    const bool whole = a.vectorsY != 0 && (chunk + 1) * kChunk <= width;
    if (a.request.yElement == Element::F32) {
        float* const y = static_cast<float*>(a.request.y) + at;
#pragma unroll
        for (uint32_t i = 0; i < kChunk; i += 4) {
            if (whole) {
                store16(reinterpret_cast<float4*>(y + i), make_float4(v[i] * back, v[i + 1] * back, v[i + 2] * back, v[i + 3] * back));
            } else {
#pragma unroll
                for (uint32_t e = i; e < i + 4; ++e) {
                    if (chunk * kChunk + e < width) {
                        y[e] = v[e] * back;
                    }
                }
            }
        }
    } else {
        Bf16* const y = static_cast<Bf16*>(a.request.y) + at;
#pragma unroll
        for (uint32_t i = 0; i < kChunk; i += 8) {
            struct alignas(16) Eight {
                Bf16 value[8];
            } eight;
#pragma unroll
            for (uint32_t e = 0; e < 8; ++e) {
                eight.value[e] = fromFloat<Bf16>(v[i + e] * back);
            }
            if (whole) {
                store16(reinterpret_cast<Eight*>(y + i), eight);
            } else {
#pragma unroll
                for (uint32_t e = 0; e < 8; ++e) {
                    if (chunk * kChunk + i + e < width) {
                        y[i + e] = eight.value[e];
                    }
                }
            }
        }
    }
}

/// What codes of one row by its norm come from.
struct NormCode {
    float scale;   ///< codebook: standard deviations per unit; mid-rise: steps per unit
    bool codes;    ///< false for rows of zeros and rows that are not finite: code 0
};

__device__ inline NormCode normCode(const RotateRequest& request, const RowSums& sums, float* side) {
    const bool finite = sums.largest < kInfinityBits;
    const double root = sqrt(static_cast<double>(request.width));
    if (!finite || sums.largest == 0) {
        *side = finite ? 0.0f : __uint_as_float(0x7FC00000u);
        return {0.0f, false};
    }
    const double norm = sqrt(static_cast<double>(sums.squares));
    *side = static_cast<float>(roundToStored(request.stored, ldexp(norm, sums.exponent)) / root);
    return {static_cast<float>(request.code == Code::MidRise ? root / (norm * request.step) : root / norm), true};
}

__device__ inline void codeByNorm(const RotateRequest& request, const Thresholds& thresholds, const NormCode& norm, const float (&v)[kChunk],
                                  Packed& codes) {
    const int half = 1 << (request.bits - 1);
#pragma unroll
    for (int i = 0; i < kChunk; ++i) {
        if (request.code == Code::Codebook) {
            const int index = static_cast<int>(thresholds.nearest(fabsf(v[i]) * norm.scale));
            codes.put(i, static_cast<uint32_t>(norm.codes ? half + (index ^ (__float_as_int(v[i]) >> 31)) : 0), request.bits);
        } else {
            const float code = fminf(fmaxf(v[i] * norm.scale + static_cast<float>(half), 0.0f), static_cast<float>(2 * half - 1));
            codes.put(i, norm.codes ? static_cast<uint32_t>(code) : 0, request.bits);
        }
    }
}

struct Grid {
    float scale;
    float lowest;
    float highest;
};

/// integerGrid() of quantizer/integer.h.
__device__ inline Grid gridOf(const RotateRequest& request, float least, float greatest, int exponent) {
    const auto stored = [&](double scale) {
        return static_cast<float>(ldexp(roundToStored(request.stored, ldexp(scale, exponent)), -exponent));
    };
    const double steps = (1 << request.bits) - 1;
    const double low = least * request.clip;
    const double high = greatest * request.clip;
    if (request.shift != nullptr) {
        return {stored(fmax(high, 0.0) / steps), 0.0f, static_cast<float>(steps)};
    }
    if (request.code == Code::Symmetric) {
        const double half = 1 << (request.bits - 1);
        return {stored(fmax(fabs(low), fabs(high)) / (half - 1)), static_cast<float>(-half), static_cast<float>(half - 1)};
    }
    const double from = fmin(low, 0.0);
    const float scale = stored((fmax(high, 0.0) - from) / steps);
    const double zero = scale > 0 ? fmin(fmax(rint(-from / scale), 0.0), steps) : 0.0;
    return {scale, static_cast<float>(-zero), static_cast<float>(steps - zero)};
}

/// Groups of a row: shift and range, then scale and lowest step, or a range that grows; a warp for each group. `row` is padded in shared memory.
__device__ inline void findGrids(const RotateRequest& request, float* row, const RowSums& sums, float* sides) {
    const bool finite = sums.largest < kInfinityBits;
    const bool coded = finite && (sums.largest > 0 || request.shift != nullptr);
    const bool whole = request.range != nullptr && request.observes == 0;
    const bool reads = !whole || request.shift != nullptr;
    const uint32_t group = static_cast<uint32_t>(request.group);
    const uint32_t groups = static_cast<uint32_t>(request.width) / group;
    const uint32_t lane = threadIdx.x % kWarpLanes;
    for (uint32_t g = threadIdx.x / kWarpLanes; g < groups; g += blockDim.x / kWarpLanes) {
        float least = __uint_as_float(kInfinityBits);
        float greatest = -least;
        for (uint32_t i = lane; reads && i < group; i += kWarpLanes) {
            float& value = row[padded(g * group + i)];
            if (request.shift != nullptr) {
                value += __ldg(request.shift + g * group + i);
            }
            least = fminf(least, value);
            greatest = fmaxf(greatest, value);
        }
        least = -warpMax(-least);
        greatest = warpMax(greatest);
        if (lane == 0 && request.observes != 0 && finite) {
            const float back = ldexpf(1.0f, sums.exponent);
            atomicMax(request.range, least < 0 ? __float_as_uint(-least * back) : 0u);
            atomicMax(request.range + 1, greatest > 0 ? __float_as_uint(greatest * back) : 0u);
        } else if (lane == 0 && request.observes == 0) {
            float scale = finite ? 0.0f : __uint_as_float(0x7FC00000u);
            float lowest = scale;
            if (coded) {
                const int exponent = whole ? 0 : sums.exponent;
                const Grid grid = whole ? gridOf(request, -__uint_as_float(request.range[0]), __uint_as_float(request.range[1]), 0)
                                        : gridOf(request, least, greatest, exponent);
                scale = ldexpf(grid.scale, exponent);
                lowest = grid.scale > 0 ? grid.lowest : 0.0f;
            }
            sides[2 * g] = scale;
            sides[2 * g + 1] = lowest;
        }
    }
}

__device__ inline void codeByGrid(const RotateRequest& request, const float* row, uint32_t chunk, const RowSums& sums, const float* sides,
                                  Packed& codes) {
    const uint32_t group = static_cast<uint32_t>(request.group);
    const uint32_t width = static_cast<uint32_t>(request.width);
    const float steps = static_cast<float>((1 << request.bits) - 1);
    const float factor = ldexpf(1.0f, -sums.exponent);
    float v[kChunk];
    loadChunk(row, width, chunk, v);
    uint32_t current = 0xFFFFFFFFu;
    float scale = 0.0f;
    float lowest = 0.0f;
#pragma unroll
    for (uint32_t i = 0; i < kChunk; ++i) {
        const uint32_t at = chunk * kChunk + i;
        if (at / group != current && at < width) {
            current = at / group;
            scale = sides[2 * current] * factor;
            lowest = sides[2 * current + 1];
        }
        float step = 0.0f;
        if (at < width && scale > 0) {
            step = rintf(fminf(fmaxf(v[i] / scale, lowest), lowest + steps)) - lowest;
        }
        codes.put(static_cast<int>(i), static_cast<uint32_t>(step), request.bits);
    }
}

/// A block takes blockDim.y bundles of kRows rows.
template <class T, int kRows>
__global__ void __launch_bounds__(kThreads, 2) rotateRows(const RotateArguments a) {
    const RotateRequest& request = a.request;
    unsigned char* const shared = dynamicShared<unsigned char>();
    const uint32_t each = a.stagedBytes + kRows * a.yFloats * static_cast<uint32_t>(sizeof(float));
    unsigned char* const own = shared + threadIdx.y * each;
    float* const scratch = reinterpret_cast<float*>(shared + blockDim.y * each);
    const uint64_t first = (uint64_t{blockIdx.x} * blockDim.y + threadIdx.y) * kRows;

    Rows<T, kRows> rows;
    auto* const staged = a.stagedBytes > 0 ? reinterpret_cast<Column<T, kRows>*>(own) : nullptr;
    rows.staged = staged;
    rows.sources = request.sources;
    rows.width = static_cast<uint32_t>(request.width);
    rows.levels = a.levels;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        rows.x[r] = first + r < request.rows ? static_cast<const T*>(request.x) + (first + r) * request.xStride : nullptr;
        rows.y[r] = reinterpret_cast<float*>(own + a.stagedBytes) + r * a.yFloats;
    }
    RowSums sums[kRows];
    loadRows(rows, staged, a.vectorsIn != 0, scratch, sums);

    const float unit = static_cast<float>(1.0 / sqrt(static_cast<double>(request.block)));
    const bool byNorm = request.code == Code::Codebook || request.code == Code::MidRise;
    const uint64_t sidesEach = byNorm ? 1 : 2 * (request.width / (request.group > 0 ? request.group : 1));
    NormCode norm[kRows] = {};
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        if (request.shift != nullptr) {
            sums[r].exponent = 0;  // what is shifted is coded in its own units
        }
        rows.factor[r] = ldexpf(unit, -sums[r].exponent);
        float side;
        if (byNorm) {
            norm[r] = normCode(request, sums[r], &side);
            if (threadIdx.x == 0 && rows.x[r] != nullptr) {
                request.sides[first + r] = side;
            }
        }
    }

    highPasses(rows);
    const Thresholds thresholds(request);
    const uint32_t chunks = (rows.width + kChunk - 1) / kChunk;
    for (uint32_t chunk = threadIdx.x; chunk < chunks; chunk += blockDim.x) {
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            if (rows.x[r] == nullptr) {
                continue;
            }
            float v[kChunk];
            lastPass(rows.y[r], rows.width, rows.levels, chunk, v);
            if (byNorm) {
                Packed codes;
                codeByNorm(request, thresholds, norm[r], v, codes);
                writeCodes(a, codes, first + r, chunk);
            } else if (request.code != Code::None) {
                storeChunk(rows.y[r], chunk, v);
            }
            if (request.y != nullptr) {
                writeValues(a, v, ldexpf(1.0f, sums[r].exponent), first + r, chunk);
            }
        }
    }
    if (byNorm || request.code == Code::None) {
        return;
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        if (rows.x[r] != nullptr) {
            findGrids(request, rows.y[r], sums[r], request.sides + (first + r) * sidesEach);
        }
    }
    if (request.observes != 0) {
        return;
    }
    __syncthreads();  // what this block wrote to global memory is there for all of it, too
    for (uint32_t chunk = threadIdx.x; chunk < chunks; chunk += blockDim.x) {
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            if (rows.x[r] != nullptr) {
                Packed codes;
                codeByGrid(request, rows.y[r], chunk, sums[r], request.sides + (first + r) * sidesEach, codes);
                writeCodes(a, codes, first + r, chunk);
            }
        }
    }
}

constexpr uint32_t roundUp(uint32_t value, uint32_t to) { return (value + to - 1) / to * to; }

bool aligned(const void* address, uint64_t rowBytes, uint64_t to) { return reinterpret_cast<uintptr_t>(address) % to == 0 && rowBytes % to == 0; }

template <class T, int kRows>
Status start(Context* context, RotateArguments a, dim3 block, uint32_t sharedBytes) {
    const uint64_t perBlock = uint64_t{block.y} * kRows;
    const uint64_t blocks = (a.request.rows + perBlock - 1) / perBlock;
    if (blocks > 0x7FFFFFFF) {
        return fail(Status::Argument, "rotate: too many rows at once");
    }
    return check(launch(rotateRows<T, kRows>, dim3(static_cast<unsigned>(blocks)), block, sharedBytes, context->stream, a), "rotate");
}

/// Shared memory decides how rows are taken: two at a time (bf16) where two blocks still fit a multiprocessor, else one, in the end without a copy of x.
template <class T>
Status startFor(Context* context, RotateArguments a) {
    const uint32_t width = static_cast<uint32_t>(a.request.width);
    a.yFloats = paddedWidth(width);
    const uint32_t chunks = (width + kChunk - 1) / kChunk;
    const uint32_t threads = std::min<uint32_t>(kThreads, roundUp(chunks, kWarpLanes));
    const uint32_t most = static_cast<uint32_t>(context->description.sharedBytes);
    const uint32_t half = sharedOfTwo(*context);
    const auto bytesFor = [&](uint32_t kRows, bool staged, uint32_t bundles) {
        const uint32_t stagedBytes = staged ? roundUp(width * kRows * sizeof(T), 16) : 0;
        return bundles * (stagedBytes + kRows * a.yFloats * 4) + bundles * 2 * kRows * (threads / kWarpLanes) * 4;
    };
    struct Way {
        uint32_t rows;
        bool staged;
        uint32_t limit;
    };
    for (const Way& way : {Way{2, true, half}, Way{1, true, half}, Way{2, true, most}, Way{1, true, most}, Way{1, false, most}}) {
        uint32_t bundles = std::max<uint32_t>(1, kThreads / threads);
        while (bundles > 1 && bytesFor(way.rows, way.staged, bundles) > way.limit) {
            --bundles;
        }
        const uint32_t bytes = bytesFor(way.rows, way.staged, bundles);
        if (bytes > way.limit || (way.rows == 2 && sizeof(T) == 4)) {
            continue;
        }
        a.stagedBytes = way.staged ? roundUp(width * way.rows * sizeof(T), 16) : 0;
        const dim3 block(threads, bundles);
        if constexpr (sizeof(T) == 2) {
            if (way.rows == 2) {
                return start<T, 2>(context, a, block, bytes);
            }
        }
        return start<T, 1>(context, a, block, bytes);
    }
    return fail(Status::Argument, "rotate: rows of " + std::to_string(width) + " values do not fit the shared memory of this device");
}

uint64_t maxWidth(Context* context) {
    // One padded row and what kernels have beside it, those of statistics too.
    const auto most = static_cast<uint64_t>(context->description.sharedBytes) - kBesideRow;
    return most / (kChunkPitch * sizeof(float)) * kChunk;
}

int32_t writesBytes(Context* context, const RotateRequest* request) {
    return request->code != Code::None && request->bits == 4 && request->rows > 0 && rotatesOnTensorCores(*context, *request) ? 1 : 0;
}

Status rotate(Context* context, const RotateRequest* request) {
    const RotateRequest& r = *request;
    const bool integers = r.code == Code::Symmetric || r.code == Code::Asymmetric;
    if (r.rows == 0) {
        return Status::Ok;
    }
    if (r.width < 1 || r.width > maxWidth(context)) {
        return fail(Status::Argument, "rotate: a width of " + std::to_string(r.width) + "; this device takes 1 to " + std::to_string(maxWidth(context)));
    }
    if (r.block < 1 || r.block > 4096 || (r.block & (r.block - 1)) != 0 || r.width % r.block != 0) {
        return fail(Status::Argument, "rotate: Hadamard blocks of " + std::to_string(r.block) + " in rows of " + std::to_string(r.width));
    }
    if (r.code != Code::None && (r.bits < (r.code == Code::Symmetric ? 2 : 1) || r.bits > 8)) {
        return fail(Status::Argument, "rotate: codes of " + std::to_string(r.bits) + " bits");
    }
    if (integers && (r.group == 0 || r.width % r.group != 0 || !(r.clip > 0 && r.clip <= 1))) {
        return fail(Status::Argument, "rotate: groups of " + std::to_string(r.group) + " in rows of " + std::to_string(r.width));
    }
    if (!integers && r.code != Code::None && (r.shift != nullptr || r.range != nullptr)) {
        return fail(Status::Argument, "rotate: a shift or a range for codes that are no integers");
    }
    if (r.code != Code::None && ((r.range != nullptr && r.group != r.width) || (r.observes != 0 && r.range == nullptr))) {
        return fail(Status::Argument, "rotate: a range of all rows has the row for its group");
    }
    if (rotatesOnTensorCores(*context, r)) {
        return rotateOnTensorCores(context, r);
    }
    if (r.bytes != nullptr) {
        return fail(Status::Argument, "rotate: bytes in the place of these codes");
    }
    RotateArguments a{};
    a.request = r;
    if (r.code == Code::None) {
        a.request.bits = 1;
    }
    while ((1u << a.levels) < r.block) {
        ++a.levels;
    }
    const uint64_t size = r.element == Element::F32 ? 4 : 2;
    a.vectorsIn = aligned(r.x, r.xStride * size, 16) ? 1 : 0;
    a.rowBytes = static_cast<uint32_t>((r.width * static_cast<uint64_t>(a.request.bits) + 7) / 8);
    a.vectorsOut = aligned(r.codes, a.rowBytes, 16) ? 1 : 0;
    a.vectorsY = aligned(r.y, r.yStride * (r.yElement == Element::F32 ? 4 : 2), 16) ? 1 : 0;
    return r.element == Element::F32 ? startFor<float>(context, a) : startFor<Bf16>(context, a);
}

}  // namespace

const RotateCalls& rotateCalls() {
    static const RotateCalls calls{onDevice<rotate>, writesBytes, maxWidth};
    return calls;
}

}  // namespace quantscope::cuda

// Rotation, norm or ranges, codes and packing of bfloat16 rows on tensor cores (hadamard.cuh): x is read once, codes and scales are written once.
//
// A block keeps where inputs come from in shared memory and goes over tiles of a few rows. A tile lies there column by column, so that one random access
// fetches all kRows rows of a group. Sums of squares are products of the rows with themselves, before anything is rotated.
#include "cuda/rotate/tensor.h"

#include <algorithm>
#include <cmath>

#include "cuda/rotate/coding.cuh"
#include "cuda/rotate/states.cuh"

namespace quantscope::cuda {

namespace {

using namespace tiles;

/// A run of a lane: where its codes belong.
struct Run {
    uint32_t inTile;  ///< row
    uint32_t column;
    bool there;       ///< not behind the end of the row or of the tile
};

/// One run in the pass that is done for it: coded and written, or, in the first pass of rows, only looked at.
template <class Way, bool kJoined, Kind kKind>
__device__ inline void takeRun(const Arguments& a, const Shared& shared, const float* values, const Run& run, bool looks) {
    RowState& state = shared.states[run.inTile];
    uint8_t* const to = a.request.codes + uint64_t{state.row} * a.rowBytes + run.column / 8 * a.eightBytes;
    const bool writes = run.there && state.row < a.rows;
    if constexpr (kKind == Kind::Codebook) {
        codeRun<Way::kRun>(a, shared, values, state, to, writes);
    } else if constexpr (kKind == Kind::Groups) {
        const float largest = largestOf<Way::kRun, kJoined>(values, run.there, 1u << a.scaled);
        const Steps steps = stepsOf(a, largest, state);
        if (writes && (run.column >> a.scaled << a.scaled) == run.column) {
            writeSides(a, uint64_t{state.row} * (static_cast<uint32_t>(a.request.width) >> a.scaled) + (run.column >> a.scaled), steps);
        }
        roundRun<Way::kRun>(a, values, steps.scale, steps.offset, to, writes);
    } else if (looks) {
        const float largest = largestOf<Way::kRun, kJoined>(values, run.there, ~0u);
        if (run.there && threadIdx.x % kWarpLanes < 4) {
            atomicMax(&state.largest, __float_as_uint(largest));
        }
    } else {
        roundRun<Way::kRun>(a, values, state.scale, state.offset, to, writes);
    }
}

template <int kSets, bool kJoined, int kRows, Kind kKind>
__global__ void __launch_bounds__(residentWarps(kSets, kRows) * kWarpLanes) rotateTiles(const Arguments a) {
    using Way = Places<kSets, kJoined>;
    constexpr bool kByRow = kKind == Kind::Row;
    const Shared shared(a, dynamicShared<unsigned char>());
    if (threadIdx.x < kWarpLanes) {
        shared.lanes[threadIdx.x] = Signs(a.request.block, threadIdx.x);
    }
    findSources<Way, kRows>(a, shared);
    const float perDeviation = kKind == Kind::Codebook ? a.unit * findCells(a.request, shared.table) : 0.0f;

    for (uint32_t firstRow = blockIdx.x * a.tileRows; firstRow < a.rows; firstRow = shared.states->row + a.step) {
        stage<kRows>(a, shared, firstRow);
        __syncthreads();
        announce<kRows>(a, firstRow + a.step);
        findStates<kRows, kKind>(a, shared, firstRow, perDeviation);

        uint32_t inputs[kRows][Way::kWords];
        for (int pass = kByRow ? 1 : 0; pass >= 0; --pass) {
            const uint32_t thread = afresh(threadIdx.x);
            const uint32_t lane = thread % kWarpLanes;
            for (uint32_t unit = thread / kWarpLanes; unit < a.units; unit += a.warps) {
                if (!kByRow || kSets == 8 || pass == 1 || a.units > a.warps) {  // else they still stand in the registers
                    const SlotPlace from = placeOf(a, unit * 8 + lane / 4);
                    gather<Way::kWords, kRows>(columnsOf<kRows>(a, shared, from.group), sourcesOf<Way>(shared, from.slot, lane % 4), inputs);
                }
                SlotPlace places[Way::kRuns];
#pragma unroll
                for (uint32_t i = 0; i < Way::kRuns; ++i) {
                    places[i] = placeOf(a, unit * 8 + (kJoined ? 0 : lane % 4 * 2 + i));
                }
                const Signs signs = shared.lanes[lane];
#pragma unroll
                for (uint32_t r = 0; r < kRows; ++r) {
#pragma unroll
                    for (uint32_t chunk = 0; chunk < Way::kChunks; ++chunk) {
                        float v[Way::kValues];
                        rotateChunk<kSets, kJoined, kByRow ? 4 : 8>(inputs[r], signs, a.lead, chunk, v);
#pragma unroll
                        for (uint32_t i = 0; i < Way::kRuns; ++i) {
                            const uint32_t inTile = afresh(places[i].group * kRows + r);
                            const uint32_t column = Way::run(places[i].slot, chunk, lane);
                            const bool there = places[i].there && column < static_cast<uint32_t>(a.request.width);
                            takeRun<Way, kJoined, kKind>(a, shared, v + i * Way::kRun, {inTile, column, there}, pass == 1);
                        }
                    }
                }
            }
            __syncthreads();  // before the next tile comes
            if (kByRow && pass == 1) {
                if (threadIdx.x < a.tileRows) {
                    RowState& state = shared.states[threadIdx.x];
                    const Steps steps = stepsOf(a, __uint_as_float(state.largest), state);
                    if (state.row < a.rows) {
                        writeSides(a, state.row, steps);
                    }
                    state.scale = steps.scale;
                    state.offset = steps.offset;
                }
                __syncthreads();
            }
        }
    }
}

/// What a launch needs to know of a kernel.
struct Kernel {
    void (*rotate)(Arguments);
    uint32_t rows;       ///< kRows
    uint32_t slot;       ///< positions
    uint32_t warps;      ///< that a multiprocessor has registers for
};

template <int kSets, bool kJoined, int kRows>
Kernel kernelOf(Kind kind) {
    return {kind == Kind::Codebook ? rotateTiles<kSets, kJoined, kRows, Kind::Codebook>
            : kind == Kind::Groups ? rotateTiles<kSets, kJoined, kRows, Kind::Groups>
                                   : rotateTiles<kSets, kJoined, kRows, Kind::Row>,
            kRows, 64 * kSets, residentWarps(kSets, kRows)};
}

/// Four rows at a time where registers hold them, of what is most common also two.
Kernel kernelFor(uint32_t block, Kind kind, bool four) {
    switch (block) {
        case 128: return kernelOf<2, false, 4>(kind);
        case 256: return kernelOf<4, false, 2>(kind);
        case 512: return kernelOf<1, true, 4>(kind);
        case 1024: return four ? kernelOf<2, true, 4>(kind) : kernelOf<2, true, 2>(kind);
        case 2048: return kernelOf<4, true, 2>(kind);
        case 4096: return kernelOf<8, true, 2>(kind);
        default: return kernelOf<1, false, 4>(kind);
    }
}

/// A way to take a request: tiles, threads and shared memory.
struct Plan {
    Kernel kernel;
    Arguments arguments;
    uint32_t threads = 0;  ///< 0: none
    uint32_t bytes = 0;
    uint32_t blocks = 0;   ///< that a multiprocessor holds
};

/// The plan that keeps most of a multiprocessor's warps at work. Several blocks are better than one: while one waits for memory, another computes. Four rows
/// at a time are better than two: what finds their inputs is done half as often.
Plan planFor(const Context& context, const RotateRequest& r) {
    const uint32_t sharedBytes = static_cast<uint32_t>(context.description.sharedBytes);
    const uint32_t width = static_cast<uint32_t>(r.width);
    const bool codebook = r.code == Code::Codebook;
    Plan best{};
    double most = 0;
    const Kind kind = codebook ? Kind::Codebook : r.group == r.width ? Kind::Row : Kind::Groups;
    for (const bool four : {true, false}) {
        const Kernel kernel = kernelFor(r.block, kind, four);
        const uint32_t rows = kernel.rows;
        Arguments a{};
        a.request = r;
        a.slots = divideUp(width, kernel.slot);
        a.perSlots = divideUp(1u << 24, a.slots);
        a.segments = divideUp(width, 8 * kWarpLanes);
        a.entries = (rows == 4 ? entryOf<4>(width) : entryOf<2>(width)) + 8 / rows;
        a.entries -= a.entries % (8 / rows);
        for (a.groups = 1; a.groups * rows <= kMostRows && a.groups <= 8; ++a.groups) {
            a.units = divideUp(a.groups * a.slots, 8);
            for (uint32_t warps = 1; warps <= std::min(kMostWarps, kernel.warps); ++warps) {
                a.tileRows = a.groups * rows;
                a.warps = warps;
                a.share = divideUp(a.groups * a.segments, warps);
                a.pairsAt = a.groups * a.entries * rows * 2;
                a.signsAt = a.pairsAt + a.slots * kernel.slot * 2;
                a.tableAt = a.signsAt + a.slots * std::max(kernel.slot / 8, 16u);
                a.squaresAt = a.tableAt + (codebook ? kCells * kWarpLanes * 4 : 0);
                a.lanesAt = a.squaresAt + a.tileRows * warps * 32;
                a.statesAt = a.lanesAt + kWarpLanes * static_cast<uint32_t>(sizeof(Signs));
                const uint32_t bytes = a.statesAt + a.tileRows * static_cast<uint32_t>(sizeof(RowState));
                if (bytes > sharedBytes) {
                    continue;
                }
                const uint32_t blocks = std::min((sharedBytes + 1024) / (bytes + 1024), kernel.warps / warps);
                const double busy = a.groups * a.slots / (8.0 * divideUp(a.units, warps) * warps);
                const double good = busy * blocks * warps * (blocks > 1 ? 1.0 : 0.7) * (rows == 4 ? 1.3 : 1.0);
                if (good > most * 1.02) {
                    most = good;
                    best = {kernel, a, warps * kWarpLanes, bytes, blocks};
                }
            }
        }
    }
    return best;
}

}  // namespace

bool rotatesOnTensorCores(const Context& context, const RotateRequest& r) {
    const auto aligned = [](const void* at, uint64_t bytes) { return reinterpret_cast<uintptr_t>(at) % 16 == 0 && bytes % 16 == 0; };
    const bool codebook = r.code == Code::Codebook && r.bits <= 4;
    const bool integers = r.code == Code::Symmetric && (r.bits == 4 || r.bits == 8) && r.shift == nullptr && r.range == nullptr &&
                          (r.group == r.width || ((r.group == 32 || r.group == 64 || r.group == 128) && r.group <= r.block));
    return (codebook || integers) && r.element == Element::BF16 && r.y == nullptr && r.sources != nullptr && r.block >= 8 && r.width % 32 == 0 &&
           aligned(r.x, r.xStride * 2) && aligned(r.codes, 0) && (r.bytes == nullptr || (r.bits == 4 && reinterpret_cast<uintptr_t>(r.codes) % 32 == 0)) &&
           r.rows <= 0x7FFFFFFF && planFor(context, r).threads > 0;
}

Status rotateOnTensorCores(Context* context, const RotateRequest& r) {
    Plan plan = planFor(*context, r);
    Arguments& a = plan.arguments;
    a.eightBytes = r.bytes != nullptr ? 8 : static_cast<uint32_t>(r.bits);
    a.rowBytes = static_cast<uint32_t>(r.width / 8) * a.eightBytes;
    if (r.bytes != nullptr) {
        a.levels = make_uint4(r.bytes->levels[0], r.bytes->levels[1], r.bytes->levels[2], r.bytes->levels[3]);
        a.order = r.bytes->inHalves != 0 ? Order::Halves : Order::Bytes;
    }
    for (a.scaled = 0; r.group != r.width && uint64_t{1} << a.scaled < r.group; ++a.scaled) {
    }
    a.rows = static_cast<uint32_t>(r.rows);
    a.lead = 0xFFFFE000u;
    a.unit = static_cast<float>(1.0 / std::sqrt(static_cast<double>(r.block)));
    a.root = std::sqrt(static_cast<double>(r.width));
    a.half = static_cast<float>(1 << (r.bits - 1));
    a.steps = 2 * a.half - 1;
    a.middle = a.half / a.steps;
    a.toStep = static_cast<float>(r.clip / (a.half - 1));
    const uint32_t blocks = std::min(divideUp(r.rows, a.tileRows), plan.blocks * static_cast<uint32_t>(context->description.multiprocessors));
    a.step = blocks * a.tileRows;
    return check(launch(plan.kernel.rotate, dim3(blocks), dim3(plan.threads), plan.bytes, context->stream, a), "rotate");
}

}  // namespace quantscope::cuda

// y = x Wᵀ as product.cuh defines it, by products of warpgroups (wgmma) whose operands lie in shared memory.
//
// Two neighbouring blocks, a cluster, take tiles of the same columns: each fetches half of their rows of W for both, since what the cache gives is less than
// tensor cores take. Blocks stay for as many tiles of y as there are. One thread of the first warpgroup requests 128 bytes of 128 rows of x and of kColumns rows of W at a
// time, as tile copies into kStages buffers, and runs ahead as far as they go, into the next tile while this one is written. The two other warpgroups
// multiply 64 rows each; what they add up stays in registers. Sums of groups become floats while the next group is multiplied: two sets of integers, which
// leaves registers for 128 columns.
#pragma once

#include <type_traits>

#include "cuda/linear/hopper_tiles.cuh"

namespace quantscope::cuda::hopper {

inline constexpr int kBand = 16;  ///< tiles of rows that are gone through together, so that their rows and those of W stay in the cache
/// Bytes from a row that a warp writes to the next: matrices of 8 rows of 16 bytes meet no bank twice, nor do pairs of floats of 4 rows.
template <class Y>
inline constexpr int kOutPitch = sizeof(Y) == 2 ? 144 : 160;

/// Integers, then two panels of bfloat16; a segment of 0 bytes is none.
inline constexpr int kSegments = 3;

struct Arguments {
    TensorMap x[kSegments];
    TensorMap w[kSegments];
    uint32_t bytes[kSegments];
    uint32_t rowTiles;
    uint32_t columnTiles;
    ProductArguments p;
};

/// Bytes of shared memory, and where things lie in it.
template <int kColumns, bool kGrouped>
struct Layout {
    static constexpr int kW = kRows * kStep;                                            ///< in a stage
    static constexpr int kScales = kW + kColumns * kStep;                               ///< as GroupScales has them, for each piece
    static constexpr int kStage = kScales + (kGrouped ? kPieces * (kRows + kColumns) * 4 : 0);
    static constexpr int kOut = kWarps * 16 * kOutPitch<float>;
    static constexpr int kEnd = 2 * 2 * 2 * kColumns * 4;                               ///< for each warpgroup and two tiles in turn: bias, scales of W
    static constexpr int kMost = 232448;
    static constexpr int kStages = (kMost - kOut - kEnd - 256) / kStage < 6 ? (kMost - kOut - kEnd - 256) / kStage : 6;
    static constexpr int kOutAt = kStages * kStage;
    static constexpr int kEndAt = kOutAt + kOut;
    static constexpr int kBarriersAt = kEndAt + kEnd;                                   ///< of each stage: full, empty
    static constexpr int kShared = kBarriersAt + 2 * kStages * 8;
    static_assert(kStage % 1024 == 0 && kShared <= kMost);
};

/// Of one block of the cluster that takes this tile of kCluster times as many rows.
template <int kCluster>
__device__ inline TilePlace placeOf(const Arguments& a, uint32_t tile, uint32_t rank) {
    constexpr uint32_t kHigh = kBand / kCluster;
    const uint32_t band = tile / (kHigh * a.columnTiles);
    const uint32_t high = min(kHigh, a.rowTiles / kCluster - band * kHigh);
    const uint32_t within = tile - band * kHigh * a.columnTiles;
    return {(band * kHigh + within % high) * kCluster + rank, within / high};
}

template <int kColumns, bool kIntegers, bool kGrouped, int kCluster>
__device__ inline void produce(const Arguments& a, uint8_t* shared, Barrier* full, Barrier* empty) {
    using L = Layout<kColumns, kGrouped>;
    constexpr uint32_t kShare = kColumns / kCluster;  ///< rows of W that this block fetches for its cluster
    const uint32_t rank = kCluster == 1 ? 0 : clusterRank();
    Turn<L::kStages> turn;
    for (uint32_t tile = blockIdx.x / kCluster; tile < a.rowTiles / kCluster * a.columnTiles; tile += gridDim.x / kCluster) {
        const TilePlace place = placeOf<kCluster>(a, tile, rank);
        const uint32_t firstRow = place.row * kRows;
        const uint32_t firstColumn = place.column * kColumns;
        GroupScales<kRows, kColumns> scales(a.p, a.p.groupPieces, firstRow, firstColumn);
#pragma unroll 1
        for (int segment = kIntegers ? 0 : 1; segment < kSegments; ++segment) {
            for (uint32_t begin = 0; begin < a.bytes[segment]; begin += kStep) {
                uint8_t* const stage = shared + turn.stage * L::kStage;
                Barrier* const arrived = full + turn.stage;
                awaitBarrier(empty + turn.stage, turn.parity ^ 1);
                copyTile(stage, a.x[segment], arrived, begin, firstRow);
                if constexpr (kCluster == 1) {
                    copyTile(stage + L::kW, a.w[segment], arrived, begin, firstColumn);
                } else {
                    copyTileTo((1u << kCluster) - 1, stage + L::kW + rank * kShare * kStep, a.w[segment], arrived, begin, firstColumn + rank * kShare);
                }
                uint32_t bytes = (kRows + kColumns) * kStep;
                if constexpr (kGrouped) {
                    bytes += segment == 0 ? scales.request(stage + L::kScales, min(a.bytes[0] - begin, static_cast<uint32_t>(kStep)) / kPiece, arrived) : 0;
                }
                arriveExpecting(arrived, bytes);  // which may have come: without this arrival the stage is not full
                turn.next();
            }
        }
    }
}

/// One of the two warpgroups that multiply.
template <int kColumns, bool kGrouped, int kCluster>
struct Consumer {
    using L = Layout<kColumns, kGrouped>;
    static constexpr int kTiles = kColumns / 8;
    const ProductArguments& p;
    uint8_t* shared;
    Barrier* full;
    Barrier* empty;
    uint32_t rowInTile = threadIdx.x / 32 % 4 * 16 + (threadIdx.x / 128 - 1) * 64;  ///< of the warp
    uint32_t oddTile = 0;  ///< other warps may still read what the tile before took
    Turn<L::kStages> turn{};

    __device__ uint8_t* stage() const { return shared + turn.stage * L::kStage; }
    __device__ float* bias() const { return reinterpret_cast<float*>(shared + L::kEndAt) + ((threadIdx.x / 128 - 1) * 2 + oddTile) * 2 * kColumns; }
    __device__ float* wScales() const { return bias() + kColumns; }

    /// Requests what the end of the next tile takes.
    template <bool kScaled>
    __device__ void begin(uint32_t firstColumn) {
        oddTile ^= 1;
        requestValues<kColumns>(bias(), p.bias, firstColumn, p.outputs);
        if constexpr (kScaled) {
            requestValues<kColumns>(wScales(), p.wScales, firstColumn, p.outputs);
        }
        commitCopies();
    }

    /// Products of bytes, or of bfloat16 and sums that may be the bits of floats.
    template <bool kBytes, class D>
    __device__ static void multiplyPiece(D (&d)[kTiles][4], uint64_t x, uint64_t w, bool add) {
        if constexpr (!kBytes && std::is_same_v<D, int>) {
            multiplyBf16Bits<kColumns>(d, x, w, add);
        } else {
            multiplyTiles<kColumns>(d, x, w, add);
        }
    }

    /// Products of kCount pieces of this stage: in a row, since the compiler begins anew behind every branch.
    template <bool kBytes, int kCount, class D>
    __device__ void multiply(D (&d)[kTiles][4], uint32_t first, bool add) const {
        const uint64_t x = describeTile(stage() + (threadIdx.x / 128 - 1) * 64 * kStep) + first * (kPiece / 16);
        const uint64_t w = describeTile(stage() + L::kW) + first * (kPiece / 16);
        beginProducts();
#pragma unroll
        for (uint32_t piece = 0; piece < kCount; ++piece) {
            multiplyPiece<kBytes>(d, x + piece * (kPiece / 16), w + piece * (kPiece / 16), add || piece > 0);
        }
        commitProducts();
    }

    /// All products of a segment added up.
    template <bool kBytes, class D>
    __device__ void segment(D (&d)[kTiles][4], uint32_t bytes) {
        if (bytes == 0) {
            return;
        }
        uint32_t last = 0;
        settle(d);
#pragma unroll 1
        for (uint32_t begin = 0; begin < bytes; begin += kStep) {
            awaitBarrier(full + turn.stage, turn.parity);
            multiply<kBytes, kPieces>(d, 0, true);
            waitProducts<1>();
            if (begin > 0) {
                release<kCluster>(empty + last);
            }
            last = turn.stage;
            turn.next();
        }
        waitProducts<0>();
        takeProducts(d);
        release<kCluster>(empty + last);
    }

    /// Sums of integers of whole rows to the bits of floats.
    __device__ void scale(int (&t)[kTiles][4], const float (&ofRow)[2]) const {
        const float* const w = wScales() + threadIdx.x % 4 * 2;
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
            const float2 ofColumn = *reinterpret_cast<const float2*>(w + n * 8);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                t[n][i] = __float_as_int(__int2float_rn(t[n][i]) * (ofRow[i / 2] * (i % 2 == 0 ? ofColumn.x : ofColumn.y)));
            }
        }
    }

    /// What is left to do once products of the pieces before have come.
    struct Done {
        bool endsGroup = false;
        bool endsStage = false;
        uint32_t stage = 0;
        uint32_t piece = 0;  ///< the last, in its stage
    };

    __device__ void finish(float (&sums)[kTiles][4], const int (&t)[kTiles][4], const Done& done) const {
        if (done.endsGroup) {
            const float* const x = reinterpret_cast<const float*>(shared + done.stage * L::kStage + L::kScales) + done.piece * (kRows + kColumns);
            const float* const w = x + kRows;
            const uint32_t lane = threadIdx.x % 32;
            const float ofRow[2] = {x[rowInTile + lane / 4], x[rowInTile + lane / 4 + 8]};
#pragma unroll
            for (int n = 0; n < kTiles; ++n) {
                const float2 ofColumn = *reinterpret_cast<const float2*>(w + n * 8 + lane % 4 * 2);
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    sums[n][i] = fmaf(__int2float_rn(t[n][i]), ofRow[i / 2] * (i % 2 == 0 ? ofColumn.x : ofColumn.y), sums[n][i]);
                }
            }
        }
        if (done.endsStage) {
            release<kCluster>(empty + done.stage);
        }
    }

    /// Queues a group's products into `t`, and finishes what was queued before: first the group before it in `before`.
    __device__ void group(float (&sums)[kTiles][4], int (&t)[kTiles][4], int (&before)[kTiles][4], uint32_t begin, uint32_t end, uint32_t all, Done& done) {
#pragma unroll 1
        for (uint32_t at = begin; at < end;) {
            const uint32_t first = at % kPieces;
            const uint32_t count = min(kPieces - first, end - at);
            if (first == 0) {
                awaitBarrier(full + turn.stage, turn.parity);
            }
            static_assert(kPieces == 4);
            switch (count) {
                case 1: multiply<true, 1>(t, first, at > begin); break;
                case 2: multiply<true, 2>(t, first, at > begin); break;
                case 3: multiply<true, 3>(t, first, at > begin); break;
                default: multiply<true, 4>(t, first, at > begin);
            }
            waitProducts<1>();
            if (at == begin) {
                takeProducts(before);
                finish(sums, before, done);
            } else {
                finish(sums, t, {false, done.endsStage, done.stage, done.piece});
            }
            at += count;
            const bool endsStage = at % kPieces == 0 || at == all;
            done = {at == end, endsStage, turn.stage, first + count - 1};
            if (endsStage) {
                turn.next();
            }
        }
    }

    /// Every group's sum of integers, times its scales, in order.
    __device__ void groups(float (&sums)[kTiles][4], uint32_t bytes) {
        int even[kTiles][4], odd[kTiles][4];
        Done done;
        const uint32_t all = bytes / kPiece;
        uint32_t at = 0;
#pragma unroll 1
        for (; at + p.groupPieces < all; at += 2 * p.groupPieces) {
            group(sums, even, odd, at, at + p.groupPieces, all, done);
            group(sums, odd, even, at + p.groupPieces, at + 2 * p.groupPieces, all, done);
        }
        if (at < all) {
            group(sums, even, odd, at, all, all, done);
            waitProducts<0>();
            takeProducts(even);
            finish(sums, even, done);
        } else {
            waitProducts<0>();
            takeProducts(odd);
            finish(sums, odd, done);
        }
    }

    /// The warp's 16 rows, 128 bytes of each at a time by way of shared memory: so that whole pieces of rows are written.
    template <class Y, class D>
    __device__ void store(const D (&sums)[kTiles][4], uint8_t* out, uint32_t firstRow, uint32_t firstColumn) const {
        constexpr int kAtOnce = 128 / sizeof(Y);
        constexpr int kInPiece = 16 / sizeof(Y);
        const uint32_t lane = threadIdx.x % 32;
        uint32_t nonFinite = 0;
#pragma unroll
        for (int chunk = 0; chunk < kColumns / kAtOnce; ++chunk) {
            uint32_t both[4];  // columns of a tile after the other, of rows and those 8 further
            __syncwarp();
#pragma unroll
            for (int n = 0; n < kAtOnce / 8; ++n) {
                const float2 added = *reinterpret_cast<const float2*>(bias() + chunk * kAtOnce + n * 8 + lane % 4 * 2);
                const D(&d)[4] = sums[chunk * kAtOnce / 8 + n];
                const float2 values[2] = {make_float2(asFloat(d[0]) + added.x, asFloat(d[1]) + added.y), make_float2(asFloat(d[2]) + added.x, asFloat(d[3]) + added.y)};
                if constexpr (sizeof(Y) == 2) {
                    both[n % 2 * 2] = bf16PairOf(values[0].x, values[0].y);
                    both[n % 2 * 2 + 1] = bf16PairOf(values[1].x, values[1].y);
                    if (n % 2 == 1) {
                        storeMatrices4(out + lane % 16 * kOutPitch<Y> + (n - 1 + lane / 16) * 16, both);
                    }
                } else {
                    uint8_t* const to = out + lane / 4 * kOutPitch<Y> + (n * 8 + lane % 4 * 2) * 4;
                    *reinterpret_cast<float2*>(to) = values[0];
                    *reinterpret_cast<float2*>(to + 8 * kOutPitch<Y>) = values[1];
                }
            }
            __syncwarp();
#pragma unroll
            for (uint32_t i = 0; i < 4; ++i) {
                const uint32_t row = (i * 32 + lane) / 8;
                const uint32_t piece = lane % 8;
                const uint32_t column = chunk * kAtOnce + piece * kInPiece;
                nonFinite |= writePiece(p, reinterpret_cast<const Y*>(out + row * kOutPitch<Y> + piece * 16), firstRow + row, firstColumn + column);
            }
        }
        report(nonFinite != 0, p.nonFinite);
    }
};

template <int kColumns, bool kIntegers, bool kGrouped, int kCluster>
__global__ void __launch_bounds__(kThreads, 1) multiply(const __grid_constant__ Arguments a) {
    using L = Layout<kColumns, kGrouped>;
    constexpr bool kScaled = kIntegers && !kGrouped;  ///< once, behind all products of integers
    uint8_t* const shared = dynamicShared<uint8_t>();
    Barrier* const full = reinterpret_cast<Barrier*>(shared + L::kBarriersAt);
    Barrier* const empty = full + L::kStages;
    if (threadIdx.x == 0) {
        prefetchMaps(a.x, a.w, a.bytes);
    }
    prepareBarriers<kCluster>(full, empty, L::kStages);
    if (threadIdx.x < 128) {
        giveRegisters();
        if (threadIdx.x == 0) {
            produce<kColumns, kIntegers, kGrouped, kCluster>(a, shared, full, empty);
        }
    } else {
        takeRegisters();
        Consumer<kColumns, kGrouped, kCluster> consumer{a.p, shared, full, empty};
        const uint32_t rank = kCluster == 1 ? 0 : clusterRank();
        uint8_t* const out = shared + L::kOutAt + (threadIdx.x / 32 - 4) * (L::kOut / kWarps);
        for (uint32_t tile = blockIdx.x / kCluster; tile < a.rowTiles / kCluster * a.columnTiles; tile += gridDim.x / kCluster) {
            const TilePlace place = placeOf<kCluster>(a, tile, rank);
            const uint32_t firstRow = place.row * kRows + consumer.rowInTile;
            const uint32_t firstColumn = place.column * kColumns;
            const uint32_t ownRow = firstRow + threadIdx.x % 32 / 4;
            const float ofRow[2] = {kScaled ? valueAt(a.p.xScales, ownRow, a.p.rows) : 0.0f, kScaled ? valueAt(a.p.xScales, ownRow + 8, a.p.rows) : 0.0f};
            consumer.template begin<kScaled>(firstColumn);
            // Integers become floats where they stand: products want their registers in a row, and there are not twice as many.
            std::conditional_t<kScaled, int, float> sums[kColumns / 8][4];
#pragma unroll
            for (auto& each : sums) {
                each[0] = each[1] = each[2] = each[3] = 0;
            }
            if constexpr (kGrouped) {
                consumer.groups(sums, a.bytes[0]);
            } else if constexpr (kScaled) {
                consumer.template segment<true>(sums, a.bytes[0]);
                awaitValues();
                consumer.scale(sums, ofRow);
            }
#pragma unroll 1
            for (int segment = 1; segment < kSegments; ++segment) {
                consumer.template segment<false>(sums, a.bytes[segment]);
            }
            if constexpr (!kScaled) {
                awaitValues();
            }
            if (a.p.yBf16) {
                consumer.template store<Bf16>(sums, out, firstRow, firstColumn);
            } else {
                consumer.template store<float>(sums, out, firstRow, firstColumn);
            }
        }
    }
    together<kCluster>();  // another block may still write here, or arrive
}

}  // namespace quantscope::cuda::hopper

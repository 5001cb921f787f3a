// Attention as flash.cuh has it, by products of warpgroups (wgmma) whose operands are copied as tiles (Shah et al., "FlashAttention-3", 2024).
//
// Blocks stay for as many tiles of kRows queries of a head as there are. The last warpgroup requests queries, keys and values and runs ahead as far as its
// stages go, into the next tile while this one is written. The others have 64 queries each. A warpgroup queues the scores of the next keys before it
// multiplies the values of these, and makes probabilities of the former while the latter are multiplied; tensor cores are lent by turns, so that one
// warpgroup's products run while the others are at their exponentials. Two neighbouring blocks, a cluster, may take neighbouring tiles of a head: each then
// fetches half of the keys and values for both, since what the cache gives is close to what the tensor cores take.
#pragma once

#include "cuda/attention/arguments.cuh"
#include "cuda/attention/rows.cuh"
#include "cuda/hopper_ring.cuh"

namespace quantscope::cuda::hopperAttention {

inline constexpr int kGroup = 128;      ///< threads of a warpgroup
inline constexpr int kGroupRows = 64;   ///< queries
inline constexpr int kGroups = 2;       ///< that multiply
inline constexpr int kRows = kGroupRows * kGroups;
inline constexpr int kThreads = kGroup * (kGroups + 1);
inline constexpr int kKeys = 128;       ///< at a time
inline constexpr int kRowBytes = 128;   ///< of a tile copy: 64 columns
inline constexpr int kStages = 2;
inline constexpr float kLog2E = 1.4426950408889634f;

struct Arguments {
    TensorMap q, k, v;
    AttentionArguments<Bf16> p;
    uint32_t rowTiles;  ///< of a head
    uint32_t tiles;
};

/// Phases of what is copied: `there` ends when it has arrived, `free` when every warp that reads it has done so.
struct Buffer {
    Barrier there, free;
};

/// Heads of up to kWidth values, a multiple of 16; what is beyond their width is zero.
template <int kWidth>
struct Tiling {
    static constexpr int kHalves = (kWidth + 63) / 64;               ///< tile copies side by side
    static constexpr int kQueryTile = kGroupRows * kRowBytes;        ///< bytes
    static constexpr int kKeyTile = kKeys * kRowBytes;
    static constexpr int kKeysAt = kGroups * kHalves * kQueryTile;
    static constexpr int kStage = kHalves * kKeyTile;
    static constexpr int kValuesAt = kKeysAt + kStages * kStage;
    static constexpr int kAddendsAt = kValuesAt + kStages * kStage;  ///< [kStages][kKeys] floats
    static constexpr int kBuffersAt = kAddendsAt + kStages * kKeys * 4;
    static constexpr int kShared = kBuffersAt + (kGroups + 2 * kStages) * static_cast<int>(sizeof(Buffer));
    static_assert(kKeyTile % 1024 == 0 && kShared <= 232448);
};

/// A block's shared memory.
template <int kWidth>
struct Shared {
    using T = Tiling<kWidth>;
    uint8_t* const begin;
    Buffer* const queries = reinterpret_cast<Buffer*>(begin + T::kBuffersAt);  ///< [kGroups]
    Buffer* const keys = queries + kGroups;                                    ///< [kStages]
    Buffer* const values = keys + kStages;                                     ///< [kStages]

    __device__ uint8_t* queriesOf(uint32_t group) const { return begin + group * T::kHalves * T::kQueryTile; }
    __device__ uint8_t* keysOf(uint32_t stage) const { return begin + T::kKeysAt + stage * T::kStage; }
    __device__ uint8_t* valuesOf(uint32_t stage) const { return begin + T::kValuesAt + stage * T::kStage; }
    __device__ float* addendsOf(uint32_t stage) const { return reinterpret_cast<float*>(begin + T::kAddendsAt) + stage * kKeys; }
};

/// Whether something is added to scores of the keys from `first` on: the bias, or the negative infinity of keys that are none.
__device__ inline bool hasAddends(const AttentionArguments<Bf16>& p, uint32_t first) {
    return p.bias != nullptr || p.keys - first < kKeys;
}

/// One warp that requests everything, in the order in which it is used.
template <int kWidth, int kCluster>
__device__ inline void produce(const Arguments& a, const Shared<kWidth>& shared) {
    using T = Tiling<kWidth>;
    constexpr uint32_t kShare = kKeys / kCluster;  ///< of keys that this block fetches for its cluster
    const uint32_t lane = threadIdx.x % 32;
    const uint32_t rank = kCluster == 1 ? 0 : clusterRank();
    const auto request = [&](uint8_t* to, uint32_t tileBytes, Barrier* there, auto copy) {
        __syncwarp();  // all lanes have seen that it is free, and written what is theirs
        if (lane == 0) {
            arriveExpecting(there, T::kHalves * tileBytes);
#pragma unroll
            for (uint32_t half = 0; half < T::kHalves; ++half) {
                copy(to + half * tileBytes, half * kRowBytes);
            }
        }
    };
    const auto requestKeys = [&](uint8_t* to, const TensorMap& map, Barrier* there, uint32_t head, uint32_t first) {
        request(to, T::kKeyTile, there, [&](uint8_t* half, uint32_t column) {
            if constexpr (kCluster == 1) {
                copyTile(half, map, there, column, head, first);
            } else {
                copyTileTo((1u << kCluster) - 1, half + rank * kShare * kRowBytes, map, there, column, head, first + rank * kShare);
            }
        });
    };
    Turn<kStages> turn;
    uint32_t tileParity = 0;
    for (uint32_t tile = blockIdx.x; tile < a.tiles; tile += gridDim.x) {
        const uint32_t head = tile / a.rowTiles;
        const uint32_t firstRow = tile % a.rowTiles * kRows;
        for (uint32_t group = 0; group < kGroups; ++group) {
            awaitBarrier(&shared.queries[group].free, tileParity ^ 1);
            Barrier* const there = &shared.queries[group].there;
            request(shared.queriesOf(group), T::kQueryTile, there,
                    [&](uint8_t* half, uint32_t column) { copyTile(half, a.q, there, column, head, firstRow + group * kGroupRows); });
        }
        tileParity ^= 1;
        for (uint32_t first = 0; first < a.p.keys; first += kKeys) {
            awaitBarrier(&shared.keys[turn.stage].free, turn.parity ^ 1);
            if (hasAddends(a.p, first)) {  // in units of q kᵀ
                for (uint32_t i = lane; i < kKeys; i += 32) {
                    const uint32_t key = first + i;
                    shared.addendsOf(turn.stage)[i] = key >= a.p.keys ? -INFINITY : a.p.bias == nullptr ? 0.0f : toFloat(a.p.bias[key]) / a.p.scale;
                }
            }
            requestKeys(shared.keysOf(turn.stage), a.k, &shared.keys[turn.stage].there, head, first);
            awaitBarrier(&shared.values[turn.stage].free, turn.parity ^ 1);
            requestKeys(shared.valuesOf(turn.stage), a.v, &shared.values[turn.stage].there, head, first);
            turn.next();
        }
    }
}

/// One of the warpgroups that multiply, with 64 queries as they are being summed up. Index h is the half: rows g and g + 8 of a warp's results.
template <int kWidth, int kCluster>
struct Consumer {
    using T = Tiling<kWidth>;
    const Arguments& a;
    const Shared<kWidth>& shared;
    const uint32_t group;
    float sums[kWidth / 8][4];     ///< Σ p v
    float most[2];                 ///< greatest score so far, in units of q kᵀ
    float weights[2];              ///< Σ p, this lane's part of it
    float corrections[2];          ///< what brings `sums` to units of `most`
    uint32_t p[kKeys / 16][4];     ///< probabilities, as the values' product takes them
    Turn<kStages> keysTurn{}, valuesTurn{};

    /// This warp has read queries of its own.
    __device__ static void release(Buffer& buffer) {
        if (threadIdx.x % 32 == 0) {
            arrive(&buffer.free);
        }
    }
    /// This warp has read keys or values, which every block of the cluster writes.
    __device__ static void releaseShared(Buffer& buffer) {
        if constexpr (kCluster == 1) {
            release(buffer);
        } else if (threadIdx.x % 32 < kCluster) {
            arriveIn(threadIdx.x % 32, &buffer.free);
        }
    }
    /// Between these the tensor cores are this warpgroup's. The first scores of a tile and its last values, beside which it has nothing else to do, go
    /// between those of others.
    __device__ void takeTensorCores() const { meet(1 + group, 2 * kGroup); }
    __device__ void passTensorCores() const { announce(1 + (group + 1) % kGroups, 2 * kGroup); }

    /// Queues S = q kᵀ.
    __device__ void multiplyKeys(float (&scores)[kKeys / 8][4]) const {
        const uint64_t queries = describeTile(shared.queriesOf(group));
        const uint64_t keys = describeTile(shared.keysOf(keysTurn.stage));
        beginProducts();
#pragma unroll
        for (int step = 0; step < kWidth / 16; ++step) {
            const int within = step % 4 * 2;
            multiplyTiles<kKeys>(scores, queries + step / 4 * (T::kQueryTile / 16) + within, keys + step / 4 * (T::kKeyTile / 16) + within, step > 0);
        }
        commitProducts();
    }
    /// Queues O += P v. Columns behind whole tiles have products of their own: nothing says that one may cover a tile and a part of the next.
    __device__ void multiplyValues() {
        constexpr int kRest = kWidth % 64;
        const uint64_t values = describeColumns(shared.valuesOf(valuesTurn.stage), T::kKeyTile);
        beginProducts();
#pragma unroll
        for (int step = 0; step < kKeys / 16; ++step) {
            const uint64_t rows = values + step * (16 * kRowBytes / 16);
            multiplyColumns<kWidth - kRest>(sums, p[step], rows);
            if constexpr (kRest != 0) {
                multiplyColumns<kRest>(sums + (kWidth - kRest) / 8, p[step], rows + (T::kHalves - 1) * (T::kKeyTile / 16));
            }
        }
        commitProducts();
    }

    /// Takes scores that have come: probabilities in units of the greatest one so far.
    __device__ void takeScores(float (&scores)[kKeys / 8][4], uint32_t first) {
        takeProducts(scores);
        if (hasAddends(a.p, first)) {
            const float* const addends = shared.addendsOf(keysTurn.stage) + threadIdx.x % 4 * 2;
#pragma unroll
            for (int n = 0; n < kKeys / 8; ++n) {
                const float2 addend = *reinterpret_cast<const float2*>(addends + n * 8);
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    scores[n][i] += i % 2 == 0 ? addend.x : addend.y;
                }
            }
            __syncwarp();  // all lanes have read them
        }
        releaseShared(shared.keys[keysTurn.stage]);
        keysTurn.next();
        const float scale = a.p.scale * kLog2E;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            float greatest[2] = {most[h], -INFINITY};
#pragma unroll
            for (int n = 0; n < kKeys / 8; ++n) {
                greatest[n % 2] = fmaxf(greatest[n % 2], fmaxf(scores[n][2 * h], scores[n][2 * h + 1]));
            }
            greatest[0] = rowMax(fmaxf(greatest[0], greatest[1]));
            // Negative infinities alone: any shift does, and infinity minus infinity must not be one.
            const float shift = greatest[0] == -INFINITY ? 0.0f : greatest[0] * scale;
            corrections[h] = most[h] == greatest[0] ? 1.0f : exp2Approximate(fmaf(most[h], scale, -shift));  // which would be rounded
            most[h] = greatest[0];
            float added[2] = {};
#pragma unroll
            for (int n = 0; n < kKeys / 8; ++n) {
                scores[n][2 * h] = exp2Approximate(fmaf(scores[n][2 * h], scale, -shift));
                scores[n][2 * h + 1] = exp2Approximate(fmaf(scores[n][2 * h + 1], scale, -shift));
                added[n % 2] += scores[n][2 * h] + scores[n][2 * h + 1];
            }
            weights[h] = fmaf(weights[h], corrections[h], added[0] + added[1]);
        }
    }
    /// Once no product reads the ones before: probabilities are rounded.
    __device__ void roundProbabilities(const float (&scores)[kKeys / 8][4]) {
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                p[n / 2][n % 2 * 2 + h] = bf16PairOf(scores[n][2 * h], scores[n][2 * h + 1]);
            }
        }
#pragma unroll
        for (int step = 0; step < kKeys / 16; ++step) {
            settle(p[step]);
        }
    }
    /// Once values have been added, if there were any.
    __device__ void takeSums(bool any) {
        takeProducts(sums);
        if (any) {
            releaseShared(shared.values[valuesTurn.stage]);
            valuesTurn.next();
        }
    }
    /// Brings them to units of `most`.
    __device__ void correctSums() {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            if (__any_sync(kFullWarp, corrections[h] != 1.0f)) {  // rarely, once the greatest are found
#pragma unroll
                for (int n = 0; n < kWidth / 8; ++n) {
                    sums[n][2 * h] *= corrections[h];
                    sums[n][2 * h + 1] *= corrections[h];
                }
            }
        }
        settle(sums);
    }

    /// All keys for the queries that have come.
    __device__ void attend() {
#pragma unroll
        for (int n = 0; n < kWidth / 8; ++n) {
            sums[n][0] = sums[n][1] = sums[n][2] = sums[n][3] = 0.0f;
        }
        most[0] = most[1] = -INFINITY;
        weights[0] = weights[1] = 0.0f;
        float scores[kKeys / 8][4];
        awaitBarrier(&shared.keys[keysTurn.stage].there, keysTurn.parity);
        multiplyKeys(scores);
        waitProducts<0>();
        takeScores(scores, 0);
        // Exponentials are at the end and the wait for values at the beginning: within one block of code the compiler waits first.
#pragma unroll 1
        for (uint32_t first = kKeys;; first += kKeys) {
            waitProducts<0>();
            takeSums(first > kKeys);
            roundProbabilities(scores);
            correctSums();
            if (first >= a.p.keys) {
                break;
            }
            awaitBarrier(&shared.keys[keysTurn.stage].there, keysTurn.parity);
            takeTensorCores();
            multiplyKeys(scores);
            awaitBarrier(&shared.values[valuesTurn.stage].there, valuesTurn.parity);
            multiplyValues();
            passTensorCores();
            waitProducts<1>();
            takeScores(scores, first);
        }
        release(shared.queries[group]);
        awaitBarrier(&shared.values[valuesTurn.stage].there, valuesTurn.parity);
        multiplyValues();
        waitProducts<0>();
        takeSums(true);
    }

    /// Lanes 2 i and 2 i + 1 have four neighbouring columns of each piece of eight: the former takes those of every other piece, the latter the others', so
    /// that four lanes write 32 bytes together, which is what memory takes.
    __device__ void store(uint32_t firstRow, uint32_t head) const {
        const uint32_t lane = threadIdx.x % 32;
        const uint32_t odd = lane % 2;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const float factor = 1.0f / rowSum(weights[h]);
            const uint32_t row = firstRow + threadIdx.x / 32 % 4 * 16 + h * 8 + lane / 4;
            Bf16* const to = a.p.out + row * a.p.outStride + uint64_t{head} * a.p.width + odd * 8 + lane % 4 / 2 * 4;
#pragma unroll
            for (int n = 0; n < kWidth / 8; n += 2) {
                const uint32_t first = bf16PairOf(sums[n][2 * h] * factor, sums[n][2 * h + 1] * factor);
                const uint32_t second = bf16PairOf(sums[n + 1][2 * h] * factor, sums[n + 1][2 * h + 1] * factor);
                const uint32_t others = __shfl_xor_sync(kFullWarp, odd ? first : second, 1);
                if (row < a.p.queries && (n + odd) * 8 < a.p.width) {
                    *reinterpret_cast<uint2*>(to + n * 8) = odd ? uint2{others, second} : uint2{first, others};
                }
            }
        }
    }
};

template <int kWidth, int kCluster>
__global__ void __launch_bounds__(kThreads, 1) attend(const __grid_constant__ Arguments a) {
    const Shared<kWidth> shared{dynamicShared<uint8_t>()};
    if (threadIdx.x == 0) {
        prefetchMap(a.q);
        prefetchMap(a.k);
        prefetchMap(a.v);
        for (int i = 0; i < kGroups + 2 * kStages; ++i) {
            initBarrier(&shared.queries[i].there, 1);
            initBarrier(&shared.queries[i].free, kGroup / 32 * (i < kGroups ? 1 : kGroups * kCluster));
        }
        publishBarriers();
    }
    together<kCluster>();
    const uint32_t group = threadIdx.x / kGroup;
    if (group == kGroups) {
        giveRegisters();
        if (threadIdx.x % kGroup < 32) {
            produce<kWidth, kCluster>(a, shared);
        }
    } else {
        takeRegisters();
        Consumer<kWidth, kCluster> consumer{a, shared, group};
        if (group == kGroups - 1) {
            consumer.passTensorCores();  // to the first
        }
        uint32_t tileParity = 0;
        for (uint32_t tile = blockIdx.x; tile < a.tiles; tile += gridDim.x) {
            awaitBarrier(&shared.queries[group].there, tileParity);
            tileParity ^= 1;
            consumer.attend();
            consumer.store(tile % a.rowTiles * kRows + group * kGroupRows, tile / a.rowTiles);
        }
        if (group == 0) {
            consumer.takeTensorCores();  // what was passed last
        }
    }
    together<kCluster>();  // another block may still write here, or arrive
}

}  // namespace quantscope::cuda::hopperAttention

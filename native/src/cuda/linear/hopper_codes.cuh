// The product of hopper.cuh for weights of 4 bits, which stay codes until they are in registers.
//
// yᵀ = W xᵀ: products of warpgroups take their first operand from registers, where three byte permutes for each 4 codes find the integers they stand for,
// whatever those are. So W is read as it is packed, half of what bytes are, and never written again. A block takes 128 outputs of kTokens rows of x; the
// two blocks of a cluster share these rows. Within 32 inputs a lane has the codes of 8 neighbours at once: bytes of x come in halves (ByteOrder).
// In groups one warpgroup makes floats of its sums while the other one multiplies.
#pragma once

#include "cuda/linear/hopper_tiles.cuh"
#include "cuda/linear/levels.cuh"

namespace quantscope::cuda::hopper {

inline constexpr int kHalf = kStep / 2;  ///< inputs, of which groups consist
inline constexpr int kHalves = 2;

/// Integers, then a panel of bfloat16.
struct CodesArguments {
    TensorMap x[2];
    TensorMap w[2];
    uint32_t bytes[2];     ///< of a row of x
    uint32_t rowTiles;     ///< of kTokens rows of x
    uint32_t columnTiles;  ///< of kRows outputs
    uint4 levels;          ///< the integer of each of 16 codes, a byte each
    ProductArguments p;
};

template <int kTokens, bool kGrouped>
struct CodesLayout {
    static constexpr int kX = kRows * kStep;            ///< in a stage; of codes of W only the first half of what is before is used
    static constexpr int kScales = kX + kTokens * kStep;  ///< as GroupScales has them, for each half
    static constexpr int kStage = kScales + (kGrouped ? kHalves * (kTokens + kRows) * 4 : 0);
    static constexpr int kOut = kWarps * 64 * 48;       ///< 64 tokens of 16 outputs of bfloat16, or 32 of floats, each some bytes apart from the next
    static constexpr int kStages = kTokens == 256 ? 4 : kGrouped ? 5 : 6;
    static constexpr int kEnd = kGrouped ? 0 : 2 * 2 * kTokens * 4;  ///< for each warpgroup and two tiles in turn: scales of x
    static constexpr int kOutAt = kStages * kStage;
    static constexpr int kEndAt = kOutAt + kOut;
    static constexpr int kBarriersAt = kEndAt + kEnd;
    static constexpr int kShared = kBarriersAt + 2 * kStages * 8;
    static_assert(kStage % 1024 == 0 && kShared <= 232448);
};

/// Tiles of outputs in the place of tiles of rows: the blocks of a cluster take neighbouring ones.
template <int kCluster>
__device__ inline TilePlace placeOfOutputs(const CodesArguments& a, uint32_t tile, uint32_t rank) {
    constexpr uint32_t kHigh = 4;
    const uint32_t columns = a.columnTiles / kCluster;
    const uint32_t band = tile / (kHigh * columns);
    const uint32_t high = min(kHigh, a.rowTiles - band * kHigh);
    const uint32_t within = tile - band * kHigh * columns;
    return {band * kHigh + within % high, within / high * kCluster + rank};
}

template <int kTokens, bool kGrouped, int kCluster>
__device__ inline void produceCodes(const CodesArguments& a, uint8_t* shared, Barrier* full, Barrier* empty) {
    using L = CodesLayout<kTokens, kGrouped>;
    constexpr uint32_t kShare = kTokens / kCluster;
    const uint32_t rank = kCluster == 1 ? 0 : clusterRank();
    Turn<L::kStages> turn;
    for (uint32_t tile = blockIdx.x / kCluster; tile < a.rowTiles * (a.columnTiles / kCluster); tile += gridDim.x / kCluster) {
        const TilePlace place = placeOfOutputs<kCluster>(a, tile, rank);
        GroupScales<kTokens, kRows> scales(a.p, a.p.groupLength / kHalf, place.row * kTokens, place.column * kRows);
#pragma unroll 1
        for (int segment = 0; segment < 2; ++segment) {
            for (uint32_t begin = 0; begin < a.bytes[segment]; begin += kStep) {
                uint8_t* const stage = shared + turn.stage * L::kStage;
                Barrier* const arrived = full + turn.stage;
                awaitBarrier(empty + turn.stage, turn.parity ^ 1);
                copyTile(stage, a.w[segment], arrived, segment == 0 ? begin / 2 : begin, place.column * kRows);
                if constexpr (kCluster == 1) {
                    copyTile(stage + L::kX, a.x[segment], arrived, begin, place.row * kTokens);
                } else {
                    copyTileTo((1u << kCluster) - 1, stage + L::kX + rank * kShare * kStep, a.x[segment], arrived, begin, place.row * kTokens + rank * kShare);
                }
                uint32_t bytes = kTokens * kStep + kRows * (segment == 0 ? kStep / 2 : kStep);
                if constexpr (kGrouped) {
                    bytes += segment == 0 ? scales.request(stage + L::kScales, min(a.bytes[0] - begin, static_cast<uint32_t>(kStep)) / kHalf, arrived) : 0;
                }
                arriveExpecting(arrived, bytes);  // which may have come: without this arrival the stage is not full
                turn.next();
            }
        }
    }
}

/// One of the two warpgroups that multiply. t[n][i] is output lane / 4 + 8 (i / 2) of the warp's 16 and token 8 n + 2 (lane % 4) + i % 2.
template <int kTokens, bool kGrouped, int kCluster>
struct CodesConsumer {
    using L = CodesLayout<kTokens, kGrouped>;
    static constexpr int kTiles = kTokens / 8;
    const CodesArguments& a;
    uint8_t* shared;
    Barrier* full;
    Barrier* empty;
    uint32_t lane = threadIdx.x % 32;
    uint32_t group = threadIdx.x / 128 - 1;
    uint32_t outputInTile = group * 64 + threadIdx.x / 32 % 4 * 16;  ///< the warp's first
    uint32_t oddTile = 0;  ///< other warps may still read what the tile before took
    float ofOutput[2]{};   ///< scales of this lane's outputs
    float bias[2]{};
    Turn<L::kStages> turn{};

    __device__ const uint8_t* stage() const { return shared + turn.stage * L::kStage; }
    __device__ float* xScales() const { return reinterpret_cast<float*>(shared + L::kEndAt) + (group * 2 + oddTile) * kTokens; }

    /// Requests what the end of the next tile takes.
    __device__ void begin(uint32_t firstOutput, uint32_t firstRow) {
        const ProductArguments& p = a.p;
#pragma unroll
        for (uint32_t h = 0; h < 2; ++h) {
            const uint32_t own = firstOutput + lane / 4 + 8 * h;
            bias[h] = valueAt(p.bias, own, p.outputs);
            ofOutput[h] = kGrouped ? 0.0f : valueAt(p.wScales, own, p.outputs);
        }
        if constexpr (!kGrouped) {
            oddTile ^= 1;
            requestValues<kTokens>(xScales(), p.xScales, firstRow, p.rows);
            commitCopies();
        }
    }

    /// The first operand of each piece of this stage, from codes as a tile of 64 bytes has them.
    __device__ void take(uint32_t (&w)[kPieces][4]) const {
        awaitBarrier(full + turn.stage, turn.parity);
        const uint8_t* const codes = stage();
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const uint32_t row = outputInTile + lane / 4 + 8 * h;
#pragma unroll
            for (int piece = 0; piece < kPieces; ++piece) {
                const uint32_t word = *reinterpret_cast<const uint32_t*>(codes + row * (kStep / 2) + ((piece ^ (row >> 1 & 3)) * 16) + lane % 4 * 4);
                const uint2 integers = levelsOf(word, a.levels);
                w[piece][h] = integers.x;
                w[piece][2 + h] = integers.y;
            }
        }
#pragma unroll
        for (int piece = 0; piece < kPieces; ++piece) {
            settle(w[piece]);
        }
    }

    /// Multiplies this stage, whose first operand is `now`, and takes that of the next one meanwhile.
    __device__ void step(int (&t)[kTiles][4], uint32_t (&now)[kPieces][4], uint32_t (&next)[kPieces][4], bool more) {
        const uint64_t x = describeTile(stage() + L::kX);
        Barrier* const left = empty + turn.stage;
        beginProducts();
#pragma unroll
        for (int piece = 0; piece < kPieces; ++piece) {
            multiplyRegisters<kTokens>(t, now[piece], x + piece * (kPiece / 16), true);
        }
        commitProducts();
        turn.next();
        if (more) {
            take(next);
        }
        waitProducts<0>();
        takeProducts(t);
        release<kCluster>(left);
    }

    __device__ void codes(int (&t)[kTiles][4]) {
        if (a.bytes[0] == 0) {
            return;
        }
        uint32_t even[kPieces][4], odd[kPieces][4];
        const uint32_t steps = (a.bytes[0] + kStep - 1) / kStep;
        take(even);
        settle(t);
#pragma unroll 1
        for (uint32_t at = 0; at < steps; at += 2) {
            step(t, even, odd, at + 1 < steps);
            if (at + 1 < steps) {
                step(t, odd, even, at + 2 < steps);
            }
        }
    }

    /// A group's sums to floats: `scales` are those of its tokens and outputs.
    __device__ void finish(int (&sums)[kTiles][4], const int (&t)[kTiles][4], const float* scales) const {
        const float* const ofOutputs = scales + kTokens + outputInTile + lane / 4;
        const float ofOutput[2] = {ofOutputs[0], ofOutputs[8]};
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
            const float2 ofRow = *reinterpret_cast<const float2*>(scales + n * 8 + lane % 4 * 2);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float scale = (i % 2 == 0 ? ofRow.x : ofRow.y) * ofOutput[i / 2];
                sums[n][i] = __float_as_int(fmaf(__int2float_rn(t[n][i]), scale, __int_as_float(sums[n][i])));
            }
        }
    }

    /// One stage of two groups of a half, of which the last stage may have but one, or of a part of a larger group, of which `left` stages
    /// are left: 0 where one starts.
    template <bool kSmall>
    __device__ void groupStep(int (&sums)[kTiles][4], int (&t)[kTiles][4], uint32_t (&now)[kPieces][4], uint32_t (&next)[kPieces][4], uint32_t begin, uint32_t& left) {
        constexpr int kParts = kSmall ? kHalves : 1;
        const uint64_t x = describeTile(stage() + L::kX);
        const float* const scales = reinterpret_cast<const float*>(stage() + L::kScales);
        Barrier* const released = empty + turn.stage;
        const bool starts = left == 0;
        left = (starts ? max(a.p.groupLength / kStep, 1u) : left) - 1;
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
            beginProducts();
#pragma unroll
            for (int piece = part * kPieces / kParts; piece < (part + 1) * kPieces / kParts; ++piece) {
                multiplyRegisters<kTokens>(t, now[piece], x + piece * (kPiece / 16), !starts || piece > part * kPieces / kParts);
            }
            commitProducts();
            if (part == kParts - 1) {
                turn.next();
                if (begin + kStep < a.bytes[0]) {
                    take(next);
                }
            }
            waitProducts<0>();
            takeProducts(t);
            if (kSmall ? begin + part * kHalf < a.bytes[0] : left == 0) {
                finish(sums, t, scales + (kSmall ? part : kHalves - 1) * (kTokens + kRows));
            }
        }
        release<kCluster>(released);
    }

    template <bool kSmall>
    __device__ void groups(int (&sums)[kTiles][4]) {
        int t[kTiles][4];
        uint32_t even[kPieces][4], odd[kPieces][4];
        uint32_t left = 0;
        take(even);
#pragma unroll 1
        for (uint32_t begin = 0; begin < a.bytes[0]; begin += 2 * kStep) {
            groupStep<kSmall>(sums, t, even, odd, begin, left);
            if (begin + kStep < a.bytes[0]) {
                groupStep<kSmall>(sums, t, odd, even, begin + kStep, left);
            }
        }
    }

    /// Sums of integers to the bits of floats.
    __device__ void scale(int (&t)[kTiles][4]) const {
        const float* const x = xScales() + lane % 4 * 2;
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
            const float2 ofRow = *reinterpret_cast<const float2*>(x + n * 8);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                t[n][i] = __float_as_int(__int2float_rn(t[n][i]) * ((i % 2 == 0 ? ofRow.x : ofRow.y) * ofOutput[i / 2]));
            }
        }
    }

    /// Adds the panel of bfloat16.
    __device__ void panel(int (&t)[kTiles][4]) {
        settle(t);
#pragma unroll 1
        for (uint32_t begin = 0; begin < a.bytes[1]; begin += kStep) {
            awaitBarrier(full + turn.stage, turn.parity);
            const uint64_t w = describeTile(stage() + group * 64 * kStep), x = describeTile(stage() + L::kX);
            beginProducts();
#pragma unroll
            for (int piece = 0; piece < kPieces; ++piece) {
                multiplyBf16Bits<kTokens>(t, w + piece * (kPiece / 16), x + piece * (kPiece / 16), true);
            }
            commitProducts();
            waitProducts<0>();  // a panel is a few steps
            takeProducts(t);
            release<kCluster>(empty + turn.stage);
            turn.next();
        }
    }

    /// The warp's 16 outputs of every token, some tokens at a time by way of shared memory.
    template <class Y>
    __device__ void store(const int (&t)[kTiles][4], uint8_t* out, uint32_t firstOutput, uint32_t firstRow) const {
        constexpr int kAtOnce = 128 / sizeof(Y);
        constexpr int kPitch = 16 * sizeof(Y) + 16;
        constexpr int kInPiece = 16 / sizeof(Y);
        constexpr uint32_t kPiecesOfRow = 16 / kInPiece;
        const ProductArguments& p = a.p;
        uint32_t nonFinite = 0;
#pragma unroll
        for (int chunk = 0; chunk < kTokens / kAtOnce; ++chunk) {
            uint32_t both[4];  // tokens of a tile after the other, of outputs and those 8 further
            __syncwarp();
#pragma unroll
            for (int n = 0; n < kAtOnce / 8; ++n) {
                const int(&d)[4] = t[chunk * kAtOnce / 8 + n];
                const float values[2][2] = {{__int_as_float(d[0]) + bias[0], __int_as_float(d[1]) + bias[0]},
                                            {__int_as_float(d[2]) + bias[1], __int_as_float(d[3]) + bias[1]}};
                if constexpr (sizeof(Y) == 2) {
                    both[n % 2 * 2] = bf16PairOf(values[0][0], values[0][1]);
                    both[n % 2 * 2 + 1] = bf16PairOf(values[1][0], values[1][1]);
                    if (n % 2 == 1) {
                        storeMatrices4Transposed(out + ((n - 1) * 8 + lane / 16 * 8 + lane % 8) * kPitch + lane / 8 % 2 * 16, both);
                    }
                } else {
                    float* const to = reinterpret_cast<float*>(out + (n * 8 + lane % 4 * 2) * kPitch) + lane / 4;
#pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        to[i % 2 * (kPitch / 4) + i / 2 * 8] = values[i / 2][i % 2];
                    }
                }
            }
            __syncwarp();
#pragma unroll
            for (uint32_t i = 0; i < kAtOnce * kPiecesOfRow / 32; ++i) {
                const uint32_t token = (i * 32 + lane) / kPiecesOfRow;
                const uint32_t piece = lane % kPiecesOfRow;
                const Y* const from = reinterpret_cast<const Y*>(out + token * kPitch) + piece * kInPiece;
                nonFinite |= writePiece(p, from, firstRow + chunk * kAtOnce + token, firstOutput + piece * kInPiece);
            }
        }
        report(nonFinite != 0, p.nonFinite);
    }
};

template <int kTokens, bool kGrouped, int kCluster>
__global__ void __launch_bounds__(kThreads, 1) multiplyCodes(const __grid_constant__ CodesArguments a) {
    using L = CodesLayout<kTokens, kGrouped>;
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
            produceCodes<kTokens, kGrouped, kCluster>(a, shared, full, empty);
        }
    } else {
        takeRegisters();
        CodesConsumer<kTokens, kGrouped, kCluster> consumer{a, shared, full, empty};
        const uint32_t rank = kCluster == 1 ? 0 : clusterRank();
        uint8_t* const out = shared + L::kOutAt + (threadIdx.x / 32 - 4) * (L::kOut / kWarps);
        for (uint32_t tile = blockIdx.x / kCluster; tile < a.rowTiles * (a.columnTiles / kCluster); tile += gridDim.x / kCluster) {
            const TilePlace place = placeOfOutputs<kCluster>(a, tile, rank);
            const uint32_t firstRow = place.row * kTokens;
            const uint32_t firstOutput = place.column * kRows + consumer.outputInTile;
            consumer.begin(firstOutput, firstRow);
            int t[kTokens / 8][4];
#pragma unroll
            for (auto& each : t) {
                each[0] = each[1] = each[2] = each[3] = 0;
            }
            if constexpr (!kGrouped) {
                consumer.codes(t);
                awaitValues();
                consumer.scale(t);
            } else if (a.p.groupLength == kHalf) {
                consumer.template groups<true>(t);
            } else {
                consumer.template groups<false>(t);
            }
            consumer.panel(t);
            if (a.p.yBf16) {
                consumer.template store<Bf16>(t, out, firstOutput, firstRow);
            } else {
                consumer.template store<float>(t, out, firstOutput, firstRow);
            }
        }
    }
    together<kCluster>();  // another block may still write here, or arrive
}

}  // namespace quantscope::cuda::hopper

// Hadamard blocks of bfloat16 rows as products on tensor cores.
//
// A slot is 64 kSets positions of a row. Its values are gathered straight into the fragments of a product with the Hadamard matrix of 64, whose other side
// is nothing but signs: products are exact, sums are float32. The eight columns of that product are eight slots. Where they are one Hadamard block
// (kJoined), a second product, with the matrix of 8, goes over them; its left side is the sums of the first where they lie, each as two TF32 numbers of
// 11 bits. kSets such products side by side leave what is missing, up to three levels, to additions. So no value is exchanged between threads, and since
// all levels of a Hadamard matrix are alike, any of them may be the one of neighbours: they are assigned so that a lane gets neighbours to code and pack.
#pragma once

#include "cuda/rotation.cuh"

namespace quantscope::cuda::tiles {

__host__ __device__ constexpr uint32_t log2Of(uint32_t power) { return power < 2 ? 0 : 1 + log2Of(power / 2); }

/// Where the positions of a row are among the lanes of the warp that rotates them. Lane 4 g + t holds inputs k of slot g with k / 2 % 4 = t, and sums
/// g, g + 8, ... of slots 2 t and 2 t + 1. Sums come in kChunks chunks of kValues, kRuns runs of neighbours.
template <int kSets, bool kJoined>
struct Places {
    static constexpr uint32_t kSlot = 64 * kSets;
    static constexpr uint32_t kWords = 8 * kSets;  ///< pairs of inputs that a lane holds of one row
    static constexpr uint32_t kTiles = kSets == 8 || (kSets == 4 && kJoined) ? 1 : kSets == 4 ? 2 : 4;  ///< of 16 sums, in a chunk
    static constexpr uint32_t kChunks = 4 / kTiles;
    static constexpr uint32_t kValues = 4 * kSets * kTiles;
    static constexpr uint32_t kRuns = kJoined ? 1 : 2;
    static constexpr uint32_t kRun = kValues / kRuns;

    /// Position in the row of input k of a set: its bits, from the lowest one, are set, slot % 2, k / 8 % 2, k / 16 as far as it is in a chunk, k % 8,
    /// slot / 2 % 4, the rest of k / 16; without those of the slot unless it is joined to others.
    static __host__ __device__ constexpr uint32_t input(uint32_t slot, uint32_t set, uint32_t k) {
        uint32_t at = set;
        uint32_t bits = log2Of(kSets);
        const auto put = [&](uint32_t value, uint32_t count) {
            at |= (value & ((1u << count) - 1)) << bits;
            bits += count;
        };
        put(slot, kJoined ? 1 : 0);
        put(k >> 3, 1);
        put(k >> 4, log2Of(kTiles));
        put(k, 3);
        put(slot >> 1, kJoined ? 2 : 0);
        put(k >> (4 + log2Of(kTiles)), log2Of(kChunks));
        return (kJoined ? slot / 8 * 8 : slot) * kSlot + at;
    }
    /// Position of the first value of a run, given the first slot of the eight for joined ones, else the run's own.
    static __host__ __device__ constexpr uint32_t run(uint32_t slot, uint32_t chunk, uint32_t lane) {
        return slot * kSlot + (kJoined ? (chunk * 32 + lane / 4 + lane % 4 * 8) * kRun : (chunk * 8 + lane / 4) * kRun);
    }
    /// Index among a lane's values of sum i (as mma leaves them) of a set and tile.
    static __host__ __device__ constexpr uint32_t value(uint32_t set, uint32_t i, uint32_t tile) {
        return kJoined ? set + kSets * (i + 4 * tile) : i % 2 * kRun + set + kSets * (i / 2 + 2 * tile);
    }
};

/// Inputs of a column for kRows rows, as they lie beside each other in shared memory.
template <int kRows>
struct alignas(2 * kRows) ColumnWords {
    uint32_t pair[kRows / 2];
};

/// Entry of a column: 16 bytes are left out behind every 128, so that columns are written without meeting a bank twice.
template <int kRows>
__host__ __device__ constexpr uint32_t entryOf(uint32_t column) { return column + column / (64 / kRows) * (8 / kRows); }

/// Where a lane finds its inputs: kWords pairs of entries, every fourth 16 bytes hold four, and behind all of them their signs, those of pair i in bits 15 - i
/// and 31 - i of word i / 16.
template <uint32_t kWords>
struct Sources {
    static constexpr uint32_t kSignWords = kWords > 16 ? kWords / 16 : 1;
    const uint4* pairs;
    const uint32_t* signs;
};

/// One lane's inputs, from `columns` in shared memory.
template <uint32_t kWords, int kRows>
__device__ inline void gather(const ColumnWords<kRows>* columns, const Sources<kWords>& sources, uint32_t (&inputs)[kRows][kWords]) {
    const uint32_t first = sharedAddress(columns);
    const SharedArray<ColumnWords<kRows>> array(columns, first);
#pragma unroll
    for (uint32_t i = 0; i < kWords; i += 4) {
        const uint4 four = load16(sources.pairs + i);
        const uint32_t entries[4] = {four.x, four.y, four.z, four.w};
        const uint32_t signs = sources.signs[i / 16];
#pragma unroll
        for (uint32_t e = 0; e < 4; ++e) {
            const ColumnWords<kRows> low = array.at(__dp2a_lo(entries[e], sizeof low, first));
            const ColumnWords<kRows> high = array.at(__dp2a_lo(entries[e], sizeof high << 8, first));
            const uint32_t flip = signs << (i + e) % 16 & 0x80008000u;
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                inputs[r][i + e] = __byte_perm(low.pair[r / 2], high.pair[r / 2], r % 2 == 0 ? 0x5410 : 0x7632) ^ flip;
            }
        }
    }
}

/// The Hadamard matrices as fragments of one lane.
struct alignas(16) Signs {
    uint32_t plus[4];   ///< the matrix of 16 x 16, of which that of 64 consists with both signs
    uint32_t minus[4];
    uint32_t eight[2];  ///< the matrix of 8 x 8, in TF32

    Signs() = default;
    /// Blocks below 64 leave products between different blocks out: a lane's bits of k are position bits 3.. of a slot.
    __device__ Signs(uint32_t block, uint32_t lane) {
        const uint32_t row = lane / 4;
        const uint32_t column = lane % 4 * 2;
        const uint32_t apart = block >= 64 ? 0 : ~(block / 8 - 1) & 7;  // bits in which row and column have to agree
        const auto one = [&](uint32_t k, uint32_t flip) {
            return ((row ^ k) & apart) != 0 ? 0u : (__popc(row & k & ~apart) & 1) != flip ? 0xBF80u : 0x3F80u;
        };
        for (uint32_t i = 0; i < 4; ++i) {
            plus[i] = one(column, i / 3) | one(column + 1, i / 3) << 16;
            minus[i] = one(column, 1 - i / 3) | one(column + 1, 1 - i / 3) << 16;
        }
        for (uint32_t i = 0; i < 2; ++i) {
            eight[i] = (__popc(row & (column + i)) & 1) != 0 ? 0xBF800000u : 0x3F800000u;
        }
    }
};

/// Rotated values of a lane's chunk of one row, times the root of the block. `lead` is 0xFFFFE000, the bits of a TF32 number, as a value that the compiler
/// does not know: it would spare the hardware the masking and copy registers instead. kAtOnce sets are begun together, as registers suffice.
template <int kSets, bool kJoined, uint32_t kAtOnce, class Way = Places<kSets, kJoined>>
__device__ inline void rotateChunk(const uint32_t (&inputs)[Way::kWords], const Signs& signs, uint32_t lead, uint32_t chunk, float (&v)[Way::kValues]) {
#pragma unroll
    for (uint32_t tile = 0; tile < Way::kTiles; ++tile) {
        const uint32_t rows = chunk * Way::kTiles + tile;
        float sums[4][kSets];
#pragma unroll
        for (uint32_t set = 0; set < kSets; ++set) {
            if (set > 0 && set % kAtOnce == 0) {
                __syncwarp();
            }
            float d[4] = {};
#pragma unroll
            for (uint32_t step = 0; step < 4; ++step) {
                const uint32_t b[2] = {inputs[(set * 4 + step) * 2], inputs[(set * 4 + step) * 2 + 1]};
                mmaBf16(d, (__popc(rows & step) & 1) != 0 ? signs.minus : signs.plus, b);
            }
            if (kJoined) {
                uint32_t leading[4];
                uint32_t rest[4];
#pragma unroll
                for (uint32_t i = 0; i < 4; ++i) {
                    const float sum = d[i % 2 * 2 + i / 2];
                    leading[i] = __float_as_uint(sum) & lead;
                    rest[i] = __float_as_uint(sum - __uint_as_float(leading[i]));
                }
                float joined[4] = {};
                mmaTf32(joined, rest, signs.eight);
                mmaTf32(joined, leading, signs.eight);
#pragma unroll
                for (uint32_t i = 0; i < 4; ++i) {
                    d[i] = joined[i];
                }
            }
#pragma unroll
            for (uint32_t i = 0; i < 4; ++i) {
                sums[i][set] = d[i];
            }
        }
#pragma unroll
        for (uint32_t i = 0; i < 4; ++i) {
            butterflies(sums[i]);
#pragma unroll
            for (uint32_t set = 0; set < kSets; ++set) {
                v[Way::value(set, i, tile)] = sums[i][set];
            }
        }
    }
}

}  // namespace quantscope::cuda::tiles

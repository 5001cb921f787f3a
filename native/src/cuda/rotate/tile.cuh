// A tile: a few rows in the shared memory of a block, column by column, so that one random access fetches all kRows rows of a group.
#pragma once

#include "cuda/rotate/hadamard.cuh"

namespace quantscope::cuda::tiles {

inline constexpr uint32_t kMostWarps = 8;  ///< of a block
inline constexpr uint32_t kMostRows = 32;  ///< of a tile: a lane of one warp looks after each

/// What codes there are: those of a codebook, or integers with a scale for groups, or for the row, which is then rotated twice.
enum class Kind { Codebook, Groups, Row };

/// Warps that the registers of a multiprocessor are shared among: few where a lane holds many inputs.
constexpr uint32_t residentWarps(uint32_t sets, uint32_t rows) { return sets * rows > 8 ? 8 : sets * rows == 8 ? 12 : 16; }

/// How codes are written: packed, or one byte each in either order of CodeBytes.
enum class Order : int32_t { Packed, Bytes, Halves };

/// A request and how it is taken.
struct Arguments {
    RotateRequest request;
    uint32_t rows;
    uint32_t tileRows;   ///< rows of a tile
    uint32_t warps;      ///< of a block
    uint32_t groups;     ///< of kRows rows, in a tile
    uint32_t slots;      ///< of a row
    uint32_t perSlots;   ///< 2^24 / slots, rounded up
    uint32_t units;      ///< of eight slots, in a tile
    uint32_t segments;   ///< of 256 columns, in a row
    uint32_t share;      ///< segments of a tile that one warp reads
    uint32_t entries;    ///< of a group: columns with what is left out between them
    uint32_t step;       ///< rows from one tile of a block to its next
    uint32_t rowBytes;   ///< of codes
    uint32_t eightBytes; ///< of eight of them
    Order order;
    uint4 levels;        ///< of CodeBytes
    uint32_t scaled;     ///< integers: log2 of the values that share a scale, or 0 where the row does
    float half;          ///< integers: values from -half on
    float steps;         ///< and so many more
    float middle;        ///< half / steps
    uint32_t lead;       ///< of rotateChunk()
    float unit;          ///< 1 / sqrt(block)
    float toStep;        ///< integers: clip / (largest code of a scale's steps)
    double root;         ///< sqrt(width)
    uint32_t pairsAt;    ///< offsets of Shared in bytes, of columns 0
    uint32_t signsAt;
    uint32_t tableAt;
    uint32_t squaresAt;
    uint32_t lanesAt;
    uint32_t statesAt;
};

/// What values of a row are coded by: value scale + offset is a place in the range of codes, which is [0, 1]. Both are 0 where all codes are.
struct alignas(16) RowState {
    float scale;        ///< integers, before their own is known: 2^-exponent, with 1 for the offset
    float offset;
    float back;         ///< integers: 2^exponent of RowSums
    uint32_t largest;   ///< Kind::Row: bits of the largest magnitude
    uint32_t row;       ///< of all
};

/// A block's shared memory.
struct Shared {
    unsigned char* columns;
    uint4* pairs;       ///< [slot][kWords / 4][lane % 4] of Sources
    uint32_t* signs;    ///< [slot][lane % 4][kSignWords]
    uint32_t* table;    ///< [kCells][lane]
    float* squares;     ///< [row][warp][8]
    Signs* lanes;       ///< [lane]: loaded, their fragments are four registers side by side
    RowState* states;   ///< [row]

    __device__ Shared(const Arguments& a, unsigned char* memory)
        : columns(memory), pairs(reinterpret_cast<uint4*>(memory + a.pairsAt)), signs(reinterpret_cast<uint32_t*>(memory + a.signsAt)),
          table(reinterpret_cast<uint32_t*>(memory + a.tableAt)), squares(reinterpret_cast<float*>(memory + a.squaresAt)),
          lanes(reinterpret_cast<Signs*>(memory + a.lanesAt)), states(reinterpret_cast<RowState*>(memory + a.statesAt)) {}
};

template <int kRows>
__device__ inline ColumnWords<kRows>* columnsOf(const Arguments& a, const Shared& shared, uint32_t group) {
    return reinterpret_cast<ColumnWords<kRows>*>(shared.columns) + group * a.entries;
}

/// A slot of a tile, of all its groups' one behind the other.
struct SlotPlace {
    uint32_t group;
    uint32_t slot;  ///< of a row
    bool there;     ///< else it stands for the first one
};
__device__ inline SlotPlace placeOf(const Arguments& a, uint32_t slot) {
    const bool there = slot < a.groups * a.slots;
    const uint32_t group = there ? slot * a.perSlots >> 24 : 0;
    return {group, there ? slot - group * a.slots : 0, there};
}

template <class Way>
__device__ inline Sources<Way::kWords> sourcesOf(const Shared& shared, uint32_t slot, uint32_t inFour) {
    return {shared.pairs + slot * Way::kWords + inFour, shared.signs + (slot * 4 + inFour) * Sources<Way::kWords>::kSignWords};
}

/// Where inputs come from: a lane of eight slots has its pairs and signs as Sources says.
template <class Way, int kRows>
__device__ inline void findSources(const Arguments& a, const Shared& shared) {
    constexpr uint32_t kSignWords = Sources<Way::kWords>::kSignWords;
    const uint32_t width = static_cast<uint32_t>(a.request.width);
    const auto source = [&](uint32_t slot, uint32_t inFour, uint32_t word, uint32_t e) {
        const uint32_t at = Way::input(slot, word / 8, word / 2 % 4 * 16 + word % 2 * 8 + inFour * 2 + e);
        return at < width ? a.request.sources[at] : 0;
    };
    for (uint32_t i = threadIdx.x; i < a.slots * Way::kWords * 4; i += blockDim.x) {
        const uint32_t word = i / 16 % (Way::kWords / 4) * 4 + i % 4;
        const uint32_t slot = i / (4 * Way::kWords);
        reinterpret_cast<uint32_t*>(shared.pairs)[i] = entryOf<kRows>(source(slot, i / 4 % 4, word, 0) & 0x7FFFFFFFu) |
                                                       entryOf<kRows>(source(slot, i / 4 % 4, word, 1) & 0x7FFFFFFFu) << 16;
    }
    for (uint32_t i = threadIdx.x; i < a.slots * 4 * kSignWords; i += blockDim.x) {
        uint32_t signs = 0;
        for (uint32_t word = 0; word < min(Way::kWords, 16u); ++word) {
            for (uint32_t e = 0; e < 2; ++e) {
                signs |= source(i / (4 * kSignWords), i / kSignWords % 4, i % kSignWords * 16 + word, e) >> 31 << (16 * e + 15 - word);
            }
        }
        shared.signs[i] = signs;
    }
}

/// 16 bytes of each row of a group, from a column that is a multiple of 8, to where its columns belong. Squares are the diagonals of X Xᵀ and Y Yᵀ, X and
/// Y being the halves of A: sums 0 and 1 of `upper`, 2 and 3 of `lower`, in lanes 4 g + g / 2.
template <int kRows>
__device__ inline void stageColumns(const uint4 (&in)[kRows], uint4* to, bool there, float (&upper)[kRows][4], float (&lower)[kRows][4]) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        mmaBf16Half(upper[r], in[r].x, in[r].y, in[r].x);
        mmaBf16Half(lower[r], in[r].x, in[r].y, in[r].y);
        mmaBf16Half(upper[r], in[r].z, in[r].w, in[r].z);
        mmaBf16Half(lower[r], in[r].z, in[r].w, in[r].w);
    }
    if (there) {
#pragma unroll
        for (uint32_t part = 0; part < kRows; ++part) {
            uint32_t out[4];
#pragma unroll
            for (uint32_t e = 0; e < 4; ++e) {
                const uint32_t column = part * (8 / kRows) + e / (kRows / 2);
                const uint32_t pair = e % (kRows / 2) * 2;
                const auto word = [&](const uint4& of) { return column / 2 == 0 ? of.x : column / 2 == 1 ? of.y : column / 2 == 2 ? of.z : of.w; };
                out[e] = __byte_perm(word(in[pair]), word(in[pair + 1]), column % 2 == 0 ? 0x5410 : 0x7632);
            }
            store16(to + part, make_uint4(out[0], out[1], out[2], out[3]));
        }
    }
}

/// Reads a tile into columns, and what its squares add up to: a warp takes `share` segments, one group's after the other's. Behind the last row that one
/// is read again.
template <int kRows>
__device__ inline void stage(const Arguments& a, const Shared& shared, uint32_t firstRow) {
    constexpr uint32_t kAtOnce = 8 / kRows;
    constexpr uint32_t kSegment = 8 * kWarpLanes;
    const uint32_t thread = afresh(threadIdx.x);
    const uint32_t lane = thread % kWarpLanes;
    const uint32_t warp = thread / kWarpLanes;
    const uint32_t width = static_cast<uint32_t>(a.request.width);
    const uint32_t end = min((warp + 1) * a.share, a.groups * a.segments);
    for (uint32_t at = warp * a.share; at < end;) {
        const uint32_t group = at / a.segments;
        const uint32_t last = min(end, (group + 1) * a.segments);
        const uint16_t* x[kRows];
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            x[r] = static_cast<const uint16_t*>(a.request.x) + min(firstRow + group * kRows + r, a.rows - 1) * a.request.xStride;
        }
        float upper[kRows][4] = {};
        float lower[kRows][4] = {};
        uint32_t column = (at - group * a.segments) * kSegment + lane * 8;
        uint4* to = reinterpret_cast<uint4*>(columnsOf<kRows>(a, shared, group) + entryOf<kRows>(column));
#pragma unroll 1
        for (; at < last; at += kAtOnce) {
            uint4 in[kAtOnce][kRows];
#pragma unroll
            for (uint32_t i = 0; i < kAtOnce; ++i) {
                if (at + i < last) {
#pragma unroll
                    for (int r = 0; r < kRows; ++r) {
                        const uint4* const from = reinterpret_cast<const uint4*>(x[r] + column + i * kSegment);
                        in[i][r] = column + i * kSegment < width ? loadOnce16(from) : make_uint4(0, 0, 0, 0);
                    }
                }
            }
#pragma unroll
            for (uint32_t i = 0; i < kAtOnce; ++i) {
                if (at + i < last) {
                    stageColumns<kRows>(in[i], to, column + i * kSegment < width, upper, lower);
                    to += entryOf<kRows>(kSegment) * kRows / 8;
                }
            }
            column += kAtOnce * kSegment;
        }
        at = last;
        if (lane % 4 == lane / 8) {
            const bool even = lane / 4 % 2 == 0;
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                shared.squares[((group * kRows + r) * a.warps + warp) * 8 + lane / 4] = (even ? upper[r][0] : upper[r][1]) + (even ? lower[r][2] : lower[r][3]);
            }
        }
    }
}

/// Asks for the rows of a tile.
template <int kRows>
__device__ inline void announce(const Arguments& a, uint32_t firstRow) {
    constexpr uint32_t kLine = 128;
    const uint32_t bytes = static_cast<uint32_t>(a.request.width) * 2;
    const uint32_t thread = afresh(threadIdx.x);
    for (uint32_t i = thread / kWarpLanes; i < a.tileRows && firstRow + i < a.rows; i += a.warps) {
        const char* const row = static_cast<const char*>(a.request.x) + uint64_t{firstRow + i} * a.request.xStride * 2;
        for (uint32_t at = thread % kWarpLanes * kLine; at < bytes; at += kWarpLanes * kLine) {
            prefetchLine(row + at);
        }
    }
}

}  // namespace quantscope::cuda::tiles

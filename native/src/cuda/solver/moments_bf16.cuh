// Second moments of bfloat16 rows on tensor cores: sums += xᵀ x, in tiles on and below the diagonal.
//
// Both sides of a block's product are kTile columns of x, kDepth rows at a time, which come by asynchronous copies into kStages buffers. They lie there as
// in memory, and ldmatrix transposes them on the way to fragments. The 16-byte pieces of a row are exchanged by an XOR with its number, so that neither copies
// nor ldmatrix meet a bank twice. Products of kRowsAtOnce rows add up in float32 and are then added to the float64 sums in memory, which moves half as many
// bytes as the rows did: so a block goes over all rows of its tile, whose sums wait in the cache meanwhile, and two blocks share a multiprocessor, that one
// may multiply while the other adds.
#pragma once

#include "cuda/pieces.cuh"
#include "cuda/portable.cuh"

namespace quantscope::cuda {

namespace moments {

inline constexpr unsigned kThreads = 256;
inline constexpr uint32_t kRowsAtOnce = 1024;
inline constexpr uint32_t kTile = 128;
inline constexpr uint32_t kDepth = 32;
inline constexpr uint32_t kStages = 3;
inline constexpr uint32_t kPieces = kTile / 8;                          ///< in a row of a side
inline constexpr uint32_t kSideBytes = kDepth * kTile * 2;
inline constexpr uint32_t kStageBytes = 2 * kSideBytes;
inline constexpr uint32_t kShared = kStages * kStageBytes;
inline constexpr uint32_t kCopies = kDepth * kPieces / kThreads;        ///< of a thread, for a side
inline constexpr uint32_t kRowsApart = kThreads / kPieces;              ///< between them
inline constexpr int kRowTiles = 4;                                     ///< of 16 rows, in a warp: warps stand 2 by 4
inline constexpr int kColumnTiles = 4;                                  ///< of 8 columns
inline constexpr uint32_t kBand = 8;                                    ///< rows of tiles whose blocks run together
static_assert(kRowsAtOnce % kDepth == 0);

struct Arguments {
    const Bf16* x;
    uint64_t stride;
    uint32_t rows;
    uint32_t width;
    const uint8_t* usable;
    double* sums;
    bool inPairs;  ///< rows of sums are aligned to 16 bytes
};

struct Tile {
    uint32_t row;
    uint32_t column;
};

/// The tiles on and below the diagonal, kBand rows of them at a time and column by column: neighbours read the same columns of x.
__device__ inline Tile tileOf(uint32_t index, uint32_t rows) {
    uint32_t first = 0;
    uint32_t height = min(kBand, rows);
    while (index >= height * first + height * (height + 1) / 2) {
        index -= height * first + height * (height + 1) / 2;
        first += height;
        height = min(kBand, rows - first);
    }
    if (index < height * first) {
        return {first + index % height, index / height};
    }
    index -= height * first;
    uint32_t row = 0;
    while (index > row) {
        index -= ++row;
    }
    return {first + row, first + index};
}

__device__ inline uint32_t swizzled(uint32_t row, uint32_t piece) { return row * (2 * kTile) + (piece ^ (row & 7)) * 16; }

/// Which of the rows that a thread copies count, of those from `begin` on.
__device__ inline void readUsable(uint8_t (&usable)[kCopies], const Arguments& p, uint32_t begin) {
#pragma unroll
    for (uint32_t i = 0; i < kCopies; ++i) {
        const uint32_t row = begin + threadIdx.x / kPieces + i * kRowsApart;
        usable[i] = row < p.rows ? p.usable[row] : uint8_t{0};
    }
}

/// Requests kTile columns from `first` on of kDepth rows from `begin` on. Zeros stand for what is outside, and for rows that do not count: 0 * NaN is NaN.
template <bool kInPieces>
__device__ inline void requestSide(uint8_t* shared, const Arguments& p, uint32_t begin, uint32_t first, const uint8_t (&usable)[kCopies]) {
    const uint32_t piece = threadIdx.x % kPieces;
    const uint32_t column = first + piece * 8;
    const uint32_t most = column < p.width ? min(8u, p.width - column) : 0u;
#pragma unroll
    for (uint32_t i = 0; i < kCopies; ++i) {
        const uint32_t row = threadIdx.x / kPieces + i * kRowsApart;
        requestPiece(shared + swizzled(row, piece), p.x + (begin + row) * p.stride + column, usable[i] != 0 ? most : 0u, kInPieces);
    }
}

/// Where a thread stands in the block's tile.
struct Place {
    uint32_t lane = threadIdx.x % 32;
    uint32_t row = threadIdx.x / 32 / 4 * (kRowTiles * 16);  ///< of the warp's part
    uint32_t column = threadIdx.x / 32 % 4 * (kColumnTiles * 8);
};

/// products += leftᵀ right.
__device__ inline void multiply(float (&products)[kRowTiles][kColumnTiles][4], const uint8_t* left, const uint8_t* right, const Place& place) {
    const uint32_t lane = place.lane;
#pragma unroll
    for (uint32_t k = 0; k < kDepth; k += 16) {
        uint32_t b[kColumnTiles / 2][4];
#pragma unroll
        for (int n = 0; n < kColumnTiles / 2; ++n) {
            loadMatrices4Transposed(b[n], right + swizzled(k + lane % 16, (place.column + n * 16) / 8 + lane / 16));
        }
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
            uint32_t a[4];
            loadMatrices4Transposed(a, left + swizzled(k + lane / 16 * 8 + lane % 8, (place.row + m * 16) / 8 + lane / 8 % 2));
#pragma unroll
            for (int n = 0; n < kColumnTiles; ++n) {
                mmaBf16(products[m][n], a, {b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]});
            }
        }
    }
}

/// The first `count` of two neighbours, which may be less than none and more than both.
__device__ inline double2 loadPair(const double* at, int count, bool aligned) {
    if (aligned && count > 1) {
        return load16(reinterpret_cast<const double2*>(at));
    }
    return make_double2(count > 0 ? at[0] : 0.0, count > 1 ? at[1] : 0.0);
}
__device__ inline void storePair(double* at, double2 pair, int count, bool aligned) {
    if (aligned && count > 1) {
        store16(reinterpret_cast<double2*>(at), pair);
        return;
    }
    if (count > 0) {
        at[0] = pair.x;
    }
    if (count > 1) {
        at[1] = pair.y;
    }
}

/// Adds products to the sums in memory. All of a row that the thread adds to is asked for at once.
__device__ inline void addTo(const Arguments& p, uint32_t firstRow, uint32_t firstColumn, const float (&products)[kRowTiles][kColumnTiles][4]) {
    const uint32_t lane = afresh(threadIdx.x) % 32;  // so that no addresses are kept while products are made: registers are short
    const uint32_t column = firstColumn + lane % 4 * 2;
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int i = 0; i < 4; i += 2) {  // 0, 1 lie in row g, 2, 3 in row g + 8, at columns 2 t and 2 t + 1 (mma's d)
            const uint32_t row = firstRow + m * 16 + i * 4 + lane / 4;
            const int most = row < p.width ? static_cast<int>(row) - static_cast<int>(column) + 1 : 0;
            double* const at = p.sums + uint64_t{row} * p.width + column;
            double2 sums[kColumnTiles];
#pragma unroll
            for (int n = 0; n < kColumnTiles; ++n) {
                sums[n] = loadPair(at + n * 8, most - n * 8, p.inPairs);
            }
#pragma unroll
            for (int n = 0; n < kColumnTiles; ++n) {
                sums[n].x += static_cast<double>(products[m][n][i]);
                sums[n].y += static_cast<double>(products[m][n][i + 1]);
                storePair(at + n * 8, sums[n], most - n * 8, p.inPairs);
            }
        }
    }
}

/// A block for each tile on and below the diagonal. In pieces: address, stride and width are multiples of 16 bytes.
template <bool kInPieces>
__global__ void __launch_bounds__(kThreads, 2) addTriangle(const __grid_constant__ Arguments p) {
    uint8_t* const shared = dynamicShared<uint8_t>();
    const Place place;
    const Tile tile = tileOf(blockIdx.x, divideUp(p.width, kTile));
    const bool onDiagonal = tile.row == tile.column;  // both sides are the same
    const uint32_t steps = divideUp(p.rows, kDepth);
    uint8_t usable[kCopies];  // of the rows to be requested next: asked for a step ahead, since requests wait for them
    readUsable(usable, p, 0);
    const auto request = [&](uint32_t step) {
        if (step < steps) {
            uint8_t* const stage = shared + step % kStages * kStageBytes;
            requestSide<kInPieces>(stage, p, step * kDepth, tile.row * kTile, usable);
            if (!onDiagonal) {
                requestSide<kInPieces>(stage + kSideBytes, p, step * kDepth, tile.column * kTile, usable);
            }
            readUsable(usable, p, (step + 1) * kDepth);
        }
        commitCopies();
    };
    for (uint32_t step = 0; step < kStages - 1; ++step) {
        request(step);
    }
    for (uint32_t step = 0; step < steps;) {
        float products[kRowTiles][kColumnTiles][4] = {};
        const uint32_t end = min(step + kRowsAtOnce / kDepth, steps);
        do {
            waitCopies<kStages - 2>();
            __syncthreads();
            request(step + kStages - 1);  // over the stage that everybody has left
            const uint8_t* const stage = shared + step % kStages * kStageBytes;
            multiply(products, stage, onDiagonal ? stage : stage + kSideBytes, place);
        } while (++step < end);
        addTo(p, tile.row * kTile + place.row, tile.column * kTile + place.column, products);
    }
    waitCopies<0>();
}

}  // namespace moments

}  // namespace quantscope::cuda

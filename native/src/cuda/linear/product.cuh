// The product of all linears on tensor cores: y = x Wᵀ with scales, high-precision inputs and bias in one kernel.
//
// Tensor cores take bytes, nibbles and bfloat16 alike in fragments of 32 bytes of a row (PTX ISA: m16n8k32 s8, m16n8k64 s4, m16n8k16 bf16), so one
// pipeline serves all: 128 rows of x and kColumns rows of W, 64 bytes of each at a time, come by asynchronous copies into kStages buffers; ldmatrix
// takes fragments from there. The 16-byte pieces of a row are exchanged by an XOR with half its number, so that neither copies nor ldmatrix meet a bank
// twice. Sums of integers are exact. They become floats once for each group: on processors whose tensor cores are much faster than the rest, that is
// what limits small groups (kernels.md B2), so a product without groups does it once in all.
#pragma once

#include "cuda/linear/finite.cuh"
#include "cuda/portable.cuh"

namespace quantscope::cuda {

/// Rows of bytes: base aligned to 16, pitch a multiple of 16. What lies between `bytes` and the pitch is not read.
struct RowsOfBytes {
    const uint8_t* at;
    uint64_t pitch;
};

/// A product of bfloat16 rows that is added in.
struct FloatPanel {
    RowsOfBytes x;
    RowsOfBytes w;
    uint32_t bytes;  ///< of a row: twice the inputs; 0 for nothing
};

/// How the integers of a product stand in memory.
enum class Form {
    None,          ///< there are none, only panels of floats
    Bytes,         ///< signed bytes
    Nibbles,       ///< codes of 4 bits that count from -8, as packed/codes.h packs them
    NativeNibbles  ///< the same on tensor cores that multiply nibbles (compute capability 8.x)
};

/// y[i][j] = Σ over groups g, in order, of t_g xScale[g][i] wScale[g][j], rounded once after each addition (fused), + panels + bias[j].
/// t_g = Σ (x + xOffset) (w + wOffset) over the group, exact. Offsets are for asymmetric codes: null where they are zero.
struct ProductArguments {
    RowsOfBytes x;
    RowsOfBytes w;
    uint32_t rows;
    uint32_t outputs;
    uint32_t bytes;        ///< of a row; for nibbles a multiple of 32
    uint32_t groups;
    uint32_t groupPieces;  ///< 32-byte pieces of a group; the last group's may be cut short by `bytes`
    uint32_t groupLength;  ///< inputs of a group, without filling
    uint32_t flip;         ///< XORed to x: 0x80808080 makes codes that count from -128 signed bytes
    const float* xScales;  ///< [groups][xScaleStride], as below: both aligned to 16, strides multiples of 4
    const float* wScales;
    uint32_t xScaleStride;
    uint32_t wScaleStride;
    const int32_t* xOffsets;  ///< strides as those of the scales
    const int32_t* xSums;     ///< Σ x of a group without offset
    const int32_t* wOffsets;
    const int32_t* wSums;
    FloatPanel panels[2];
    const float* bias;  ///< [outputs] or null
    void* y;
    uint64_t yStride;
    bool yBf16;
    uint32_t* nonFinite;  ///< LinearRequest
};

namespace product {

inline constexpr int kRows = 128;
inline constexpr int kStep = 64;     ///< bytes of a row in one stage
inline constexpr int kPiece = 32;    ///< bytes of a row in one fragment
inline constexpr int kThreads = 256;
inline constexpr int kStages = 3;
inline constexpr int kTiles = 4;     ///< of 16 rows, in a warp: warps stand 2 by 4

// Integers that start at this number's bits are floats 1.5 * 2^23 + t already, for |t| < 2^22.
inline constexpr int kFloatBits = 0x4B400000;
inline constexpr float kFloatBase = 12582912.0f;

template <int kColumns>
__host__ __device__ constexpr int stageBytes(bool grouped) {
    return (kRows + kColumns) * kStep + (grouped ? 2 * (kRows + kColumns) * 4 : 0);
}

__device__ inline uint32_t swizzled(uint32_t row, uint32_t chunk) { return row * kStep + ((chunk ^ (row >> 1 & 3)) * 16); }

/// Requests bytes [begin, begin + kStep) of kCount rows from `first` on; what lies outside of rows and bytes becomes zeros.
template <int kCount>
__device__ inline void requestRows(uint8_t* shared, const RowsOfBytes& from, uint32_t first, uint32_t rows, uint32_t begin, uint32_t bytes) {
#pragma unroll
    for (int i = 0; i < kCount * (kStep / 16) / kThreads; ++i) {
        const uint32_t index = threadIdx.x + static_cast<uint32_t>(i) * kThreads;
        const uint32_t row = index / (kStep / 16);
        const uint32_t chunk = index % (kStep / 16);
        const uint32_t at = begin + chunk * 16;
        const bool inside = first + row < rows && at < bytes;
        const uint32_t filled = inside ? min(16u, bytes - at) : 0u;
        copyAsync16(shared + swizzled(row, chunk), inside ? from.at + (first + row) * from.pitch + at : from.at, static_cast<int>(filled));
    }
}

/// Requests kCount scales from `first` on, of one group.
template <int kCount>
__device__ inline void requestScales(float* shared, const float* from, uint32_t first, uint32_t stride) {
    if (threadIdx.x < kCount / 4) {
        const uint32_t at = first + threadIdx.x * 4;
        const bool inside = at < stride;
        copyAsync16(shared + threadIdx.x * 4, inside ? from + at : from, inside ? 16 : 0);
    }
}

/// Where a thread stands in the block's tile.
struct Place {
    uint32_t lane = threadIdx.x % 32;
    uint32_t row = threadIdx.x / 32 / 4 * 64;  ///< of the warp's part
    uint32_t warpColumn = threadIdx.x / 32 % 4;
};

template <int kNTiles>
struct Fragments {
    uint32_t x[kTiles][4];
    uint32_t w[kNTiles][2];

    /// Piece 0 or 1 of a stage.
    __device__ void load(const uint8_t* stageX, const uint8_t* stageW, const Place& place, uint32_t piece) {
        const uint32_t lane = place.lane;
#pragma unroll
        for (int m = 0; m < kTiles; ++m) {
            loadMatrices4(x[m], stageX + swizzled(place.row + m * 16 + lane % 16, piece * 2 + lane / 16));
        }
#pragma unroll
        for (int n = 0; n < kNTiles; n += 2) {
            uint32_t both[4];
            loadMatrices4(both, stageW + swizzled(place.warpColumn * kNTiles * 8 + n * 8 + lane / 16 * 8 + lane % 8, piece * 2 + lane / 8 % 2));
            w[n][0] = both[0];
            w[n][1] = both[1];
            w[n + 1][0] = both[2];
            w[n + 1][1] = both[3];
        }
    }
};

/// Codes of 4 bits in the low or high halves of bytes to bytes of 16 times what they stand for.
template <bool kHigh>
__device__ inline uint32_t signedBytesOf(uint32_t codes) { return ((kHigh ? codes : codes << 4) & 0xF0F0F0F0u) ^ 0x80808080u; }

template <bool kHigh, int kNTiles>
__device__ inline void multiplyHalf(int (&sums)[kTiles][kNTiles][4], const Fragments<kNTiles>& f) {
    uint32_t x[kTiles][4];
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            x[m][r] = signedBytesOf<kHigh>(f.x[m][r]);
        }
    }
#pragma unroll
    for (int n = 0; n < kNTiles; ++n) {
        const uint32_t w[2] = {signedBytesOf<kHigh>(f.w[n][0]), signedBytesOf<kHigh>(f.w[n][1])};
#pragma unroll
        for (int m = 0; m < kTiles; ++m) {
            mmaS8(sums[m][n], x[m], w);
        }
    }
}

/// What a unit of the integer sums is worth: both sides' nibbles are multiplied by 16 where bytes are multiplied.
template <Form kForm>
inline constexpr float kUnit = kForm == Form::Nibbles ? 0x1p-8f : 1.0f;

template <Form kForm, int kNTiles>
__device__ inline void multiplyPiece(int (&sums)[kTiles][kNTiles][4], Fragments<kNTiles>& f, uint32_t flip) {
    if constexpr (kForm == Form::Nibbles) {
        multiplyHalf<false>(sums, f);
        multiplyHalf<true>(sums, f);
    } else {
#pragma unroll
        for (int m = 0; m < kTiles; ++m) {
#pragma unroll
            for (int r = 0; r < 4; ++r) {
                f.x[m][r] ^= kForm == Form::NativeNibbles ? 0x88888888u : flip;
            }
        }
#pragma unroll
        for (int n = 0; n < kNTiles; ++n) {
            const uint32_t w[2] = {kForm == Form::NativeNibbles ? f.w[n][0] ^ 0x88888888u : f.w[n][0],
                                   kForm == Form::NativeNibbles ? f.w[n][1] ^ 0x88888888u : f.w[n][1]};
#pragma unroll
            for (int m = 0; m < kTiles; ++m) {
                if constexpr (kForm == Form::NativeNibbles) {
                    mmaS4(sums[m][n], f.x[m], w);
                } else {
                    mmaS8(sums[m][n], f.x[m], w);
                }
            }
        }
    }
}

/// Adds a panel of bfloat16 products to the sums.
template <int kColumns, int kNTiles>
__device__ inline void addPanel(float (&sums)[kTiles][kNTiles][4], const FloatPanel& panel, const ProductArguments& p, uint8_t* shared, const Place& place,
                                uint32_t firstRow, uint32_t firstColumn) {
    constexpr int kBytes = stageBytes<kColumns>(false);
    const uint32_t steps = (panel.bytes + kStep - 1) / kStep;
    const auto request = [&](uint32_t step) {
        if (step < steps) {
            uint8_t* const stage = shared + step % kStages * kBytes;
            requestRows<kRows>(stage, panel.x, firstRow, p.rows, step * kStep, panel.bytes);
            requestRows<kColumns>(stage + kRows * kStep, panel.w, firstColumn, p.outputs, step * kStep, panel.bytes);
        }
        commitCopies();
    };
    __syncthreads();  // the stages may still be read
    for (uint32_t step = 0; step < kStages - 1; ++step) {
        request(step);
    }
    for (uint32_t step = 0; step < steps; ++step) {
        waitCopies<kStages - 2>();
        __syncthreads();
        request(step + kStages - 1);
        const uint8_t* const stage = shared + step % kStages * kBytes;
#pragma unroll
        for (uint32_t piece = 0; piece < 2; ++piece) {
            Fragments<kNTiles> f;
            f.load(stage, stage + kRows * kStep, place, piece);
#pragma unroll
            for (int n = 0; n < kNTiles; ++n) {
#pragma unroll
                for (int m = 0; m < kTiles; ++m) {
                    mmaBf16(sums[m][n], f.x[m], f.w[n]);
                }
            }
        }
    }
    waitCopies<0>();
}

/// Of the lane's values: i = 0, 1 lie in row g, i = 2, 3 in row g + 8, at columns 2 t and 2 t + 1 (mma's d).
__device__ inline uint32_t rowOf(const Place& place, int m, int i) { return place.row + m * 16 + i / 2 * 8 + place.lane / 4; }
template <int kNTiles>
__device__ inline uint32_t columnOf(const Place& place, int n, int i) { return (place.warpColumn * kNTiles + n) * 8 + place.lane % 4 * 2 + i % 2; }

/// The sums of a group to floats; the integers start anew.
template <Form kForm, bool kOffsets, int kNTiles>
__device__ inline void takeGroup(float (&sums)[kTiles][kNTiles][4], int (&t)[kTiles][kNTiles][4], const float* xScales, const float* wScales, const Place& place,
                                 const ProductArguments& p, uint32_t group, uint32_t firstRow, uint32_t firstColumn) {
    constexpr bool kBits = kForm != Form::Bytes;  // nibbles: groups of at most 128 keep within 2^22
    float x[kTiles][2];
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
        x[m][0] = xScales[rowOf(place, m, 0)] * kUnit<kForm>;
        x[m][1] = xScales[rowOf(place, m, 2)] * kUnit<kForm>;
    }
#pragma unroll
    for (int n = 0; n < kNTiles; ++n) {
        const float w[2] = {wScales[columnOf<kNTiles>(place, n, 0)], wScales[columnOf<kNTiles>(place, n, 1)]};
#pragma unroll
        for (int m = 0; m < kTiles; ++m) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                if constexpr (kOffsets) {
                    const uint32_t row = firstRow + rowOf(place, m, i);
                    const uint32_t column = firstColumn + columnOf<kNTiles>(place, n, i);
                    if (row < p.rows && column < p.outputs) {
                        const uint32_t atX = group * p.xScaleStride + row;
                        const uint32_t atW = group * p.wScaleStride + column;
                        const int xOffset = p.xOffsets == nullptr ? 0 : p.xOffsets[atX];
                        const int wOffset = p.wOffsets == nullptr ? 0 : p.wOffsets[atW];
                        t[m][n][i] += (xOffset == 0 ? 0 : xOffset * (p.wSums[atW] + wOffset * static_cast<int>(p.groupLength))) +
                                      (wOffset == 0 ? 0 : wOffset * p.xSums[atX]);
                    }
                }
                const float value = kBits ? __int_as_float(t[m][n][i]) - kFloatBase : __int2float_rn(t[m][n][i]);
                sums[m][n][i] = fmaf(value, x[m][i / 2] * w[i % 2], sums[m][n][i]);
                t[m][n][i] = kBits ? kFloatBits : 0;
            }
        }
    }
}

template <int kNTiles>
__device__ inline void store(const float (&sums)[kTiles][kNTiles][4], const ProductArguments& p, const Place& place, uint32_t firstRow, uint32_t firstColumn) {
    bool nonFinite = false;
    const bool inPairs = p.yStride % 2 == 0 && (reinterpret_cast<uintptr_t>(p.y) & 7) == 0;
#pragma unroll
    for (int n = 0; n < kNTiles; ++n) {
        const uint32_t column = firstColumn + columnOf<kNTiles>(place, n, 0);
        const bool both = column + 1 < p.outputs;
        if (column >= p.outputs) {
            continue;
        }
        const float bias[2] = {p.bias == nullptr ? 0.0f : p.bias[column], p.bias == nullptr || !both ? 0.0f : p.bias[column + 1]};
#pragma unroll
        for (int m = 0; m < kTiles; ++m) {
#pragma unroll
            for (int i = 0; i < 4; i += 2) {
                const uint32_t row = firstRow + rowOf(place, m, i);
                if (row >= p.rows) {
                    continue;
                }
                const float value[2] = {sums[m][n][i] + bias[0], sums[m][n][i + 1] + bias[1]};
                nonFinite = nonFinite || isNonFinite(value[0], p.yBf16) || (both && isNonFinite(value[1], p.yBf16));
                const uint64_t at = row * p.yStride + column;
                if (p.yBf16) {
                    auto* const y = static_cast<uint16_t*>(p.y) + at;
                    if (inPairs && both) {
                        *reinterpret_cast<uint32_t*>(y) = static_cast<uint32_t>(bf16Of(value[1])) << 16 | bf16Of(value[0]);
                    } else {
                        y[0] = bf16Of(value[0]);
                        if (both) {
                            y[1] = bf16Of(value[1]);
                        }
                    }
                } else {
                    auto* const y = static_cast<float*>(p.y) + at;
                    if (inPairs && both) {
                        *reinterpret_cast<float2*>(y) = make_float2(value[0], value[1]);
                    } else {
                        y[0] = value[0];
                        if (both) {
                            y[1] = value[1];
                        }
                    }
                }
            }
        }
    }
    report(nonFinite, p.nonFinite);
}

/// Whether the compiler makes code of it: nibbles are multiplied natively on 8.x alone, and nobody asks for it elsewhere.
template <Form kForm>
__host__ __device__ constexpr bool compiled() {
#if defined(__CUDA_ARCH__)
    return (kForm == Form::NativeNibbles) ? __CUDA_ARCH__ < 900 : true;
#else
    return true;
#endif
}

template <int kColumns, Form kForm, bool kGrouped, bool kOffsets>
__global__ void __launch_bounds__(kThreads, 1) multiply(const __grid_constant__ ProductArguments p) {
    if constexpr (compiled<kForm>()) {
        constexpr int kNTiles = kColumns / 32;
        constexpr int kBytes = stageBytes<kColumns>(kGrouped);
        constexpr uint32_t kStepPieces = kStep / kPiece;
        uint8_t* const shared = dynamicShared<uint8_t>();
        const Place place;
        const uint32_t firstRow = blockIdx.x * kRows;
        const uint32_t firstColumn = blockIdx.y * kColumns;
        float sums[kTiles][kNTiles][4] = {};
        if constexpr (kForm != Form::None) {
            int t[kTiles][kNTiles][4];
#pragma unroll
            for (int m = 0; m < kTiles; ++m) {
#pragma unroll
                for (int n = 0; n < kNTiles; ++n) {
#pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        t[m][n][i] = kGrouped && kForm != Form::Bytes ? kFloatBits : 0;
                    }
                }
            }
            const uint32_t pieces = (p.bytes + kPiece - 1) / kPiece;
            const uint32_t steps = (p.bytes + kStep - 1) / kStep;
            const auto request = [&](uint32_t step) {
                if (step < steps) {
                    uint8_t* const stage = shared + step % kStages * kBytes;
                    requestRows<kRows>(stage, p.x, firstRow, p.rows, step * kStep, p.bytes);
                    requestRows<kColumns>(stage + kRows * kStep, p.w, firstColumn, p.outputs, step * kStep, p.bytes);
                    if constexpr (kGrouped) {
                        float* const scales = reinterpret_cast<float*>(stage + (kRows + kColumns) * kStep);
#pragma unroll
                        for (uint32_t piece = 0; piece < kStepPieces; ++piece) {
                            const uint32_t at = step * kStepPieces + piece;
                            if (at < pieces && (at + 1) % p.groupPieces == 0) {
                                const uint32_t group = at / p.groupPieces;
                                float* const target = scales + piece * (kRows + kColumns);
                                requestScales<kRows>(target, p.xScales + group * p.xScaleStride, firstRow, p.xScaleStride);
                                requestScales<kColumns>(target + kRows, p.wScales + group * p.wScaleStride, firstColumn, p.wScaleStride);
                            }
                        }
                    }
                }
                commitCopies();
            };
            for (uint32_t step = 0; step < kStages - 1; ++step) {
                request(step);
            }
            for (uint32_t step = 0; step < steps; ++step) {
                waitCopies<kStages - 2>();
                __syncthreads();
                request(step + kStages - 1);  // over the stage that everybody has left
                const uint8_t* const stage = shared + step % kStages * kBytes;
#pragma unroll
                for (uint32_t piece = 0; piece < kStepPieces; ++piece) {
                    const uint32_t at = step * kStepPieces + piece;
                    if (at < pieces) {
                        Fragments<kNTiles> f;
                        f.load(stage, stage + kRows * kStep, place, piece);
                        multiplyPiece<kForm>(t, f, p.flip);
                        if (kGrouped && (at + 1) % p.groupPieces == 0) {
                            const float* const scales =
                                reinterpret_cast<const float*>(stage + (kRows + kColumns) * kStep) + piece * (kRows + kColumns);
                            takeGroup<kForm, kOffsets>(sums, t, scales, scales + kRows, place, p, at / p.groupPieces, firstRow, firstColumn);
                        }
                    }
                }
            }
            waitCopies<0>();
            if constexpr (!kGrouped) {
                // Once for all inputs, straight from global memory.
                float x[kTiles][2];
#pragma unroll
                for (int m = 0; m < kTiles; ++m) {
#pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        const uint32_t row = firstRow + rowOf(place, m, 2 * i);
                        x[m][i] = row < p.rows ? p.xScales[row] * kUnit<kForm> : 0.0f;
                    }
                }
#pragma unroll
                for (int n = 0; n < kNTiles; ++n) {
#pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        const uint32_t column = firstColumn + columnOf<kNTiles>(place, n, i);
                        const float w = column < p.outputs ? p.wScales[column] : 0.0f;
#pragma unroll
                        for (int m = 0; m < kTiles; ++m) {
                            sums[m][n][i] = __int2float_rn(t[m][n][i]) * (x[m][i / 2] * w);
                        }
                    }
                }
            }
        }
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            if (p.panels[i].bytes > 0) {
                addPanel<kColumns>(sums, p.panels[i], p, shared, place, firstRow, firstColumn);
            }
        }
        store(sums, p, place, firstRow, firstColumn);
    }
}

}  // namespace product

/// Picks the kernel: `form` and groups as the arguments say. Rows or outputs may be 0.
cudaError_t launchProduct(const ProductArguments& arguments, Form form, bool grouped, int multiprocessors, cudaStream_t stream);

}  // namespace quantscope::cuda

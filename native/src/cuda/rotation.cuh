// The rotation of a few rows inside a block of threads (RPBH, see rotation/rpbh.h): gather with signs, then butterflies.
//
// kRows rows of x lie beside each other in shared memory, value by value, so that one random access fetches all of them. Every thread then holds 32
// values of each row and does up to five levels of butterflies in registers; between two such passes the rows go through shared memory once. The levels
// of large strides come first: the last pass, which reads y, then leaves 32 neighbours to a thread, which is what packing wants.
#pragma once

#include "cuda/portable.cuh"

namespace quantscope::cuda {

inline constexpr int kChunk = 32;      ///< neighbouring values that one thread finishes
inline constexpr int kChunkLevels = 5;
inline constexpr int kChunkPitch = 36;  ///< floats between chunks in shared memory: 16-byte accesses of neighbouring threads then meet no bank twice

__host__ __device__ constexpr uint32_t padded(uint32_t i) { return i + i / kChunk * (kChunkPitch - kChunk); }
/// Floats of one row in shared memory.
__host__ __device__ constexpr uint32_t paddedWidth(uint32_t width) { return (width + kChunk - 1) / kChunk * kChunkPitch; }

/// Bytes of shared memory that kernels need beside the one row that has to fit.
inline constexpr uint32_t kBesideRow = 2304;

/// kRows values of one column.
template <class T, int kRows>
struct alignas(sizeof(T) * kRows) Column {
    T row[kRows];
};

/// A bundle of rows: what the threads of one threadIdx.y work on together.
template <class T, int kRows>
struct Rows {
    const T* x[kRows];             ///< null behind the last row
    const Column<T, kRows>* staged;  ///< the same in shared memory; null, with one row, where it does not fit
    const uint32_t* sources;       ///< as Rpbh keeps them, or null for the order of x
    uint32_t width;
    uint32_t levels;               ///< log2 of the Hadamard block
    float factor[kRows];           ///< multiplied in before the butterflies
    float* y[kRows];               ///< in shared memory; padded(i) is value i

    /// Value i of every row after permutation, signs and factor.
    __device__ void gather(uint32_t i, float (&value)[kRows]) const {
        const uint32_t source = sources == nullptr ? i : __ldg(sources + i);
        const uint32_t sign = sources == nullptr ? 0 : source & 0x80000000u;
        const uint32_t from = source & 0x7FFFFFFFu;
        Column<T, kRows> column;
        if (kRows > 1 || staged != nullptr) {
            column = staged[from];
        } else {
            for (int r = 0; r < kRows; ++r) {
                column.row[r] = x[r] != nullptr ? x[r][from] : fromFloat<T>(0.0f);
            }
        }
        for (int r = 0; r < kRows; ++r) {
            value[r] = __uint_as_float(__float_as_uint(toFloat(column.row[r])) ^ sign) * factor[r];
        }
    }
};

template <int kCount>
__device__ inline void butterflies(float (&v)[kCount], uint32_t block = kCount) {
#pragma unroll
    for (uint32_t stride = 1; stride < kCount; stride *= 2) {
        if (stride < block) {
#pragma unroll
            for (uint32_t i = 0; i < kCount; ++i) {
                if ((i & stride) == 0) {
                    const float a = v[i];
                    const float b = v[i + stride];
                    v[i] = a + b;
                    v[i + stride] = a - b;
                }
            }
        }
    }
}

/// kLevels levels of butterflies, the lowest of stride 2^kLow >= 32, from x (kFirst) or from y to y.
template <int kLevels, int kLow, bool kFirst, class T, int kRows>
__device__ inline void highPass(const Rows<T, kRows>& rows) {
    constexpr uint32_t kCount = 1u << kLevels;
    constexpr uint32_t kStride = 1u << kLow;
    for (uint32_t item = threadIdx.x; item < rows.width >> kLevels; item += blockDim.x) {
        const uint32_t base = (item >> kLow << (kLow + kLevels)) + (item & (kStride - 1));
        const uint32_t at = padded(base);
        float v[kRows][kCount];
#pragma unroll
        for (uint32_t k = 0; k < kCount; ++k) {
            float column[kRows];
            if (kFirst) {
                rows.gather(base + k * kStride, column);
            }
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                v[r][k] = kFirst ? column[r] : rows.y[r][at + k * padded(kStride)];
            }
        }
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            butterflies(v[r]);
#pragma unroll
            for (uint32_t k = 0; k < kCount; ++k) {
                rows.y[r][at + k * padded(kStride)] = v[r][k];
            }
        }
    }
    __syncthreads();
}

/// From x to y, all levels of strides from 32 on; more than five of them take two passes. Called by all threads, ends with a barrier.
template <class T, int kRows>
__device__ inline void highPasses(const Rows<T, kRows>& rows) {
    switch (rows.levels) {
        case 6: highPass<1, 5, true>(rows); break;
        case 7: highPass<2, 5, true>(rows); break;
        case 8: highPass<3, 5, true>(rows); break;
        case 9: highPass<4, 5, true>(rows); break;
        case 10: highPass<5, 5, true>(rows); break;
        case 11: highPass<4, 7, true>(rows); break;
        case 12: highPass<5, 7, true>(rows); break;
        default:
            for (uint32_t i = threadIdx.x; i < rows.width; i += blockDim.x) {
                float column[kRows];
                rows.gather(i, column);
#pragma unroll
                for (int r = 0; r < kRows; ++r) {
                    rows.y[r][padded(i)] = column[r];
                }
            }
            __syncthreads();
    }
    if (rows.levels > 10) {
        highPass<2, 5, false>(rows);
    }
}

/// A chunk of one row in shared memory; zeros behind the end of the row.
__device__ inline void loadChunk(const float* y, uint32_t width, uint32_t chunk, float (&v)[kChunk]) {
    const float4* const at = reinterpret_cast<const float4*>(y + chunk * kChunkPitch);
    const uint32_t left = width - chunk * kChunk;
#pragma unroll
    for (uint32_t k = 0; k < kChunk / 4; ++k) {
        const float4 four = load16(at + k);
        v[4 * k] = 4 * k < left ? four.x : 0.0f;
        v[4 * k + 1] = 4 * k + 1 < left ? four.y : 0.0f;
        v[4 * k + 2] = 4 * k + 2 < left ? four.z : 0.0f;
        v[4 * k + 3] = 4 * k + 3 < left ? four.w : 0.0f;
    }
}
__device__ inline void storeChunk(float* y, uint32_t chunk, const float (&v)[kChunk]) {
    float4* const at = reinterpret_cast<float4*>(y + chunk * kChunkPitch);
#pragma unroll
    for (uint32_t k = 0; k < kChunk / 4; ++k) {
        store16(at + k, make_float4(v[4 * k], v[4 * k + 1], v[4 * k + 2], v[4 * k + 3]));
    }
}

/// A chunk of one row, finished.
__device__ inline void lastPass(const float* y, uint32_t width, uint32_t levels, uint32_t chunk, float (&v)[kChunk]) {
    loadChunk(y, width, chunk, v);
    butterflies(v, levels < kChunkLevels ? 1u << levels : kChunk);
}

/// What is known of a row before it is rotated.
struct RowSums {
    uint32_t largest;  ///< bits of max |x|; at or above 0x7F800000 with a NaN or an infinity
    float squares;     ///< of x 2^-exponent
    int exponent;      ///< 0 unless squares would leave the range of floats, see exponentFor() in quantizer/quantizer.h
};

inline constexpr uint32_t kInfinityBits = 0x7F800000u;

__device__ inline int exponentFor(uint32_t largest) {
    if ((largest > 0x2B800000u && largest < 0x53800000u) || largest >= kInfinityBits || largest == 0) {  // 2^-40, 2^40
        return 0;
    }
    const int exponent = static_cast<int>(largest >> 23) - 127;
    return exponent < -126 ? -126 : exponent;
}

/// Reads the rows once: into `staged` unless it is null, and sums of what was read. Called by all threads of the block; `scratch` holds
/// 2 kRows (blockDim.x / 32) blockDim.y floats. `vectors`: rows start at multiples of 16 bytes. Ends with a barrier.
template <class T, int kRows>
__device__ inline void loadRows(const Rows<T, kRows>& rows, Column<T, kRows>* staged, bool vectors, float* scratch, RowSums (&sums)[kRows]) {
    constexpr uint32_t kVector = 16 / sizeof(T);
    struct alignas(16) Vector {
        T value[kVector];
    };
    struct alignas(16) Columns {
        Column<T, kRows> column[kVector / kRows];
    };
    uint32_t largest[kRows] = {};
    float squares[kRows] = {};
    const auto look = [&](int r, float value) {
        const uint32_t bits = __float_as_uint(value) & 0x7FFFFFFFu;
        largest[r] = bits > largest[r] ? bits : largest[r];
        squares[r] += value * value;
    };
    const uint32_t whole = vectors ? rows.width / kVector : 0;
    for (uint32_t i = threadIdx.x; i < whole; i += blockDim.x) {
        Vector in[kRows];
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            if (rows.x[r] != nullptr) {
                in[r] = loadOnce16(reinterpret_cast<const Vector*>(rows.x[r]) + i);
            } else {
#pragma unroll
                for (uint32_t e = 0; e < kVector; ++e) {
                    in[r].value[e] = fromFloat<T>(0.0f);
                }
            }
#pragma unroll
            for (uint32_t e = 0; e < kVector; ++e) {
                look(r, toFloat(in[r].value[e]));
            }
        }
        if (staged != nullptr) {
#pragma unroll
            for (uint32_t part = 0; part < kRows; ++part) {
                Columns out;
#pragma unroll
                for (uint32_t e = 0; e < kVector / kRows; ++e) {
#pragma unroll
                    for (int r = 0; r < kRows; ++r) {
                        out.column[e].row[r] = in[r].value[part * (kVector / kRows) + e];
                    }
                }
                store16(reinterpret_cast<Columns*>(staged) + i * kRows + part, out);
            }
        }
    }
    for (uint32_t i = whole * kVector + threadIdx.x; i < rows.width; i += blockDim.x) {
        Column<T, kRows> column;
        for (int r = 0; r < kRows; ++r) {
            column.row[r] = rows.x[r] != nullptr ? rows.x[r][i] : fromFloat<T>(0.0f);
            look(r, toFloat(column.row[r]));
        }
        if (staged != nullptr) {
            staged[i] = column;
        }
    }

    const uint32_t warps = blockDim.x / kWarpLanes;
    float* const mine = scratch + 2 * kRows * warps * threadIdx.y;
    const auto reduce = [&]() {
        for (int r = 0; r < kRows; ++r) {
            const uint32_t warpLargest = warpMax(largest[r]);
            const float warpSquares = warpSum(squares[r]);
            if (threadIdx.x % kWarpLanes == 0) {
                mine[2 * (r * warps + threadIdx.x / kWarpLanes)] = __uint_as_float(warpLargest);
                mine[2 * (r * warps + threadIdx.x / kWarpLanes) + 1] = warpSquares;
            }
        }
        __syncthreads();
        for (int r = 0; r < kRows; ++r) {
            largest[r] = 0;
            squares[r] = 0;
            for (uint32_t w = 0; w < warps; ++w) {
                const uint32_t bits = __float_as_uint(mine[2 * (r * warps + w)]);
                largest[r] = bits > largest[r] ? bits : largest[r];
                squares[r] += mine[2 * (r * warps + w) + 1];
            }
        }
    };
    reduce();
    int rescaled = 0;
    for (int r = 0; r < kRows; ++r) {
        sums[r].largest = largest[r];
        sums[r].exponent = exponentFor(largest[r]);
        rescaled |= sums[r].exponent != 0 ? 1 : 0;
    }
    for (int r = 0; r < kRows; ++r) {
        sums[r].squares = squares[r];
    }
    if (__syncthreads_or(rescaled) != 0) {  // rare: once more, with values that squares can bear. Rows beside them keep their sums
        for (int r = 0; r < kRows; ++r) {
            const float factor = ldexpf(1.0f, -sums[r].exponent);
            squares[r] = 0;
            for (uint32_t i = threadIdx.x; sums[r].exponent != 0 && i < rows.width; i += blockDim.x) {
                const float value = toFloat(rows.x[r][i]) * factor;
                squares[r] += value * value;
            }
        }
        reduce();
        __syncthreads();  // scratch is free again
        for (int r = 0; r < kRows; ++r) {
            sums[r].squares = sums[r].exponent != 0 ? squares[r] : sums[r].squares;
        }
    }
}

/// As base/rounding.h: x rounded to a binary format of `mantissa` bits whose smallest normal number is 2^least, ties to even, saturating. x >= 0 and finite.
__device__ inline double roundToFormat(double x, int mantissa, int least, double largest) {
    double rounded;
    if (x < ldexp(1.0, least)) {
        const double anchor = ldexp(1.0, least - mantissa + 52);
        rounded = (x + anchor) - anchor;
    } else {
        const int dropped = 52 - mantissa;
        uint64_t bits;
        memcpy(&bits, &x, sizeof bits);
        const uint64_t bias = ((uint64_t{1} << (dropped - 1)) - 1) + ((bits >> dropped) & 1);
        bits = (bits + bias) >> dropped << dropped;
        memcpy(&rounded, &bits, sizeof bits);
    }
    return rounded > largest ? largest : rounded;
}

__device__ inline double roundToStored(Stored stored, double x) {
    const int mantissa = stored == Stored::Fp16 ? 10 : stored == Stored::Bf16 ? 7 : 23;
    return roundToFormat(x, mantissa, stored == Stored::Fp16 ? -14 : -126, stored == Stored::Fp16 ? 65504.0 : stored == Stored::Bf16 ? 0x1.FEp127 : 0x1.FFFFFEp127);
}

}  // namespace quantscope::cuda

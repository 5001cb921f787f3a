#include "cuda/linear/prepare.cuh"

#include "cuda/linear/levels.cuh"

namespace quantscope::cuda {

namespace {

constexpr unsigned kThreads = 256;

/// Code i of a row.
__device__ inline uint32_t codeAt(const uint8_t* row, uint32_t i, uint32_t bits) {
    const uint64_t bit = static_cast<uint64_t>(i) * bits;
    const uint8_t* const at = row + bit / 8;
    const uint32_t shift = bit % 8;
    const uint32_t low = at[0];
    const uint32_t high = shift + bits > 8 ? at[1] : 0;
    return (high << 8 | low) >> shift & ((1u << bits) - 1);
}

/// Any number of bits: a thread makes four bytes.
__global__ void expandAny(PackedRows from, uint32_t group, uint32_t padded, ByteLevels levels, ByteOrder order, int8_t* to) {
    QUANTSCOPE_SHARED(int8_t, table, [256]);
    table[threadIdx.x] = levels.at[threadIdx.x];
    __syncthreads();
    const uint32_t words = from.width / group * padded / 4;  // of a row
    const uint32_t word = blockIdx.x * kThreads + threadIdx.x;
    if (word >= words) {
        return;
    }
    const uint32_t g = word * 4 / padded;
    const uint32_t place = word * 4 % padded;
    const uint32_t within = order == ByteOrder::AsTheyAre ? place : place / 32 * 32 + place / 4 % 4 * 8 + place % 32 / 16 * 4;
    for (uint32_t row = blockIdx.y; row < from.rows; row += gridDim.y) {
        uint32_t packed = 0;
        for (uint32_t i = 0; i < 4; ++i) {
            if (within + i < group) {
                const uint32_t code = codeAt(from.at + row * from.pitch, g * group + within + i, from.bits);
                packed |= static_cast<uint32_t>(static_cast<uint8_t>(table[code])) << (8 * i);
            }
        }
        reinterpret_cast<uint32_t*>(to)[static_cast<uint64_t>(row) * words + word] = packed;
    }
}

/// Codes of 4 bits without filling: a thread makes 32 bytes of 16.
__global__ void expandNibbles(PackedRows from, uint4 tables, ByteOrder order, int8_t* to) {
    const uint32_t pieces = from.width / 32;
    const uint32_t piece = blockIdx.x * kThreads + threadIdx.x;
    if (piece >= pieces) {
        return;
    }
    for (uint32_t row = blockIdx.y; row < from.rows; row += gridDim.y) {
        const uint4 codes = load16(reinterpret_cast<const uint4*>(from.at + row * from.pitch) + piece);
        const uint2 a = levelsOf(codes.x, tables), b = levelsOf(codes.y, tables), c = levelsOf(codes.z, tables), d = levelsOf(codes.w, tables);
        uint4* const target = reinterpret_cast<uint4*>(to + (static_cast<uint64_t>(row) * pieces + piece) * 32);
        const bool asTheyAre = order == ByteOrder::AsTheyAre;
        store16(target, asTheyAre ? make_uint4(a.x, a.y, b.x, b.y) : make_uint4(a.x, b.x, c.x, d.x));
        store16(target + 1, asTheyAre ? make_uint4(c.x, c.y, d.x, d.y) : make_uint4(a.y, b.y, c.y, d.y));
    }
}

/// Codes of 2 bits without filling: a thread makes 32 bytes of 8.
__global__ void expandPairs(PackedRows from, uint32_t table, ByteOrder order, int8_t* to) {
    const uint32_t pieces = from.width / 32;
    const uint32_t piece = blockIdx.x * kThreads + threadIdx.x;
    if (piece >= pieces) {
        return;
    }
    for (uint32_t row = blockIdx.y; row < from.rows; row += gridDim.y) {
        const uint2 codes = reinterpret_cast<const uint2*>(from.at + row * from.pitch)[piece];
        const uint2 a = levelsOfPairs(codes.x & 0xFFFF, table), b = levelsOfPairs(codes.x >> 16, table);
        const uint2 c = levelsOfPairs(codes.y & 0xFFFF, table), d = levelsOfPairs(codes.y >> 16, table);
        uint4* const target = reinterpret_cast<uint4*>(to + (static_cast<uint64_t>(row) * pieces + piece) * 32);
        const bool asTheyAre = order == ByteOrder::AsTheyAre;
        store16(target, asTheyAre ? make_uint4(a.x, a.y, b.x, b.y) : make_uint4(a.x, b.x, c.x, d.x));
        store16(target + 1, asTheyAre ? make_uint4(c.x, c.y, d.x, d.y) : make_uint4(a.y, b.y, c.y, d.y));
    }
}

/// Codes of 8 bits that count from -128, without filling: a thread makes 32 bytes of as many.
__global__ void expandBytes(PackedRows from, ByteOrder order, int8_t* to) {
    const uint32_t pieces = from.width / 32;
    const uint32_t piece = blockIdx.x * kThreads + threadIdx.x;
    if (piece >= pieces) {
        return;
    }
    const auto signedOf = [](const uint4& codes) {
        return make_uint4(codes.x ^ 0x80808080u, codes.y ^ 0x80808080u, codes.z ^ 0x80808080u, codes.w ^ 0x80808080u);
    };
    for (uint32_t row = blockIdx.y; row < from.rows; row += gridDim.y) {
        const uint4* const at = reinterpret_cast<const uint4*>(from.at + row * from.pitch) + 2 * piece;
        const uint4 a = signedOf(load16(at)), b = signedOf(load16(at + 1));
        uint4* const target = reinterpret_cast<uint4*>(to + (static_cast<uint64_t>(row) * pieces + piece) * 32);
        const bool asTheyAre = order == ByteOrder::AsTheyAre;
        store16(target, asTheyAre ? a : make_uint4(a.x, a.z, b.x, b.z));
        store16(target + 1, asTheyAre ? b : make_uint4(a.y, a.w, b.y, b.w));
    }
}

/// A warp for each row and group.
__global__ void sumWarps(const int8_t* from, uint32_t rows, uint32_t groups, uint32_t padded, int32_t* sums, uint32_t stride) {
    const uint64_t warp = (static_cast<uint64_t>(blockIdx.x) * kThreads + threadIdx.x) / 32;
    const uint64_t row = warp / groups;
    const auto group = static_cast<uint32_t>(warp % groups);
    if (row >= rows) {
        return;
    }
    const int* const words = reinterpret_cast<const int*>(from + warp * padded);
    int sum = 0;
    for (uint32_t i = threadIdx.x % 32; i < padded / 4; i += 32) {
        sum = __dp4a(words[i], 0x01010101, sum);
    }
    sum = warpSum(sum);
    if (threadIdx.x % 32 == 0) {
        sums[group * stride + row] = sum;
    }
}

__global__ void arrange(SideRequest r) {
    const uint32_t row = blockIdx.x * kThreads + threadIdx.x;
    const uint32_t group = blockIdx.y;
    if (row >= r.stride) {
        return;
    }
    const uint64_t to = static_cast<uint64_t>(group) * r.stride + row;
    float scale = 0.0f;
    int32_t offset = 0;
    if (row < r.rows) {
        if (r.sideGroups == 0) {
            scale = r.sides[row] * r.unit;
        } else {
            const float* const side = r.sides + 2 * (static_cast<uint64_t>(row) * r.sideGroups + group / (r.groups / r.sideGroups));
            scale = side[0];
            // A row without codes has NaN for its sides, which its scale then shows.
            offset = side[1] == side[1] ? __float2int_rn(side[1]) + r.half : 0;
        }
    }
    r.scales[to] = scale;
    if (r.offsets != nullptr) {
        r.offsets[to] = offset;
    }
}

template <class T>
__global__ void roundRows(const T* from, uint64_t stride, uint32_t rows, uint32_t width, uint16_t* to, uint64_t toStride) {
    const uint32_t i = blockIdx.x * kThreads + threadIdx.x;
    if (i >= width) {
        return;
    }
    for (uint32_t row = blockIdx.y; row < rows; row += gridDim.y) {
        to[row * toStride + i] = bf16Of(toFloat(from[row * stride + i]));
    }
}

__global__ void decodeRows(PackedRows from, uint32_t group, const __grid_constant__ FloatLevels levels, const float* scales, const int32_t* offsets,
                           uint32_t scaleStride, uint16_t* to, uint64_t toStride) {
    QUANTSCOPE_SHARED(float, table, [256]);
    table[threadIdx.x] = levels.at[threadIdx.x];
    __syncthreads();
    const uint32_t i = blockIdx.x * kThreads + threadIdx.x;
    if (i >= from.width) {
        return;
    }
    for (uint32_t row = blockIdx.y; row < from.rows; row += gridDim.y) {
        const uint64_t at = static_cast<uint64_t>(i / group) * scaleStride + row;
        const float level = table[codeAt(from.at + row * from.pitch, i, from.bits)];
        const float value = scales[at] * (offsets == nullptr ? level : level + static_cast<float>(offsets[at]));
        to[row * toStride + i] = bf16Of(value);
    }
}

/// The same of codes of 4 bits whose groups are multiples of 8: a thread makes 16 bytes of 4.
__global__ void decodeNibbles(PackedRows from, uint32_t group, const __grid_constant__ FloatLevels levels, const float* scales, const int32_t* offsets,
                              uint32_t scaleStride, uint16_t* to, uint64_t toStride) {
    QUANTSCOPE_SHARED(float, table, [16]);
    if (threadIdx.x < 16) {
        table[threadIdx.x] = levels.at[threadIdx.x];
    }
    __syncthreads();
    const uint32_t piece = blockIdx.x * kThreads + threadIdx.x;
    if (piece >= from.width / 8) {
        return;
    }
    const uint64_t ofGroup = static_cast<uint64_t>(piece * 8 / group) * scaleStride;
    for (uint32_t row = blockIdx.y; row < from.rows; row += gridDim.y) {
        const uint32_t codes = reinterpret_cast<const uint32_t*>(from.at + row * from.pitch)[piece];
        const float scale = scales[ofGroup + row];
        const float offset = offsets == nullptr ? 0.0f : static_cast<float>(offsets[ofGroup + row]);
        uint32_t words[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            words[i] = bf16PairOf(scale * (table[codes >> (8 * i) & 15] + offset), scale * (table[codes >> (8 * i + 4) & 15] + offset));
        }
        store16(reinterpret_cast<uint4*>(to + row * toStride) + piece, make_uint4(words[0], words[1], words[2], words[3]));
    }
}

/// A block for every kThreads of `across`, and rows.
dim3 gridOf(uint64_t across, uint32_t rows) { return dim3(divideUp(across, kThreads), rows < 4096 ? rows : 4096); }

}  // namespace

uint4 tablesOf(const ByteLevels& levels) {
    uint32_t tables[4] = {};
    for (int code = 0; code < 16; ++code) {
        tables[code / 4] |= static_cast<uint32_t>(static_cast<uint8_t>(levels.at[code])) << (8 * (code % 4));
    }
    return make_uint4(tables[0], tables[1], tables[2], tables[3]);
}

cudaError_t expandCodes(const PackedRows& from, uint32_t group, uint32_t padded, const ByteLevels& levels, ByteOrder order, int8_t* to, cudaStream_t stream) {
    if (from.rows == 0 || from.width == 0) {
        return cudaSuccess;
    }
    const bool inPieces = group == padded && from.pitch % 16 == 0 && reinterpret_cast<uintptr_t>(from.at) % 16 == 0;
    bool countsFrom128 = from.bits == 8;
    for (int code = 0; code < 256; ++code) {
        countsFrom128 = countsFrom128 && levels.at[code] == code - 128;
    }
    if (countsFrom128 && inPieces) {
        return launch(expandBytes, gridOf(from.width / 32, from.rows), kThreads, 0, stream, from, order, to);
    }
    if (from.bits == 2 && inPieces) {
        return launch(expandPairs, gridOf(from.width / 32, from.rows), kThreads, 0, stream, from, tablesOf(levels).x, order, to);
    }
    if (from.bits == 4 && inPieces) {
        return launch(expandNibbles, gridOf(from.width / 32, from.rows), kThreads, 0, stream, from, tablesOf(levels), order, to);
    }
    return launch(expandAny, gridOf(static_cast<uint64_t>(from.width / group) * padded / 4, from.rows), kThreads, 0, stream, from, group, padded, levels, order, to);
}

cudaError_t sumGroups(const int8_t* from, uint32_t rows, uint32_t groups, uint32_t padded, int32_t* sums, uint32_t stride, cudaStream_t stream) {
    if (rows == 0 || groups == 0) {
        return cudaSuccess;
    }
    return launch(sumWarps, divideUp(static_cast<uint64_t>(rows) * groups * 32, kThreads), kThreads, 0, stream, from, rows, groups, padded, sums, stride);
}

cudaError_t arrangeSides(const SideRequest& request, cudaStream_t stream) {
    if (request.stride == 0 || request.groups == 0) {
        return cudaSuccess;
    }
    return launch(arrange, dim3(divideUp(request.stride, kThreads), request.groups), kThreads, 0, stream, request);
}

cudaError_t roundToBf16(const void* from, bool fromBf16, uint64_t stride, uint32_t rows, uint32_t width, uint16_t* to, uint64_t toStride, cudaStream_t stream) {
    if (rows == 0 || width == 0) {
        return cudaSuccess;
    }
    const dim3 grid = gridOf(width, rows);
    return fromBf16 ? launch(roundRows<Bf16>, grid, kThreads, 0, stream, static_cast<const Bf16*>(from), stride, rows, width, to, toStride)
                    : launch(roundRows<float>, grid, kThreads, 0, stream, static_cast<const float*>(from), stride, rows, width, to, toStride);
}

cudaError_t decodeToBf16(const PackedRows& from, uint32_t group, const FloatLevels& levels, const float* scales, const int32_t* offsets, uint32_t scaleStride,
                         uint16_t* to, uint64_t toStride, cudaStream_t stream) {
    if (from.rows == 0 || from.width == 0) {
        return cudaSuccess;
    }
    const bool aligned = from.pitch % 4 == 0 && toStride % 8 == 0 && (reinterpret_cast<uintptr_t>(from.at) | reinterpret_cast<uintptr_t>(to)) % 16 == 0;
    if (from.bits == 4 && from.width % 8 == 0 && group % 8 == 0 && aligned) {
        return launch(decodeNibbles, gridOf(from.width / 8, from.rows), kThreads, 0, stream, from, group, levels, scales, offsets, scaleStride, to, toStride);
    }
    return launch(decodeRows, gridOf(from.width, from.rows), kThreads, 0, stream, from, group, levels, scales, offsets, scaleStride, to, toStride);
}

}  // namespace quantscope::cuda

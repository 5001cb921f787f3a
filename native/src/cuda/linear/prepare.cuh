// Operands in the order in which the product reads them: codes to bytes, sides to scales by group, floats to bfloat16.
#pragma once

#include "cuda/portable.cuh"

namespace quantscope::cuda {

/// What each code stands for, in units of a scale.
struct ByteLevels {
    int8_t at[256];
};
struct FloatLevels {
    float at[256];
};

/// Codes of rows, each row a little-endian stream of bits (packed/codes.h).
struct PackedRows {
    const uint8_t* at;
    uint64_t pitch;   ///< bytes between rows
    uint32_t rows;
    uint32_t width;   ///< codes of a row
    uint32_t bits;    ///< 1..8
};

/// Of the 32 bytes of a piece: as codes stand, or the first four of every eight before the last four of each, as hopper_codes.cuh multiplies them.
enum class ByteOrder { AsTheyAre, InHalves };

/// Levels of 16 codes, four in each word.
uint4 tablesOf(const ByteLevels& levels);

/// to[row][group][padded]: levels of the codes, groups filled up with zeros. `group` divides the width, `padded` is a multiple of 32.
cudaError_t expandCodes(const PackedRows& from, uint32_t group, uint32_t padded, const ByteLevels& levels, ByteOrder order, int8_t* to, cudaStream_t stream);

/// sums[g][row] = Σ of a group of expanded codes, `stride` between groups.
cudaError_t sumGroups(const int8_t* from, uint32_t rows, uint32_t groups, uint32_t padded, int32_t* sums, uint32_t stride, cudaStream_t stream);

/// Sides as RowCodec has them to scales by group of the product. `sideGroups` > 0: sides [rows][sideGroups] of (scale, lowest step), for codes that count
/// from `half` below zero; offsets[g][row] = lowest + half where `offsets` is given. 0: sides [rows][1], scale = side * unit.
/// Scales behind the last row, up to the stride, are zeros.
struct SideRequest {
    const float* sides;
    uint32_t rows;
    uint32_t groups;       ///< of the product
    uint32_t sideGroups;   ///< divides groups
    float unit;
    int32_t half;
    float* scales;         ///< [groups][stride]
    int32_t* offsets;      ///< likewise, or null
    uint32_t stride;
};
cudaError_t arrangeSides(const SideRequest& request, cudaStream_t stream);

/// to[row][i] = from[row][i] rounded to bfloat16; strides in elements.
cudaError_t roundToBf16(const void* from, bool fromBf16, uint64_t stride, uint32_t rows, uint32_t width, uint16_t* to, uint64_t toStride, cudaStream_t stream);

/// to[row][i] = scales[i / group][row] * (levels[code] + offsets[i / group][row]), rounded to bfloat16. `offsets` may be null.
cudaError_t decodeToBf16(const PackedRows& from, uint32_t group, const FloatLevels& levels, const float* scales, const int32_t* offsets, uint32_t scaleStride,
                         uint16_t* to, uint64_t toStride, cudaStream_t stream);

}  // namespace quantscope::cuda

// Codes of 2 and 4 bits to the bytes that they stand for.
#pragma once

#include "cuda/portable.cuh"

namespace quantscope::cuda {

/// Levels of eight codes of 4 bits, in order: each table holds four levels. One byte permute finds the level among the lower eight codes, one among the
/// upper eight, and a third takes of each pair the one that the code's top bit says.
__device__ inline uint2 levelsOf(uint32_t codes, const uint4& tables) {
    const uint32_t low = codes & 0x77777777u;
    const uint32_t side = (codes >> 1 & 0x44444444u) | 0x32103210u;
    return make_uint2(__byte_perm(__byte_perm(tables.x, tables.y, low), __byte_perm(tables.z, tables.w, low), side),
                      __byte_perm(__byte_perm(tables.x, tables.y, low >> 16), __byte_perm(tables.z, tables.w, low >> 16), side >> 16));
}

/// Levels of eight codes of 2 bits, in order; `table` holds all four.
__device__ inline uint2 levelsOfPairs(uint32_t codes, uint32_t table) {
    uint32_t spread = (codes | codes << 8) & 0x00FF00FFu;
    spread = (spread | spread << 4) & 0x0F0F0F0Fu;
    spread = (spread | spread << 2) & 0x33333333u;
    return make_uint2(__byte_perm(table, 0, spread), __byte_perm(table, 0, spread >> 16));
}

}  // namespace quantscope::cuda

// Rows of bfloat16 on their way to shared memory, wherever they lie.
#pragma once

#include "cuda/portable.cuh"

namespace quantscope::cuda {

/// Requests 8 values: `count` from global memory, then zeros. Asynchronously where rows lie in pieces of 16 bytes, of which all or none counts; by hand where
/// they do not. Either way they are there once the thread has waited for its copies, and for the others after a barrier.
__device__ inline void requestPiece(uint8_t* to, const Bf16* from, uint32_t count, bool inPieces) {
    if (inPieces) {
        copyAsync16(to, from, count > 0 ? 16 : 0);
        return;
    }
    uint32_t words[4];
#pragma unroll
    for (uint32_t w = 0; w < 4; ++w) {
        words[w] = (2 * w < count ? from[2 * w].bits : 0u) | (2 * w + 1 < count ? static_cast<uint32_t>(from[2 * w + 1].bits) << 16 : 0u);
    }
    store16(reinterpret_cast<uint4*>(to), make_uint4(words[0], words[1], words[2], words[3]));
}

}  // namespace quantscope::cuda

// Codes of one thread, packed as packed/codes.h stores a row.
#pragma once

#include "cuda/rotation.cuh"

namespace quantscope::cuda {

/// The codes of a chunk as a little-endian stream of bits, in eight pieces of four codes.
struct Packed {
    uint32_t piece[kChunk / 4];

    __device__ void put(int i, uint32_t code, int bits) { piece[i / 4] = (i % 4 == 0 ? 0 : piece[i / 4]) | code << (i % 4 * bits); }

    /// The first `count` codes to the packed row at `to`; bits behind the last are 0.
    __device__ void write(uint8_t* to, int bits, uint32_t count, bool vectors) const {
        const bool whole = vectors && count >= kChunk;
        const uint32_t used = (count < kChunk ? count : kChunk) * static_cast<uint32_t>(bits);
        const auto pair = [&](int i) { return piece[i] | piece[i + 1] << 16; };
        const auto four = [&](int i) { return piece[i] | piece[i + 1] << 8 | piece[i + 2] << 16 | piece[i + 3] << 24; };
        if (whole && bits == 4) {
            store16(reinterpret_cast<uint4*>(to), make_uint4(pair(0), pair(2), pair(4), pair(6)));
        } else if (whole && bits == 8) {
            store16(reinterpret_cast<uint4*>(to), make_uint4(piece[0], piece[1], piece[2], piece[3]));
            store16(reinterpret_cast<uint4*>(to) + 1, make_uint4(piece[4], piece[5], piece[6], piece[7]));
        } else if (whole && bits == 2) {
            *reinterpret_cast<uint2*>(to) = make_uint2(four(0), four(4));
        } else {
            uint64_t waiting = 0;
            int have = 0;
            uint32_t written = 0;
            const uint32_t bytes = (used + 7) / 8;
#pragma unroll
            for (int i = 0; i < kChunk / 4; ++i) {
                if (written == bytes) {
                    break;  // pieces behind the last code would only pile up
                }
                waiting |= static_cast<uint64_t>(piece[i]) << have;
                have += 4 * bits;
                for (; have >= 8 && written < bytes; have -= 8, waiting >>= 8, ++written) {
                    const uint32_t left = used - 8 * written;
                    to[written] = static_cast<uint8_t>(left < 8 ? waiting & ((1u << left) - 1) : waiting);
                }
            }
        }
    }
};

}  // namespace quantscope::cuda

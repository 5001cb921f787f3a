// Codes as they are stored: each row a little-endian stream of bits, filled up to whole bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quantscope {

inline size_t packedBytes(size_t count, int bits) { return (count * static_cast<size_t>(bits) + 7) / 8; }

/// packedBytes(count, bits) bytes from codes below 2^bits.
inline void packCodes(const uint8_t* codes, size_t count, int bits, uint8_t* packed) {
    uint32_t waiting = 0;
    int have = 0;
    for (size_t i = 0; i < count; ++i) {
        waiting |= static_cast<uint32_t>(codes[i]) << have;
        for (have += bits; have >= 8; have -= 8, waiting >>= 8) {
            *packed++ = static_cast<uint8_t>(waiting);
        }
    }
    if (have > 0) {
        *packed = static_cast<uint8_t>(waiting);
    }
}

inline void unpackCodes(const uint8_t* packed, size_t count, int bits, uint8_t* codes) {
    const uint32_t mask = (1u << bits) - 1;
    uint32_t waiting = 0;
    int have = 0;
    for (size_t i = 0; i < count; ++i) {
        if (have < bits) {
            waiting |= static_cast<uint32_t>(*packed++) << have;
            have += 8;
        }
        codes[i] = static_cast<uint8_t>(waiting & mask);
        waiting >>= bits;
        have -= bits;
    }
}

}  // namespace quantscope

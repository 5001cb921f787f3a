// One element of a small float type to float32. The scale trick: move exponent and mantissa into a float32's fields, multiply by
// the power of two that makes up for the difference of the exponent biases. It is exact for subnormals too.
#pragma once

#include <bit>
#include <cstdint>

namespace quantscope {

inline float decodeBF16(uint16_t v) { return std::bit_cast<float>(static_cast<uint32_t>(v) << 16); }

inline float decodeF16(uint16_t v) {
    const uint32_t magnitude = static_cast<uint32_t>(v & 0x7FFF) << 13;
    uint32_t bits = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
    if (magnitude >= 0x7C00u << 13) {
        bits |= 0x7F800000;  // infinity or NaN
    }
    return std::bit_cast<float>(bits | static_cast<uint32_t>(v & 0x8000) << 16);
}

/// E5M2 is the upper byte of an F16.
inline float decodeE5M2(uint8_t v) { return decodeF16(static_cast<uint16_t>(v << 8)); }

inline float decodeE4M3(uint8_t v) {
    const uint32_t magnitude = static_cast<uint32_t>(v & 0x7F) << 20;
    uint32_t bits = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p120f);
    if ((v & 0x7F) == 0x7F) {
        bits |= 0x7FC00000;  // the only NaN of the "fn" variant
    }
    return std::bit_cast<float>(bits | static_cast<uint32_t>(v & 0x80) << 24);
}

}  // namespace quantscope

// Rounding of a number to a storage type, ties to even, saturating at the largest finite value. Row norms and scales are stored
// this way, so every quantizer uses the rounded number it would read back.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace quantscope {

/// The float types a row norm, a scale or a kept weight can be stored in.
enum class FloatType { Fp16, Bf16, Fp32 };

namespace detail {

/// x with its 52-bit mantissa rounded to `kept` bits, nearest even. x is finite.
inline double roundMantissa(double x, int kept) {
    const int dropped = 52 - kept;
    const uint64_t bits = std::bit_cast<uint64_t>(x);
    const uint64_t bias = ((uint64_t{1} << (dropped - 1)) - 1) + ((bits >> dropped) & 1);
    return std::bit_cast<double>(((bits + bias) >> dropped) << dropped);
}

/// Rounds to a binary format of `mantissa` bits whose smallest normal number is 2^minExponent.
inline double roundToFormat(double x, int mantissa, int minExponent, double largest) {
    const double magnitude = std::fabs(x);
    double rounded;
    if (magnitude < std::ldexp(1.0, minExponent)) {
        // Subnormal: a number whose last mantissa bit in double is the format's step makes the addition round.
        const double anchor = std::ldexp(1.0, minExponent - mantissa + 52);
        rounded = (magnitude + anchor) - anchor;
    } else {
        rounded = roundMantissa(magnitude, mantissa);
    }
    return std::copysign(rounded > largest ? largest : rounded, x);
}

}  // namespace detail

/// x is finite. IEEE 754 binary16 / bfloat16 / binary32.
inline double roundTo(FloatType type, double x) {
    switch (type) {
        case FloatType::Fp16: return detail::roundToFormat(x, 10, -14, 65504.0);
        case FloatType::Bf16: return detail::roundToFormat(x, 7, -126, 0x1.FEp127);
        case FloatType::Fp32: return detail::roundToFormat(x, 23, -126, 0x1.FFFFFEp127);
    }
    return x;
}

}  // namespace quantscope

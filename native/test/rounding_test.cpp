#include "base/rounding.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/random.h"
#include "support.h"
#include "tensor/decode.h"

namespace quantscope {
namespace {

/// The nearest of all finite values of a 16-bit type, the even pattern on ties: exhaustive search.
double nearestOf(const std::vector<double>& values, double x) {
    size_t best = 0;
    for (size_t i = 1; i < values.size(); ++i) {
        const double current = std::fabs(values[i] - x);
        const double least = std::fabs(values[best] - x);
        if (current < least || (current == least && i % 2 == 0)) {
            best = i;
        }
    }
    return values[best];
}

TEST(Rounding, Fp16MatchesSearch) {
    std::vector<double> values;
    for (uint32_t bits = 0; bits < 0x7C00; ++bits) {
        values.push_back(decodeF16(static_cast<uint16_t>(bits)));
    }
    SplitMix64 random(3);
    for (int i = 0; i < 300; ++i) {
        const double x = std::ldexp(random.uniform(), static_cast<int>(random.below(46)) - 28);
        EXPECT_EQ(roundTo(FloatType::Fp16, x), nearestOf(values, x)) << x;
        EXPECT_EQ(roundTo(FloatType::Fp16, -x), -nearestOf(values, x)) << x;
    }
    for (const uint32_t bits : {0u, 1u, 2u, 0x3FEu, 0x3FFu, 0x400u, 0x1234u, 0x7BFEu}) {
        const double middle = 0.5 * (values[bits] + values[bits + 1]);  // a tie goes to the even pattern
        EXPECT_EQ(roundTo(FloatType::Fp16, middle), values[bits + bits % 2]) << bits;
    }
}

TEST(Rounding, SaturatesAtTheLargestFiniteValue) {
    EXPECT_EQ(roundTo(FloatType::Fp16, 65504.0), 65504.0);
    EXPECT_EQ(roundTo(FloatType::Fp16, 65519.0), 65504.0);
    EXPECT_EQ(roundTo(FloatType::Fp16, 1e30), 65504.0);
    EXPECT_EQ(roundTo(FloatType::Fp16, -1e30), -65504.0);
    EXPECT_EQ(roundTo(FloatType::Bf16, 1e39), 0x1.FEp127);
    EXPECT_EQ(roundTo(FloatType::Fp32, 1e39), std::numeric_limits<float>::max());
}

TEST(Rounding, Fp32IsTheConversion) {
    SplitMix64 random(4);
    for (int i = 0; i < 2000; ++i) {
        const double x = std::ldexp(random.uniform() - 0.5, static_cast<int>(random.below(270)) - 145);
        EXPECT_EQ(roundTo(FloatType::Fp32, x), static_cast<double>(static_cast<float>(x))) << x;
    }
}

TEST(Rounding, Bf16KeepsItsOwnValues) {
    for (uint32_t bits = 0; bits < 0x7F80; ++bits) {
        const double value = decodeBF16(static_cast<uint16_t>(bits));
        ASSERT_EQ(roundTo(FloatType::Bf16, value), value) << bits;
    }
    EXPECT_EQ(roundTo(FloatType::Bf16, 1.0 + 1.0 / 256), 1.0);              // tie, even below
    EXPECT_EQ(roundTo(FloatType::Bf16, 1.0 + 3.0 / 256), 1.0 + 4.0 / 256);  // tie, even above
}

}  // namespace
}  // namespace quantscope

#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "cpu/kernels.h"
#include "support.h"

namespace quantscope {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Sign, exponent and mantissa fields read as the formats' specifications define them, without bit tricks.
double readFields(uint32_t bits, int exponentBits, int mantissaBits, bool ieeeSpecials) {
    const int bias = (1 << (exponentBits - 1)) - 1;
    const int sign = static_cast<int>(bits >> (exponentBits + mantissaBits)) & 1;
    const int exponent = static_cast<int>(bits >> mantissaBits) & ((1 << exponentBits) - 1);
    const int mantissa = static_cast<int>(bits) & ((1 << mantissaBits) - 1);
    const int top = (1 << exponentBits) - 1;
    if (ieeeSpecials && exponent == top) {
        return mantissa != 0 ? kNan : sign != 0 ? -kInfinity : kInfinity;
    }
    if (!ieeeSpecials && exponent == top && mantissa == (1 << mantissaBits) - 1) {
        return kNan;
    }
    const double value = exponent == 0 ? std::ldexp(mantissa, 1 - bias - mantissaBits)
                                       : std::ldexp(mantissa + (1 << mantissaBits), exponent - bias - mantissaBits);
    return sign != 0 ? -value : value;
}

bool same(double a, double b) { return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b)); }

/// Every bit pattern of a small type, through the double path and through every level's float path.
template <class T>
void checkAll(Dtype dtype, size_t patterns, double (*slow)(uint32_t)) {
    std::vector<T> stored(patterns);
    for (size_t i = 0; i < patterns; ++i) {
        stored[i] = static_cast<T>(i);
    }
    const auto bytes = test::bytesOf(stored);
    std::vector<double> doubles(patterns);
    decodeToDouble(dtype, bytes.data(), doubles.data(), patterns);
    for (size_t i = 0; i < patterns; ++i) {
        ASSERT_TRUE(same(doubles[i], slow(static_cast<uint32_t>(i)))) << nameOf(dtype) << " " << i << ": " << doubles[i];
    }
    for (const Kernels* level : supportedKernels()) {
        std::vector<float> floats(patterns);
        level->decode(dtype, bytes.data(), floats.data(), patterns);
        for (size_t i = 0; i < patterns; ++i) {
            ASSERT_TRUE(same(floats[i], slow(static_cast<uint32_t>(i)))) << level->name << " " << nameOf(dtype) << " " << i;
        }
    }
}

TEST(Dtype, F16Exhaustive) {
    checkAll<uint16_t>(Dtype::F16, 65536, [](uint32_t v) { return readFields(v, 5, 10, true); });
}
TEST(Dtype, BF16Exhaustive) {
    checkAll<uint16_t>(Dtype::BF16, 65536, [](uint32_t v) { return readFields(v, 8, 7, true); });
}
TEST(Dtype, F8E4M3Exhaustive) {
    checkAll<uint8_t>(Dtype::F8E4M3, 256, [](uint32_t v) { return readFields(v, 4, 3, false); });
}
TEST(Dtype, F8E5M2Exhaustive) {
    checkAll<uint8_t>(Dtype::F8E5M2, 256, [](uint32_t v) { return readFields(v, 5, 2, true); });
}
TEST(Dtype, BytesExhaustive) {
    checkAll<uint8_t>(Dtype::U8, 256, [](uint32_t v) { return static_cast<double>(v); });
    checkAll<uint8_t>(Dtype::I8, 256, [](uint32_t v) { return static_cast<double>(static_cast<int8_t>(v)); });
}

TEST(Dtype, LargestF8) {
    const std::byte stored[] = {std::byte{0x7E}, std::byte{0x7F}};
    double values[2];
    decodeToDouble(Dtype::F8E4M3, stored, values, 2);
    EXPECT_EQ(values[0], 448.0);
    EXPECT_TRUE(std::isnan(values[1]));
}

TEST(Dtype, E8M0IsAPowerOfTwo) {
    const std::byte stored[] = {std::byte{0}, std::byte{127}, std::byte{254}, std::byte{255}};
    double values[4];
    decodeToDouble(Dtype::F8E8M0, stored, values, 4);
    EXPECT_EQ(values[0], std::ldexp(1.0, -127));
    EXPECT_EQ(values[1], 1.0);
    EXPECT_EQ(values[2], std::ldexp(1.0, 127));
    EXPECT_TRUE(std::isnan(values[3]));
}

TEST(Dtype, WideTypes) {
    const std::vector<int64_t> i64{INT64_MIN, -1, 0, INT64_MAX};
    const std::vector<uint64_t> u64{0, UINT64_MAX};
    const std::vector<uint32_t> u32{UINT32_MAX};
    const std::vector<int16_t> i16{-32768};
    const std::vector<double> f64{1e300, -0.0};
    double values[4];
    decodeToDouble(Dtype::I64, test::bytesOf(i64).data(), values, 4);
    EXPECT_EQ(values[0], -0x1p63);
    EXPECT_EQ(values[3], 0x1p63);
    decodeToDouble(Dtype::U64, test::bytesOf(u64).data(), values, 2);
    EXPECT_EQ(values[1], 0x1p64);
    decodeToDouble(Dtype::U32, test::bytesOf(u32).data(), values, 1);
    EXPECT_EQ(values[0], 4294967295.0);
    decodeToDouble(Dtype::I16, test::bytesOf(i16).data(), values, 1);
    EXPECT_EQ(values[0], -32768.0);
    decodeToDouble(Dtype::F64, test::bytesOf(f64).data(), values, 2);
    EXPECT_EQ(values[0], 1e300);
    EXPECT_TRUE(std::signbit(values[1]));
}

TEST(Dtype, NamesRoundTrip) {
    for (int i = 0; i < 22; ++i) {
        const auto dtype = static_cast<Dtype>(i);
        EXPECT_EQ(parseDtype(nameOf(dtype)), dtype);
    }
    EXPECT_EQ(parseDtype("bf16"), std::nullopt);
    EXPECT_EQ(nameOf(Dtype::F8E4M3Fnuz), "F8_E4M3FNUZ");
    EXPECT_EQ(nameOf(Dtype::U64), "U64");
}

}  // namespace
}  // namespace quantscope

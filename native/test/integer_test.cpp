#include "quantizer/integer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "support.h"

namespace quantscope {
namespace {

/// The definition in integer.h, one group, in double.
double groupError(const IntQuantizer& q, const float* w, size_t n) {
    const auto [low, high] = std::minmax_element(w, w + n);
    double sum = 0;
    if (q.symmetric) {
        const double top = std::pow(2.0, q.bits - 1) - 1;
        const double s = roundTo(q.scale, std::max(std::fabs(*low), std::fabs(*high)) / top);
        for (size_t i = 0; i < n; ++i) {
            const double code = s == 0 ? 0 : std::clamp(std::nearbyint(w[i] / s), -top - 1, top);
            sum += (w[i] - code * s) * (w[i] - code * s);
        }
        return sum;
    }
    const double top = std::pow(2.0, q.bits) - 1;
    const double lo = std::min<double>(*low, 0);
    const double hi = std::max<double>(*high, 0);
    const double s = roundTo(q.scale, (hi - lo) / top);
    const double z = s == 0 ? 0 : std::clamp(std::nearbyint(-lo / s), 0.0, top);
    for (size_t i = 0; i < n; ++i) {
        const double code = s == 0 ? z : std::clamp(std::nearbyint(w[i] / s) + z, 0.0, top);
        sum += (w[i] - (code - z) * s) * (w[i] - (code - z) * s);
    }
    return sum;
}

TEST(Integer, MatchesTheDefinition) {
    test::Gaussian gaussian(17);
    for (const bool symmetric : {true, false}) {
        for (int bits = symmetric ? 2 : 1; bits <= 8; ++bits) {
            for (const FloatType scale : {FloatType::Fp16, FloatType::Bf16, FloatType::Fp32}) {
                for (const uint64_t group : {0, 1, 3, 32, 96}) {
                    const size_t width = 96;
                    auto row = gaussian.floats(width);
                    for (size_t i = 0; i < 32; ++i) {
                        row[i] = std::fabs(row[i]);  // a group without negative values
                    }
                    const IntQuantizer quantizer{bits, symmetric, group == 0 ? Granularity::Row : Granularity::Group, group, scale};
                    double expected = 0;
                    const size_t step = group == 0 ? width : group;
                    for (size_t start = 0; start < width; start += step) {
                        expected += groupError(quantizer, row.data() + start, step);
                    }
                    const IntegerRows rows(quantizer, width, {});
                    EXPECT_NEAR(rows.squaredError({row.data(), width, 1.0, 0}, kernels()), expected, 1e-5 * expected + 1e-12)
                        << "bits " << bits << " group " << group << (symmetric ? " symmetric" : " asymmetric");
                }
            }
        }
    }
}

TEST(Integer, AsymmetricRangeHoldsZero) {
    const IntQuantizer quantizer{4, false, Granularity::Row, 0, FloatType::Fp32};
    const IntegerGrid positive = integerGrid(quantizer, 10, 25, 0);
    EXPECT_EQ(positive.lowest, 0);
    EXPECT_EQ(positive.highest, 15);
    EXPECT_FLOAT_EQ(positive.scale, 25.0f / 15);
    const IntegerGrid negative = integerGrid(quantizer, -30, -1, 0);
    EXPECT_EQ(negative.lowest, -15);
    EXPECT_EQ(negative.highest, 0);
}

TEST(Integer, AScaleThatRoundsToZeroStoresZeros) {
    const IntQuantizer quantizer{4, true, Granularity::Row, 0, FloatType::Fp16};
    const std::vector<float> row(8, 1e-8f);
    const IntegerRows rows(quantizer, 8, {});
    const double energy = 8 * 1e-8 * 1e-8;
    EXPECT_NEAR(rows.squaredError({row.data(), 8, std::sqrt(energy), 0}, kernels()), energy, 1e-6 * energy);
}

TEST(Integer, Fp16ScaleSaturates) {
    const IntQuantizer quantizer{2, true, Granularity::Row, 0, FloatType::Fp16};
    EXPECT_EQ(integerGrid(quantizer, -1e6, 1e6, 0).scale, 65504.0f);
}

TEST(Integer, ScaledRowsKeepTheTrueScale) {
    // Rows far from 1 are multiplied by a power of two; the stored scale is rounded at its true magnitude.
    const IntQuantizer quantizer{4, true, Granularity::Row, 0, FloatType::Bf16};
    const IntegerGrid plain = integerGrid(quantizer, -3.3, 3.1, 0);
    const IntegerGrid scaled = integerGrid(quantizer, std::ldexp(-3.3, -50), std::ldexp(3.1, -50), 50);
    EXPECT_EQ(std::ldexp(scaled.scale, 50), plain.scale);
    EXPECT_EQ(scaled.highest, plain.highest);
}

TEST(Integer, RefusesNonsense) {
    const auto message = [](IntQuantizer quantizer) -> std::string {
        try {
            validate(quantizer, 96);
        } catch (const Error& error) {
            return error.what();
        }
        return "";
    };
    EXPECT_NE(message({1, true, Granularity::Row, 0, FloatType::Fp16}).find("no positive level"), std::string::npos);
    EXPECT_NE(message({9, true, Granularity::Row, 0, FloatType::Fp16}).find("1 to 8"), std::string::npos);
    EXPECT_NE(message({4, true, Granularity::Group, 0, FloatType::Fp16}), "");
    const std::string group = message({4, true, Granularity::Group, 64, FloatType::Fp16});
    EXPECT_NE(group.find("width 96"), std::string::npos);
    EXPECT_NE(group.find("64"), std::string::npos);
    EXPECT_EQ(message({1, false, Granularity::Group, 32, FloatType::Fp16}), "");
}

}  // namespace
}  // namespace quantscope

// One row of values: codes at every magnitude, and casts.
#include <gtest/gtest.h>

#include <limits>

#include "quantizer/row_codec.h"
#include "support.h"

namespace quantscope {
namespace {

TEST(RowCodec, RowsOfEveryMagnitude) {
    constexpr size_t kWidth = 64;
    for (const Quantizer& quantizer : {Quantizer(CodebookQuantizer{4, FloatType::Fp32}),
                                       Quantizer(IntQuantizer{8, true, Granularity::Row, 0, FloatType::Fp32}),
                                       Quantizer(IntQuantizer{4, false, Granularity::Group, 16, FloatType::Fp32})}) {
        const RowCodec codec(quantizer, kWidth, {}, kernels());
        std::vector<uint8_t> codes(kWidth), reference(kWidth);
        std::vector<float> sides(codec.sides()), back(kWidth);
        const auto row = test::Gaussian(9).floats(kWidth);
        codec.encode(row.data(), reference.data(), sides.data());
        for (const float magnitude : {0x1p-100f, 0x1p-60f, 0x1p60f, 0x1p100f}) {
            auto scaled = row;
            for (float& value : scaled) {
                value *= magnitude;
            }
            codec.encode(scaled.data(), codes.data(), sides.data());
            EXPECT_EQ(codes, reference) << magnitude;
            codec.decode(codes.data(), sides.data(), back.data());
            for (size_t i = 0; i < kWidth; ++i) {
                ASSERT_NEAR(back[i] / magnitude, row[i], 1.0);
            }
        }
        std::fill(back.begin(), back.end(), 1.0f);
        codec.encode(std::vector<float>(kWidth, 0.0f).data(), codes.data(), sides.data());
        codec.decode(codes.data(), sides.data(), back.data());
        for (const float value : back) {
            ASSERT_EQ(value, 0.0f);
        }
    }
}

TEST(RowCodec, CastsLikeRoundTo) {
    SplitMix64 random(2);
    std::vector<float> values{0.0f,     -0.0f,    65504.0f,   65520.0f, -1e30f,  3.4e38f,
                              0x1p-24f, 0x1p-25f, 0x1.8p-25f, 0x1p-14f, 6.1e-5f, 1e-40f};
    for (int i = 0; i < 20000; ++i) {
        const float value = std::bit_cast<float>(static_cast<uint32_t>(random.next()));
        if (std::isfinite(value)) {
            values.push_back(value);
            values.push_back(std::ldexp(value, -std::ilogb(value) - static_cast<int>(random.below(30))));
        }
    }
    for (const FloatType type : {FloatType::Fp16, FloatType::Bf16, FloatType::Fp32}) {
        auto cast = values;
        castRow(type, cast.data(), cast.size());
        for (size_t i = 0; i < values.size(); ++i) {
            ASSERT_EQ(cast[i], static_cast<float>(roundTo(type, values[i]))) << values[i];
        }
    }
    float nan = std::numeric_limits<float>::quiet_NaN();
    castRow(FloatType::Fp16, &nan, 1);
    EXPECT_TRUE(std::isnan(nan));
}

}  // namespace
}  // namespace quantscope
